"""File systems without locks, or without fsync for folders."""

from __future__ import annotations

import errno
import fcntl
import json
import os
from functools import partial
from pathlib import Path

import anyio
import pytest
from tests.faults.injection import FOREVER, Fault, run_with
from tests.faults.scenes import MODES, PATTERN, Mode, Scene, in_trash
from tests.hazards.trashing import prune_to_trash
from tests.support.cachebuilder import files, snapshot
from tests.support.locking import locked

import fastprune
from fastprune import CantLockError, Exclusion, LockedError, Policy

PRUNE = ("prune", "--pattern", PATTERN, "--summary")
TRASH_RUN = "20200101T000000Z-000000"
NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL, errno.EPERM)
NOT_OFFERED = (errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS)


def always(call: str, error: int) -> Fault:
    return Fault((call,), first=1, last=FOREVER, error=error)


@pytest.mark.parametrize("error", NO_LOCKS, ids=errno.errorcode.get)
def test_what_can_t_be_locked_is_refused_with_the_reason(error: int, scene: Scene) -> None:
    before = snapshot(scene.root)
    result = run_with(always("flock", error), *PRUNE, cache=scene.root).result
    assert (result.code, result.out) == (11, "")
    assert f"{scene.root} can't be locked: {os.strerror(error)}" in result.err
    assert "hint: nothing was deleted; make sure that no other fastprune" in result.err
    assert "--no-lock" in result.err
    assert snapshot(scene.root) == before


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("error", [errno.ENOLCK, errno.ENOSYS], ids=errno.errorcode.get)
def test_with_no_lock_it_goes_on_and_says_so(error: int, mode: Mode, scene: Scene) -> None:
    trash = ["--trash"] if mode == "trash" else []
    words = (*PRUNE, "--no-lock", *trash)
    result = run_with(always("flock", error), *words, cache=scene.root).result
    assert result.code == 0
    assert f"Not locked: {os.strerror(error)}\n" in result.out
    assert f"warning: {scene.root} is not locked: {os.strerror(error)}; no other" in result.err
    assert files(scene.root) == scene.outcome.left
    result = run_with(always("flock", error), *words, "--format", "json", cache=scene.root).result
    assert json.loads(result.out)["no_lock"] == os.strerror(error)


def test_a_disk_that_fails_is_no_reason_to_go_without_a_lock(scene: Scene) -> None:
    before = snapshot(scene.root)
    fault = always("flock", errno.EIO)
    result = run_with(fault, *PRUNE, "--no-lock", cache=scene.root).result
    assert (result.code, result.out) == (1, "")
    assert f"can't be locked: {os.strerror(errno.EIO)}" in result.err
    assert snapshot(scene.root) == before


def test_where_it_can_be_locked_no_lock_takes_the_lock_and_respects_it(scene: Scene) -> None:
    before = snapshot(scene.root)
    words = (*PRUNE, "--no-lock", "--format", "json")
    with locked(scene.root):
        result = run_with(Fault(), *words, cache=scene.root).result
        assert (result.code, f"process {os.getpid()} " in result.err) == (11, True)
    assert snapshot(scene.root) == before
    outcome = run_with(Fault(("flock",)), *words, cache=scene.root)
    assert (outcome.result.code, outcome.result.err, outcome.calls) == (0, "", ["flock "])
    assert json.loads(outcome.result.out)["no_lock"] is None


def test_the_other_commands_that_lock_have_it_too(scene: Scene, tmp_path: Path) -> None:
    plan, fault = tmp_path / "plan", always("flock", errno.ENOLCK)
    planned = ("plan", "--pattern", PATTERN, "-o", plan)
    assert run_with(Fault(), *planned, cache=scene.root).result.code == 0
    (scene.root / "img" / ("77" * 32)).write_bytes(b"{}")
    empty = ("trash", "empty", "--yes")
    for words in (
        ("verify", "--repair", "--yes", "--format", "json"),
        ("apply", plan, "--format", "json"),
        ("trash", "restore", "2", "--format", "json"),
        (*empty, "--format", "json"),
    ):
        assert run_with(fault, *words, cache=scene.root).result.code == 11
        result = run_with(fault, *words, "--no-lock", cache=scene.root).result
        assert result.code == 0, result
        assert "is not locked: No locks available" in result.err
        document = json.loads(result.out)
        assert document.get("repair", document)["no_lock"] == "No locks available"


