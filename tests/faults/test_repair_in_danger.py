"""`verify --repair` killed at each call that changes something, and with calls that fail."""

from __future__ import annotations

import errno
import os
import shutil
import signal
from pathlib import Path

import pytest
from tests.cli.inside import run_inside
from tests.faults.counting import COUNTS
from tests.faults.injection import CHANGES, FOREVER, Fault, run_with
from tests.faults.scenes import in_trash
from tests.support.cachebuilder import CacheBuilder, Corruption, files

pytestmark = pytest.mark.usefixtures("read_again_at_once")

REPAIR = ("verify", "--content", "--repair", "--force", "--summary", "--jobs", "1")


class Damaged:
    """A cache with bad blobs that several images need, and manifests with each kind of damage."""

    def __init__(self, folder: Path) -> None:
        builder = CacheBuilder(folder / "original")
        blobs = builder.root / "blobs"
        short, altered, base = builder.blob(100), builder.blob(200), builder.blob(300)
        spoilt = [
            builder.image("a:1", layers=[short, base]),
            builder.image("a:2", layers=[short, altered]),
        ]
        latest = builder.image("a:latest", layers=[base, "ab" * 32])
        corrupt = [builder.corrupt(Corruption.CUT), builder.corrupt(Corruption.NULL, folder="lts")]
        builder.index("a:3", children=spoilt)
        builder.image("kept:1", layers=[base])
        os.truncate(blobs / short, 10)
        (blobs / altered).write_bytes(bytes(200))
        self._original = builder.root
        self.root = folder / "cache"
        self.all = files(builder.root)
        self.damaged = {f"blobs/{short}", f"blobs/{altered}", f"lts/{latest}", *corrupt}
        self.damaged |= {f"img/{name}" for name in spoilt}

    def fresh(self) -> Path:
        shutil.rmtree(self.root, ignore_errors=True)
        shutil.copytree(self._original, self.root)
        return self.root

    def check_nothing_is_lost(self, what: object) -> None:
        here, there = files(self.root), in_trash(self.root)
        assert here | there == self.all, what
        assert not here & there, what
        assert there <= self.damaged, what

    def heal(self) -> None:
        """The next repair does the rest, without reading blobs that look good."""
        again = run_inside(*REPAIR, cache=self.root)
        assert (again.code, again.err) == (0, "")
        assert files(self.root) == self.all - self.damaged
        assert in_trash(self.root) == self.damaged


def test_a_repair_that_is_killed_anywhere_loses_nothing_and_the_next_one_heals(
    tmp_path: Path,
) -> None:
    scene = Damaged(tmp_path)
    whole = run_with(Fault(CHANGES), *REPAIR, cache=scene.fresh())
    assert (whole.result.code, files(scene.root)) == (0, scene.all - scene.damaged)
    moves = [f"rename {path}" for path in scene.damaged]
    assert set(moves) <= set(whole.calls)
    # Before the first file is moved, there are only empty folders.
    begin = min(map(whole.calls.index, moves)) + 1
    numbers = [1, *range(begin, len(whole.calls) + 1)]
    for number in numbers:
        fault = Fault(CHANGES, first=number, kill="process")
        outcome = run_with(fault, *REPAIR, cache=scene.fresh())
        assert outcome.result.code == -signal.SIGKILL, fault
        scene.check_nothing_is_lost(fault)
        scene.heal()
    assert len(numbers) > len(scene.damaged) + 5
    COUNTS.append(f"killed at {len(numbers)} calls of a repair: nothing lost")


@pytest.mark.parametrize(
    ("kind", "number", "first", "last"),
    [
        ("rename", errno.EIO, 4, None),
        ("rename", errno.EPERM, 1, FOREVER),
        ("fsync", errno.EIO, 1, FOREVER),
        ("fsync", errno.EIO, 7, FOREVER),
        ("mkdir", errno.ENOSPC, 1, FOREVER),
        ("open", errno.EIO, 40, FOREVER),
        ("stat", errno.ESTALE, 10, FOREVER),
    ],
)
def test_calls_that_fail(
    kind: str, number: int, first: int, last: int | None, tmp_path: Path
) -> None:
    scene = Damaged(tmp_path)
    fault = Fault((kind,), first=first, last=last, error=number)
    outcome = run_with(fault, *REPAIR, cache=scene.fresh())
    assert outcome.struck
    scene.check_nothing_is_lost(fault)
    assert "Traceback" not in outcome.result.err
    assert outcome.result.code in (1, 3)
    assert os.strerror(number) in outcome.result.err
    scene.heal()
