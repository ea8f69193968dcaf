"""Files that go into the trash of a random cache come back, wherever the work is cut off."""

from __future__ import annotations

from pathlib import Path

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.hazards.trashing import (
    RUN,
    empty_now,
    entries,
    in_trash,
    prune_to_trash,
    restore_now,
)
from tests.property.profile import examples
from tests.property.running import make_sizes_true, policy_of
from tests.property.test_failing_deletions import without_cycles
from tests.support.cachebuilder import files
from tests.support.oracle import kept_images_lost_blobs, kept_lists_lost_children, load
from tests.support.scanning import scanned
from tests.support.strategies import CacheSketch, Request, caches, on_disk, requests

from fastprune import Limits, PruneReport
from fastprune.deletion.deleter import (
    Batch,
    BatchResult,
    Deleter,
    Restorer,
    Unlinker,
    moving_to_trash,
)
from fastprune.deletion.phases import RunContext
from fastprune.deletion.pruning import carry_out
from fastprune.layouts.default import DEFAULT_LAYOUT
from fastprune.plan.prune_plan import make_plan

STEPS = st.integers(min_value=0, max_value=25)


class PowerCutError(Exception):
    """The power is cut: nothing happens after this."""


class Power:
    """Lasts for so many steps."""

    def __init__(self, steps: int) -> None:
        self._steps = steps

    def use(self) -> None:
        if not self._steps:
            raise PowerCutError
        self._steps -= 1


def one_by_one(batch: Batch) -> list[Batch]:
    pieces = [slice(position, position + 1) for position in range(len(batch.names))]
    return [
        Batch(batch.names[one], batch.sizes[one], batch.checks and batch.checks[one])
        for one in pieces
    ]


def merged(results: list[BatchResult]) -> BatchResult:
    assert not any(result.errors for result in results)
    outcomes = bytearray(b"".join(result.outcomes for result in results))
    return BatchResult(outcomes, [size for result in results for size in result.freed], {})


class CutOffMover:
    """Moves file by file, until the power is cut."""

    batch_size = 4

    def __init__(self, mover: Deleter, power: Power) -> None:
        self._mover, self._power = mover, power

    def remove(self, folder: int, batch: Batch) -> BatchResult:
        results = []
        for one in one_by_one(batch):
            self._power.use()
            results.append(self._mover.remove(folder, one))
        return merged(results)

    def settle(self, folder: int) -> None:
        self._power.use()
        self._mover.settle(folder)


class CutOffRestorer(Restorer):
    """Restores file by file, until the power is cut."""

    def __init__(self, power: Power) -> None:
        self._power = power

    def put_back(self, trash: int, folder: int, batch: Batch) -> BatchResult:
        results = []
        for one in one_by_one(batch):
            self._power.use()
            results.append(super().put_back(trash, folder, one))
        return merged(results)

    def settle(self, folder: int) -> None:
        self._power.use()
        super().settle(folder)

    def remove(self, folder: int, batch: Batch) -> BatchResult:
        results = []
        for one in one_by_one(batch):
            self._power.use()
            results.append(super().remove(folder, one))
        return merged(results)


def prune(root: Path, request: Request) -> PruneReport:
    return prune_to_trash(
        root,
        policy_of(request),
        allow_broken=request.allow_broken,
        skip_corrupt=request.skip_corrupt,
    )


@examples(40)
@given(sketch=caches(corrupt=True, foreign=True), request=requests())
def test_what_goes_is_in_the_trash_and_comes_back_byte_for_byte(
    sketch: CacheSketch, request: Request
) -> None:
    with on_disk(sketch) as root:
        make_sizes_true(root)
        before = entries(root)
        outcome = request.expected(load(root))
        if outcome.refused:
            return
        report = prune(root, request)
        assert files(root) == outcome.left
        assert report.bytes_freed == outcome.freed_bytes
        if not outcome.removed:
            assert report.trash_run == ""
            assert entries(root) == before
            return
        assert report.trash_run == RUN
        assert in_trash(root) == outcome.removed
        back = restore_now(root)
        assert (back.exit_code, back.size) == (0, outcome.freed_bytes)
        counts = (back.counts["list"], back.counts["image"], back.counts["blob"])
        assert counts == (len(outcome.lists), len(outcome.images), len(outcome.blobs))
        # The trash is gone with the last run in it.
        assert entries(root) == before


@examples(40)
@given(
    sketch=caches(corrupt=True).map(without_cycles),
    request=requests(),
    moving=STEPS,
    restoring=STEPS,
)
def test_wherever_both_are_cut_off_nothing_is_lost(
    sketch: CacheSketch, request: Request, moving: int, restoring: int
) -> None:
    with on_disk(sketch) as root:
        whole, before = load(root), entries(root)
        if request.expected(whole).refused:
            return
        plan = make_plan(
            scanned(root),
            policy_of(request),
            allow_broken=request.allow_broken,
            skip_corrupt=request.skip_corrupt,
        )

        def move() -> None:
            with moving_to_trash(str(root), RUN, DEFAULT_LAYOUT) as mover:
                cut_off = CutOffMover(mover, Power(moving))
                anyio.run(carry_out, plan, cut_off, RunContext(Limits(concurrency=1)))

        _until_power_cut(move)
        assert kept_images_lost_blobs(whole, load(root)) == []
        if (root / ".fastprune").exists():
            restorer = CutOffRestorer(Power(restoring))
            _until_power_cut(lambda: restore_now(root, restorer=restorer))
            half = load(root)
            assert kept_images_lost_blobs(whole, half) == []
            if not request.allow_broken:
                assert kept_lists_lost_children(whole, half) == []
        if (root / ".fastprune").exists():
            assert restore_now(root).exit_code == 0
        assert entries(root) == before


def _until_power_cut(work: object) -> None:
    assert callable(work)
    try:
        work()
    except PowerCutError:
        pass
    except BaseExceptionGroup as group:
        if group.split(PowerCutError)[1] is not None:
            raise


@examples(25)
@given(sketch=caches(), request=requests(), files_deleted=STEPS)
def test_what_is_left_of_a_run_that_was_emptied_in_part_can_still_be_put_back(
    sketch: CacheSketch, request: Request, files_deleted: int
) -> None:
    with on_disk(sketch) as root:
        whole = load(root)
        prune(root, request)
        if not (root / ".fastprune").exists():
            return
        asked = iter(range(10_000))
        limits = Limits(1, lambda: "enough" if next(asked) >= files_deleted else "")
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Unlinker, "batch_size", 1)
            report = empty_now(root, limits=limits)
        if report.stopped:
            assert restore_now(root).exit_code == 0
        after = load(root)
        assert kept_images_lost_blobs(whole, after) == []
        assert not (root / ".fastprune").exists()