def test_the_library_refuses_and_goes_on_in_the_same_way(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_locks(descriptor: int, operation: int) -> None:
        raise OSError(errno.ENOLCK, "no locks")

    prune = partial(
        fastprune.prune, scene.root, Policy(patterns=(PATTERN,)), exclusion=Exclusion(force=True)
    )
    without = Exclusion(force=True, no_lock=True)
    with locked(scene.root), pytest.raises(LockedError):
        anyio.run(partial(prune, exclusion=without))
    monkeypatch.setattr(fcntl, "flock", no_locks)
    with pytest.raises(CantLockError, match="can't be locked: no locks"):
        anyio.run(prune)
    assert files(scene.root) == scene.before.paths
    report = anyio.run(partial(prune, exclusion=without))
    assert report is not None
    assert (report.exit_code, report.no_lock) == (0, "no locks")


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("error", NOT_OFFERED, ids=errno.errorcode.get)
def test_where_a_folder_can_t_be_made_durable_it_is_said_once(
    error: int, mode: Mode, scene: Scene, tmp_path: Path
) -> None:
    trash = ["--trash"] if mode == "trash" else []
    words = (*PRUNE, *trash, "--format", "json")
    outcome = run_with(always("fsync", error), *words, cache=scene.root)
    assert outcome.struck
    assert outcome.result.code == 0
    assert outcome.result.err.count("can't make changes durable (fsync)") == 1
    assert set(json.loads(outcome.result.out)["not_durable"]) == {"img", "lts", "blobs"}
    assert files(scene.root) == scene.outcome.left
    assert in_trash(scene.root) == (scene.outcome.removed if trash else set())


@pytest.mark.parametrize("error", [errno.EIO, errno.EROFS, errno.ENOSPC, errno.EDQUOT])
def test_an_error_that_may_lose_data_still_ends_it(error: int, scene: Scene) -> None:
    """A file system that the kernel has made read-only after an error answers EROFS."""
    result = run_with(always("fsync", error), *PRUNE, cache=scene.root).result
    assert result.code == 3
    assert f"can't be made durable: {os.strerror(error)}" in result.err
    assert "Not durable" not in result.out
    assert set(scene.outcome.blobs) <= files(scene.root)


def test_an_error_of_the_trash_is_not_hidden_by_a_folder_that_offers_none(scene: Scene) -> None:
    calls = run_with(Fault(("fsync",)), *PRUNE, "--trash", cache=scene.fresh()).calls
    first = next(at for at, call in enumerate(calls, 1) if call.endswith("/img"))
    fault = Fault(("fsync",), first=first, error=errno.EIO)
    result = run_with(fault, *PRUNE, "--trash", cache=scene.fresh()).result
    assert (result.code, os.strerror(errno.EIO) in result.err) == (3, True)


def test_the_trash_and_a_repair_go_on_as_well(scene: Scene) -> None:
    fault = always("fsync", errno.EINVAL)
    policy = Policy(patterns=(PATTERN,))
    for words in (("trash", "restore", TRASH_RUN), ("trash", "empty", "--yes")):
        prune_to_trash(scene.fresh(), policy, TRASH_RUN)
        result = run_with(fault, *words, cache=scene.root).result
        assert result.code == 0
        assert result.err.count("can't make changes durable (fsync)") == 1
        assert "Not durable, as the file system can't make it so: " in result.out
        restored = words[1] == "restore"
        assert files(scene.root) == (scene.before.paths if restored else scene.outcome.left)
        assert in_trash(scene.root) == set()
    (scene.root / "img" / ("77" * 32)).write_bytes(b"{}")
    result = run_with(fault, "verify", "--repair", "--yes", cache=scene.root).result
    assert result.code == 0
    assert "Not durable, as the file system can't make it so: img\n" in result.out
