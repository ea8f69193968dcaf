"""A prune is killed at each call that changes something, one call after the other."""

from __future__ import annotations

import signal
from itertools import count
from pathlib import Path

import pytest
from tests.faults.counting import COUNTS
from tests.faults.injection import CHANGES, Fault, run_with
from tests.faults.scenes import MODES, Mode, Scene, in_trash, prune_of
from tests.support.cachebuilder import files


@pytest.mark.parametrize("mode", MODES)
def test_a_prune_that_is_killed_anywhere_loses_nothing_and_the_next_one_heals(
    mode: Mode, tmp_path: Path
) -> None:
    """Between two such calls nothing on the disk changes. So these are all possible states."""
    scene = Scene(tmp_path)
    for number in count(1):
        fault = Fault(CHANGES, first=number, kill="process")
        outcome = run_with(fault, *prune_of(mode), cache=scene.fresh())
        assert scene.losses() == [], fault
        if mode == "trash":
            assert files(scene.root) | in_trash(scene.root) == scene.before.paths, fault
        if not outcome.struck:
            break
        assert outcome.result.code == -signal.SIGKILL, fault
        scene.heal(mode)
    assert outcome.result.code == 0
    assert files(scene.root) == scene.outcome.left
    # At least one call for each file to go, and the calls that make this durable.
    assert number > len(scene.outcome.removed) + 5
    COUNTS.append(f"killed at {number - 1} calls of a prune ({mode}): nothing lost")


@pytest.mark.parametrize("number", [1, 5, 8])
def test_a_scan_worker_that_is_killed_is_named_and_nothing_is_removed(
    number: int, tmp_path: Path
) -> None:
    scene = Scene(tmp_path)
    # The two folders of manifests are listed, and so opened and counted, in the main process.
    fault = Fault(("preadv",), first=number, kill="process")
    options = ("--pattern", "^a", "--jobs", "2")
    result = run_with(fault, "prune", *options, cache=scene.fresh()).result
    assert (result.code, result.out) == (1, "")
    assert "was killed by SIGKILL" in result.err
    assert "nothing was deleted" in result.err
    assert files(scene.root) == scene.before.paths
