"""Calls that the system always refuses, as filters of system calls and some file systems do."""

from __future__ import annotations

import errno
import json
import os

import pytest
from tests.faults.injection import CONVENIENCES, FOREVER, Fault, run_with
from tests.faults.scenes import PATTERN, Scene
from tests.support.cachebuilder import files, snapshot

REFUSALS = (errno.EPERM, errno.ENOSYS, errno.EINVAL, errno.EROFS, errno.EOPNOTSUPP)
ONE_PROCESS = ("--jobs", "1")
# Each of them reads all manifests, whatever the one before has remembered.
LIST = ("list", "--rescan", "--format", "url", *ONE_PROCESS)
PRUNE = ("prune", "--rescan", "--pattern", PATTERN, *ONE_PROCESS)


def never(*calls: str, error: int) -> Fault:
    """Calls that fail every time."""
    return Fault(calls, first=1, last=FOREVER, error=error)


def possible(call: str, error: int) -> bool:
    """Whether a system may answer such a call with this error."""
    # Only a write of an access time could be refused because nothing may be written.
    return error != errno.EROFS or call == "noatime"


@pytest.mark.parametrize(
    ("call", "error"),
    [
        pytest.param(call, error, id=f"{call}-{errno.errorcode[error]}")
        for call in CONVENIENCES
        for error in REFUSALS
        if possible(call, error)
    ],
)
def test_without_a_convenience_all_is_as_with_it(call: str, error: int, scene: Scene) -> None:
    # Without preadv every file is asked for in advance.
    calls = {call, "preadv"}
    usual = run_with(Fault(), *LIST, cache=scene.root).result
    listed = run_with(never(*calls, error=error), *LIST, cache=scene.root)
    assert listed.struck
    assert any(line.startswith(f"{call} ") for line in listed.calls)
    assert (listed.result.code, listed.result.out) == (0, usual.out)
    verified = run_with(never(*calls, error=error), "verify", "--content", cache=scene.root)
    assert "could not be checked" not in verified.result.out
    pruned = run_with(never(*calls, error=error), *PRUNE, cache=scene.root).result
    assert pruned.code == 0
    assert files(scene.root) == scene.outcome.left


@pytest.mark.parametrize("error", [errno.EPERM, errno.ENOSYS])
def test_without_any_convenience_all_is_as_with_them(error: int, scene: Scene) -> None:
    result = run_with(never(*CONVENIENCES, error=error), *PRUNE, cache=scene.root).result
    assert result.code == 0
    assert files(scene.root) == scene.outcome.left


@pytest.mark.parametrize("form", ["text", "url", "json", "jsonl", "csv"])
def test_a_listing_of_nothing_is_no_success_if_nothing_can_be_read(form: str, scene: Scene) -> None:
    fault = never("read", "preadv", error=errno.EPERM)
    result = run_with(fault, "list", "--format", form, *ONE_PROCESS, cache=scene.root).result
    assert result.code == 4
    count = len(scene.before.manifests)
    assert f"error: nothing is listed, but {count} manifests can't be read" in result.err
    assert result.err.count(f"EPERM: {os.strerror(errno.EPERM)}") == count
    if form == "json":
        document = json.loads(result.out)
        assert document["manifests"] == []
        assert [item["unknown"] for item in document["corrupt"]] == [True] * count


def test_a_listing_of_nothing_is_a_success_if_there_is_nothing(scene: Scene) -> None:
    result = run_with(Fault(), "list", "--pattern", "^no-such-image", cache=scene.root).result
    assert (result.code, result.out, result.err) == (0, "", "")


@pytest.mark.parametrize("error", [errno.EPERM, errno.EAGAIN, errno.EIO, errno.EMFILE])
def test_what_can_not_be_read_is_skipped_by_no_option(error: int, scene: Scene) -> None:
    before = snapshot(scene.root)
    fault = never("read", "preadv", error=error)
    for command in ([*PRUNE, "--skip-corrupt"], PRUNE):
        result = run_with(fault, *command, cache=scene.root).result
        assert (result.code, result.out) == (4, "")
        assert f"{errno.errorcode[error]}: {os.strerror(error)}" in result.err
        assert "may be sound: let fastprune read them" in result.err
        assert "--skip-corrupt" not in result.err
        assert "repair" not in result.err
    repaired = run_with(fault, "verify", "--repair", "--yes", cache=scene.root).result
    assert repaired.code == 3
    manifests = set(scene.before.manifests)
    assert manifests <= files(scene.root)
    assert "could not be checked and was left alone" in repaired.err
    assert {path: stamp for path, stamp in snapshot(scene.root).items() if path in manifests} == {
        path: stamp for path, stamp in before.items() if path in manifests
    }
