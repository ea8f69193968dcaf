"""`trash restore` and `trash empty` are killed at each call that changes something; calls fail."""

from __future__ import annotations

import errno
import signal
from collections.abc import Iterator
from functools import cache
from itertools import count, cycle
from pathlib import Path

import pytest
from tests.faults.counting import COUNTS
from tests.faults.injection import CHANGES, FOREVER, WHERE, Fault, kinds, run_with, strike, tool
from tests.faults.scenes import NUMBERS
from tests.faults.trash_scenes import EMPTY, EMPTY_OLD, RESTORE, TASKS, TrashScene, words_of
from tests.support.cachebuilder import files

STRUCK = {
    RESTORE: ("link", "unlink", "fsync", "rmdir", "open", "readdir", "preadv", "stat", "flock"),
    EMPTY: ("unlink", "fsync", "rmdir", "open", "readdir"),
}
"""Kinds of calls that fail, each in two places; places and errors take turns."""
EVERY = {RESTORE: 1, EMPTY: 1, EMPTY_OLD: 2}
"""Which calls kill: each of them, or each second one, where the rest is as for `EMPTY`."""


def cases() -> Iterator[tuple[str, str, str, int]]:
    numbers, places = cycle(NUMBERS), cycle(WHERE)
    for task, struck in STRUCK.items():
        for kind in struck:
            for _ in range(2):
                yield task, kind, next(places), next(numbers)


@cache
def scene_of(folder: Path, task: str) -> TrashScene:
    return TrashScene(folder / task, task)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("trash")


@cache
def calls_of(scene: TrashScene) -> list[str]:
    """The kinds of all calls that an undisturbed run makes."""
    return kinds(run_with(Fault(), *words_of(scene.task), cache=scene.fresh()).calls)


@pytest.mark.parametrize("task", TASKS)
def test_a_task_that_is_killed_anywhere_loses_nothing_and_once_more_does_the_rest(
    task: str, folder: Path
) -> None:
    scene = scene_of(folder, task)
    kills = 0
    for number in count(1, EVERY[task]):
        fault = Fault(CHANGES, first=number, kill="process")
        outcome = run_with(fault, *words_of(task), cache=scene.fresh())
        assert scene.losses() == [], fault
        if not outcome.struck:
            break
        assert outcome.result.code == -signal.SIGKILL, fault
        scene.heal()
        kills += 1
    assert (outcome.result.code, outcome.result.err) == (0, "")
    assert scene.undone() == []
    # At least one call for each file to go, and the calls that make this durable.
    assert number > len(scene.moved) + 10
    COUNTS.append(f"killed at {kills} calls of a trash {task}: nothing lost")


def test_without_hard_links_a_restore_that_is_killed_loses_nothing(folder: Path) -> None:
    """If the system can't make hard links, files are renamed."""
    scene = scene_of(folder, RESTORE)
    strace = tool("strace", "strace")
    options = ("-f", "-qq", "-e", "trace=linkat", "-e", "signal=none", "-o", "/dev/null")
    no_links = (strace, *options, "-e", f"inject=linkat:error={errno.errorcode[errno.EPERM]}", "--")
    kills = 0
    for number in range(1, len(scene.moved) + 1, 3):
        fault = Fault(("rename",), first=number, kill="process")
        outcome = run_with(fault, *words_of(RESTORE), cache=scene.fresh(), prefix=no_links)
        assert outcome.result.code == -signal.SIGKILL, fault
        assert scene.losses() == [], fault
        assert len(scene.moved & files(scene.root)) == number - 1
        scene.heal()
        kills += 1
    COUNTS.append(f"killed at {kills} calls of a trash restore without hard links: nothing lost")


@pytest.mark.parametrize(
    ("task", "kind", "where", "number"),
    [
        pytest.param(*case, id=f"{case[0]}-{case[1]}-{case[2]}-{errno.errorcode[case[3]]}")
        for case in cases()
    ],
)
def test_one_call_that_fails(task: str, kind: str, where: str, number: int, folder: Path) -> None:
    scene = scene_of(folder, task)
    outcome = strike(kind, where, number, *words_of(task), fresh=scene.fresh)
    assert outcome.struck
    assert scene.complaints(outcome.result, number) == []


@pytest.mark.parametrize("task", STRUCK)
def test_a_disk_that_stops_answering_in_the_middle(task: str, folder: Path) -> None:
    """From a call in the middle of the work on, every call fails; then it answers again."""
    scene = scene_of(folder, task)
    changes = [at for at, kind in enumerate(calls_of(scene), 1) if kind in CHANGES]
    for number, at in ((errno.EIO, changes[2]), (errno.EROFS, changes[len(changes) // 2])):
        fault = Fault(first=at, last=FOREVER, error=number)
        result = run_with(fault, *words_of(task), cache=scene.fresh()).result
        assert scene.complaints(result, number) == []
        assert result.code == 3
        scene.heal()
