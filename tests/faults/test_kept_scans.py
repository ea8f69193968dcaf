"""Kills and failing calls while a scan is remembered, and prunes that go by what a killed one left.

All other tests with faults run with remembered scans as well; there the calls that fail concern the
cache. Here they concern the folder for state.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
import signal
from itertools import count
from pathlib import Path

import pytest
from tests.cli.program import Result, run
from tests.faults.counting import COUNTS
from tests.faults.injection import CHANGES, FOREVER, Fault, kinds, run_with
from tests.faults.scenes import MODES, Mode, Scene, prune_of
from tests.support.cachebuilder import files
from tests.support.clock import wait_for_the_clock
from tests.support.remembering import STATE_VARIABLE

DRY_RUN = ("prune", "-n", "--pattern", "^a", "--jobs", "1")


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder for state, which all runs are told of."""
    folder = tmp_path / "state"
    folder.mkdir(mode=0o700)
    monkeypatch.setenv(STATE_VARIABLE, str(folder))
    return folder


def untimed(result: Result) -> Result:
    """A result without the line that says how long it took."""
    return result._replace(out=re.sub(r"(?m)^Time: .*\n", "", result.out))


def dry_run(root: Path, *options: str) -> Result:
    return untimed(run(*DRY_RUN, *options, cache=root))


def without_state(root: Path) -> Result:
    """A dry run that remembers nothing."""
    return dry_run(root, "--state-dir", "")


def emptied(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.mkdir(mode=0o700)


@pytest.mark.parametrize("known", [False, True], ids=["first scan", "another scan"])
def test_a_scan_that_is_killed_while_it_remembers_leaves_nothing_wrong(
    known: bool, state: Path, scene: Scene
) -> None:
    expected = without_state(scene.root)
    wait_for_the_clock(scene.root)
    options = ("--rescan",) if known else ()
    # Every third call: each of them would take long.
    for number in count(1 + known, 3):
        if not known:
            emptied(state)
        fault = Fault(first=number, kill="process")
        outcome = run_with(fault, *DRY_RUN, *options, cache=scene.root, under=state)
        if not outcome.struck:
            break
        assert outcome.result.code == -signal.SIGKILL, fault
        assert dry_run(scene.root) == expected, fault
        assert dry_run(scene.root) == expected, fault
    assert untimed(outcome.result) == expected
    assert {"open", "stat", "readdir"} <= set(kinds(outcome.calls))
    COUNTS.append(f"killed at {number // 3} calls of a scan that remembers: nothing wrong")


NUMBERS = (errno.EIO, errno.EACCES, errno.ENOENT, errno.ENOSPC)


@pytest.mark.parametrize("number", [errno.EIO, errno.ENOENT], ids=errno.errorcode.get)
def test_a_call_that_fails_while_a_scan_is_remembered_changes_nothing(
    number: int, state: Path, scene: Scene
) -> None:
    expected = without_state(scene.root)
    wait_for_the_clock(scene.root)
    dry_run(scene.root)
    for at in count(1 + (number == errno.EIO), 3):
        fault = Fault(first=at, error=number)
        outcome = run_with(fault, *DRY_RUN, cache=scene.root, under=state)
        # One message at most; and only where what lies there seems to be damaged.
        lines = outcome.result.err.replace(expected.err, "", 1).splitlines()
        assert len(lines) <= 1, fault
        assert all("everything is read: it is damaged" in line for line in lines), fault
        assert untimed(outcome.result)._replace(err=expected.err) == expected, fault
        if not outcome.struck:
            break
    assert at > 5
    assert os.listdir(state)


@pytest.mark.parametrize("number", NUMBERS, ids=errno.errorcode.get)
def test_a_folder_for_state_where_nothing_works_costs_nothing(
    number: int, state: Path, scene: Scene
) -> None:
    expected = without_state(scene.root)
    dry_run(scene.root)
    fault = Fault(first=1, last=FOREVER, error=number)
    outcome = run_with(fault, *DRY_RUN, cache=scene.root, under=state)
    assert outcome.struck
    assert untimed(outcome.result) == expected
    pruned = run_with(fault, *prune_of("delete"), cache=scene.root, under=state)
    assert pruned.result.code == 0
    assert files(scene.root) == scene.outcome.left


@pytest.mark.parametrize("mode", MODES)
def test_a_prune_that_was_killed_is_run_again_with_what_it_remembered(
    mode: Mode, state: Path, scene: Scene
) -> None:
    calls = len(run_with(Fault(CHANGES), *prune_of(mode), cache=scene.fresh()).calls)
    for number in range(1, calls + 1, 7):
        scene.fresh()
        wait_for_the_clock(scene.root)
        # What it remembers, and what it reads again.
        dry_run(scene.root)
        fault = Fault(CHANGES, first=number, kill="process")
        killed = run_with(fault, *prune_of(mode), cache=scene.root)
        assert killed.result.code == -signal.SIGKILL
        assert scene.losses() == [], fault
        assert dry_run(scene.root) == without_state(scene.root), fault
        again = run(*prune_of(mode), "--lock-wait", "30s", cache=scene.root)
        assert again.code == 0, fault
        assert files(scene.root) == scene.outcome.left, fault
        assert dry_run(scene.root) == without_state(scene.root), fault
    assert os.listdir(state)
