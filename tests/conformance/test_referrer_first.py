"""Rule 3: the referring file goes first, and that is on disk before the next phase begins.

A deleter that only writes down what it should do shows the order.
"""

from __future__ import annotations

import os
import threading
from pathlib import Path

import anyio
import pytest
from tests.support.cachebuilder import FOLDERS, CacheBuilder, files
from tests.support.oracle import kept_images_lost_blobs, load
from tests.support.scanning import scanned

from fastprune import Limits, Policy, PruneReport
from fastprune.deletion.deleter import Batch, BatchResult, Unlinker
from fastprune.deletion.phases import RunContext
from fastprune.deletion.pruning import carry_out
from fastprune.plan.prune_plan import PrunePlan, make_plan

EVERYTHING = Policy(patterns=(".",))


class Recorder:
    """Removes files and keeps a record: `settle img`, or the path of a file."""

    def __init__(self, root: Path, *, batch_size: int = 1, stop_after: int | None = None) -> None:
        self.batch_size = batch_size
        self.events: list[str] = []
        self._stop_after = stop_after
        self._folders = {os.stat(root / folder).st_ino: folder for folder in FOLDERS}
        self._lock = threading.Lock()

    def remove(self, folder: int, batch: Batch) -> BatchResult:
        """See `Deleter.remove`."""
        name = self._folders[os.fstat(folder).st_ino]
        with self._lock:
            self.events += [f"{name}/{file}" for file in batch.names]
        return Unlinker().remove(folder, batch)

    def settle(self, folder: int) -> None:
        """See `Deleter.settle`."""
        with self._lock:
            self.events.append(f"settle {self._folders[os.fstat(folder).st_ino]}")

    def reason_to_stop(self) -> str:
        """Acts like a limit: after so many files the run must end."""
        done = sum(not event.startswith("settle") for event in self.events)
        return "enough" if self._stop_after is not None and done >= self._stop_after else ""


def crowded_cache(root: Path) -> CacheBuilder:
    """Lists and images in both folders, and blobs of many sizes, in one knot."""
    builder = CacheBuilder(root)
    layers = [builder.blob(size) for size in (10, 5_000, 300, 70_000, 4)]
    for number in range(6):
        tag = "latest" if number % 2 else "1"
        image = builder.image(
            f"r/app{number}@sha256:{number}", layers=[layers[number % 5], layers[number % 3]]
        )
        builder.tag(image, f"r/app{number}:latest", folder="lts")
        builder.index(f"r/app{number}:{tag}", children=[image])
    return builder


def plan_for(root: Path, policy: Policy = EVERYTHING) -> PrunePlan:
    index = scanned(root)
    return make_plan(index, policy)


def carried_out(plan: PrunePlan, deleter: Recorder, concurrency: int = 1) -> PruneReport:
    limits = Limits(concurrency=concurrency, stopped=deleter.reason_to_stop)
    results: list[PruneReport] = []

    async def work() -> None:
        results.append(await carry_out(plan, deleter, RunContext(limits)))

    anyio.run(work)
    return results[0]


def kinds_of(events: list[str], plan: PrunePlan) -> list[str]:
    """The record with `list`, `image` or `blob` in place of the paths, runs of one as one."""
    index = plan.index
    kinds = {
        index.path(row): "list" if index.is_list[row] else "image" for row in range(len(index))
    }
    named = [event if event.startswith("settle") else kinds.get(event, "blob") for event in events]
    return [one for at, one in enumerate(named) if at == 0 or one != named[at - 1]]


@pytest.mark.parametrize("concurrency", [1, 4])
@pytest.mark.parametrize("batch_size", [1, 256])
def test_lists_then_images_then_blobs_each_settled_before_the_next(
    concurrency: int, batch_size: int, tmp_path: Path
) -> None:
    crowded_cache(tmp_path)
    plan = plan_for(tmp_path)
    recorder = Recorder(tmp_path, batch_size=batch_size)
    report = carried_out(plan, recorder, concurrency)
    assert kinds_of(recorder.events, plan) == [
        *("list", "settle img", "list", "settle lts"),
        *("image", "settle img", "image", "settle lts"),
        *("blob", "settle blobs"),
    ]
    assert files(tmp_path) == set()
    assert report.exit_code == 0


