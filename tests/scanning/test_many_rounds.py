"""Many rounds of changes, scans and prunes of one cache, with one folder for state."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

import anyio
import pytest
from tests.property.test_remembered_scans import CHANGES
from tests.support.cachebuilder import CacheBuilder, files
from tests.support.clock import wait_for_the_clock
from tests.support.remembered import Remembering

import fastprune
from fastprune import (
    ApplyOptions,
    DeleteLimits,
    Exclusion,
    PlanOptions,
    Policy,
    Reading,
    ScanOptions,
)
from fastprune.scanning.memory import StateFolder

ROUNDS = 40


def filled(root: Path, chance: random.Random) -> CacheBuilder:
    builder = CacheBuilder(root)
    shared = [builder.blob(10 + number) for number in range(6)]
    for number in range(24):
        layers = chance.sample([*shared, "ab" * 32], 3)
        digest = f"r{number % 4}@sha256:{number:064x}"
        image = builder.image(digest if number % 2 else f"r{number % 4}:{number}", layers=layers)
        if number % 3 == 0:
            builder.index(f"r{number % 4}:list{number}", children=[image, f"{number:064x}"])
    return builder


def pruned(root: Path, pattern: str, state: StateFolder | None) -> set[str]:
    """Prunes, with and without state; gives what is left."""
    report = anyio.run(
        lambda: fastprune.prune(
            root,
            Policy(patterns=(pattern,)),
            planning=PlanOptions(ScanOptions(state=state), skip_corrupt=True),
            applying=ApplyOptions(delete_limits=DeleteLimits(allow_remove_all=True)),
            reading=Reading(jobs=1),
            exclusion=Exclusion(force=True),
        )
    )
    assert report is not None
    return files(root)


@pytest.mark.parametrize("seed", [1, 2])
def test_one_folder_for_state_goes_through_all(
    seed: int, tmp_path: Path, believing: None, read_again_at_once: None
) -> None:
    chance = random.Random(seed)
    root = tmp_path / "cache"
    builder = filled(root, chance)
    cache = Remembering(root)
    # Links and the like have the server's name, so a prune refuses: it has rounds without them.
    safe = sorted(set(CHANGES) - {"linked", "removed", "folders_swapped", "other_content"})
    for number in range(ROUNDS):
        for _ in range(chance.randrange(4)):
            wait_for_the_clock(root)
            CHANGES[chance.choice(safe)](root, chance)
        patterns = (("^r1",), ("^r2", ":1$")) if chance.random() < 0.5 else ()
        cache.read_by_scan(
            edges=chance.random() < 0.7, chunk=chance.randrange(1, 9), pattern_sets=patterns
        )
        if number % 8 == 7:
            twin = tmp_path / "twin" / "cache"
            shutil.copytree(root, twin, symlinks=True)
            pattern = f"^r{chance.randrange(4)}:.*{chance.randrange(10)}$"
            state = StateFolder(str(cache.folder))
            assert pruned(root, pattern, state) == pruned(twin, pattern, None)
            shutil.rmtree(twin.parent)
            cache.read_by_scan()
            builder.image(f"r{number % 4}:new{number}", layers=[builder.blob(number)])
