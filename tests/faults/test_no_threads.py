"""The system starts no thread or no process: those that there are do the same work."""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest
from tests.cli.program import Result, run
from tests.faults.injection import FOREVER, STARTS, Fault, run_with, tool
from tests.faults.scenes import PATTERN, Mode, Scene, in_trash
from tests.hazards.trashing import prune_to_trash
from tests.support.cachebuilder import CacheBuilder, files, snapshot
from tests.support.oracle import load

from fastprune import Policy

PRUNE = ("prune", "--pattern", PATTERN, "--summary", "--jobs", "3")
TRASH_RUN = "20200101T000000Z-000000"


def from_the(number: int, *kinds: str, error: int = errno.EAGAIN) -> Fault:
    """From this call on, no thread or process of these kinds starts."""
    return Fault(kinds, first=number, last=FOREVER, error=error)


def no_trouble(result: Result) -> bool:
    return (result.code, result.err) == (0, "")


def without_times(out: str) -> list[str]:
    return [line for line in out.splitlines() if not line.startswith(("Time: ", "Content read"))]


@pytest.mark.parametrize("mode", ["delete", "trash"])
@pytest.mark.parametrize("first", [1, 2])
@pytest.mark.parametrize("kinds", [("thread",), ("fork",), STARTS], ids=",".join)
def test_a_prune_comes_to_the_same(
    kinds: Sequence[str], first: int, mode: Mode, scene: Scene, tmp_path: Path
) -> None:
    log = tmp_path / "audit.log"
    options: list[str | Path] = ["--audit-log", log, *(["--trash"] if mode == "trash" else [])]
    outcome = run_with(from_the(first, *kinds), *PRUNE, *options, cache=scene.root)
    assert outcome.struck
    assert no_trouble(outcome.result)
    assert files(scene.root) == scene.outcome.left
    assert scene.losses() == []
    lines = [json.loads(line) for line in log.read_text("utf-8").splitlines()]
    removed = [line["name"] for line in lines if line["event"] == "file"]
    assert sorted(removed) == sorted(scene.outcome.removed)
    if mode == "trash":
        assert in_trash(scene.root) == scene.outcome.removed


@pytest.mark.parametrize("error", [errno.EAGAIN, errno.ENOMEM, errno.EPERM, errno.ENOSYS])
def test_whatever_the_system_says(error: int, scene: Scene) -> None:
    """A limit, no memory, or a filter of system calls that does not know clone3."""
    assert no_trouble(run_with(from_the(1, *STARTS, error=error), *PRUNE, cache=scene.root).result)
    assert files(scene.root) == scene.outcome.left


def test_many_batches_share_the_threads_that_there_are(tmp_path: Path) -> None:
    builder = CacheBuilder(tmp_path / "cache")
    for number in range(3_000):
        builder.blob(b"%d" % number)
    builder.image("kept:1")
    kept = set().union(*(one.blobs for one in load(builder.root).manifests.values()))
    outcome = run_with(from_the(3, "thread"), "prune", "--orphans-only", cache=builder.root)
    assert len(outcome.calls) > 2
    assert outcome.result.code == 0
    assert set(load(builder.root).blobs) == kept


def test_reading_commands_say_the_same(scene: Scene, tmp_path: Path) -> None:
    plan = tmp_path / "plan"
    for command in (
        ("list", "--jobs", "3"),
        ("list", "--jobs", "3", "--format", "json"),
        ("du", "--jobs", "3"),
        ("verify", "--content", "--jobs", "3", "--summary"),
    ):
        usual = run(*command, cache=scene.root)
        result = run_with(from_the(1, *STARTS), *command, cache=scene.root).result
        assert (result.code, result.err) == (usual.code, usual.err)
        assert without_times(result.out) == without_times(usual.out)
    words = ("plan", "--pattern", PATTERN, "--jobs", "3", "-o", plan)
    assert run_with(from_the(1, *STARTS), *words, cache=scene.root).result.code == 0
    assert no_trouble(run_with(from_the(1, *STARTS), "apply", plan, cache=scene.root).result)
    assert files(scene.root) == scene.outcome.left


def test_the_trash_is_put_back_and_emptied(scene: Scene) -> None:
    prune_to_trash(scene.root, Policy(patterns=(PATTERN,)), TRASH_RUN)
    again = ("trash", "restore", TRASH_RUN, "--jobs", "3")
    assert no_trouble(run_with(from_the(1, *STARTS), *again, cache=scene.root).result)
    assert files(scene.root) == scene.before.paths
    prune_to_trash(scene.root, Policy(patterns=(PATTERN,)), TRASH_RUN)
    empty = ("trash", "empty", "--yes", "--jobs", "3")
    assert no_trouble(run_with(from_the(1, *STARTS), *empty, cache=scene.root).result)
    assert files(scene.root) == scene.outcome.left
    assert in_trash(scene.root) == set()


def test_a_repair_comes_to_the_same(scene: Scene) -> None:
    (scene.root / "img" / ("77" * 32)).write_bytes(b"{}")
    words = ("verify", "--repair", "--yes", "--summary", "--jobs", "3")
    result = run_with(from_the(1, *STARTS), *words, cache=scene.root).result
    assert "Traceback" not in result.err
    assert "img/" + "77" * 32 in in_trash(scene.root)


def test_tune_measures_with_what_there_is(scene: Scene) -> None:
    before = snapshot(scene.root)
    words = ("tune", "--seconds", "1", "--files", "200", "--jobs", "2")
    result = run_with(from_the(1, *STARTS), *words, cache=scene.root).result
    assert "Traceback" not in result.err
    assert result.code == 0
    assert snapshot(scene.root) == before


# Real limits.


def limited(limit: str) -> list[str]:
    """A prefix that starts a program with a limit of prlimit(1)."""
    return [tool("prlimit", "util-linux"), limit]


def test_a_user_who_may_start_no_process_prunes(scene: Scene) -> None:
    """Limits don't apply to root. So root becomes another user, who may write here."""
    if os.geteuid() != 0 or shutil.which("setpriv") is None:
        pytest.skip("only root with setpriv can be a user without processes")
    somebody = ["setpriv", "--reuid=61234", "--clear-groups"]
    rights = ["--inh-caps=+dac_override", "--ambient-caps=+dac_override", "--"]
    prefix = [*somebody, *rights, *limited("--nproc=1")]
    result = run(*PRUNE, cache=scene.root, prefix=prefix)
    assert no_trouble(result)
    assert files(scene.root) == scene.outcome.left


@pytest.mark.parametrize("megabytes", [60, 110, 150, 300])
def test_with_little_memory_it_does_it_or_says_why_not(megabytes: int, scene: Scene) -> None:
    prefix = limited(f"--as={megabytes << 20}")
    result = run(*PRUNE, cache=scene.root, prefix=prefix)
    assert scene.losses() == []
    match result.code:
        case 0:
            assert files(scene.root) == scene.outcome.left
        case 3:
            assert "Stopped: " in result.out or "Failed: " in result.out
        case _:
            assert files(scene.root) == scene.before.paths
    scene.heal("delete")