def test_a_phase_without_files_is_not_settled(tmp_path: Path) -> None:
    builder = CacheBuilder(tmp_path)
    orphan = builder.blob(10)
    recorder = Recorder(tmp_path)
    carried_out(plan_for(tmp_path, Policy(orphans_only=True)), recorder)
    assert recorder.events == [f"blobs/{orphan}", "settle blobs"]


def test_the_largest_blobs_go_first(tmp_path: Path) -> None:
    crowded_cache(tmp_path)
    recorder = Recorder(tmp_path)
    sizes = {f"blobs/{name}": size for name, size in load(tmp_path).blobs.items()}
    carried_out(plan_for(tmp_path), recorder)
    went = [sizes[event] for event in recorder.events if event.startswith("blobs/")]
    assert went == sorted(went, reverse=True)
    assert len(went) == len(sizes)


def test_a_run_that_ends_anywhere_leaves_no_image_without_its_blobs(tmp_path: Path) -> None:
    """Wherever a run is stopped; and the next one heals what it left."""
    whole = crowded_cache(tmp_path / "whole").root
    steps = len(files(whole))
    for stop_after in range(steps + 1):
        root = crowded_cache(tmp_path / str(stop_after)).root
        before = load(root)
        recorder = Recorder(root, stop_after=stop_after)
        report = carried_out(plan_for(root), recorder)
        after = load(root)
        assert kept_images_lost_blobs(before, after) == []
        assert len(before.paths - after.paths) == stop_after
        # Everything that was removed is on disk, even when the run ends early.
        if stop_after:
            assert recorder.events[-1].startswith("settle")
        assert bool(report.stopped) == (stop_after < steps)
        assert report.exit_code == (3 if stop_after < steps else 0)
        carried_out(plan_for(root), Recorder(root))
        assert files(root) == set()


@pytest.mark.parametrize("stop_after", [0, 1, 10, 28])
def test_a_run_that_ends_early_says_how_many_files_of_the_plan_are_left(
    stop_after: int, tmp_path: Path
) -> None:
    root = crowded_cache(tmp_path).root
    steps = len(files(root))
    report = carried_out(plan_for(root), Recorder(root, stop_after=stop_after))
    assert report.left == steps - stop_after == len(files(root))


def test_an_outer_list_that_stays_keeps_the_lists_in_it(tmp_path: Path) -> None:
    """Lists refer to lists: the outer one has to be gone before an inner one goes."""
    builder = CacheBuilder(tmp_path)
    image = builder.image("r/app@sha256:1", layers=[builder.blob(1)])
    inner = builder.index("r/app@sha256:2", children=[image], name="0" * 64)
    outer = builder.index("r/app:1", children=[inner], name="f" * 64)
    recorder = Recorder(tmp_path)
    carried_out(plan_for(tmp_path), recorder)
    went = [event for event in recorder.events if not event.startswith("settle")]
    assert went.index(f"img/{outer}") < went.index(f"img/{inner}")


def test_what_follows_a_failed_settle_is_not_touched(tmp_path: Path) -> None:
    crowded_cache(tmp_path)

    class FailsToSettle(Recorder):
        def settle(self, folder: int) -> None:
            raise OSError(5, "Input/output error")

    recorder = FailsToSettle(tmp_path)
    plan = plan_for(tmp_path)
    report = carried_out(plan, recorder)
    assert report.stopped.endswith("Input/output error")
    assert report.exit_code == 3
    assert report.left == len(files(tmp_path)) > 0
    assert kinds_of(recorder.events, plan) == ["list"]
