"""A journal is told of every file that was tried, even if deletions or the journal fail."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from tests.property.failing import FailingDeleter
from tests.property.profile import examples
from tests.property.running import blob_paths, policy_of, run
from tests.support.oracle import Cache, load
from tests.support.scanning import scanned
from tests.support.strategies import CacheSketch, Request, caches, on_disk, requests

from fastprune import JournalEntry, JournalError, Limits, PrunePlan, PruneReport
from fastprune.deletion.phases import RunContext
from fastprune.deletion.pruning import carry_out
from fastprune.executors.inline import InlineExecutor
from fastprune.plan.prune_plan import make_plan
from fastprune.scanning.measuring import measure_blobs

FAILURES = st.lists(st.booleans(), min_size=1, max_size=20)


class Notes:
    """A journal that keeps what it is told, until it fails."""

    def __init__(self, ink: int = 10_000) -> None:
        self.entries: list[JournalEntry] = []
        self._ink = ink

    async def note(self, entries: Sequence[JournalEntry]) -> None:
        """See `Journal.note`."""
        self.entries += entries
        await self.settle()

    async def settle(self) -> None:
        """See `Journal.settle`."""
        if len(self.entries) > self._ink:
            raise JournalError("the pen is dry")

    def paths(self, outcome: str) -> set[str]:
        return {entry.path for entry in self.entries if entry.outcome == outcome}


def plan_of(root: Path, request: Request) -> PrunePlan:
    plan = make_plan(scanned(root), policy_of(request), allow_broken=request.allow_broken)
    return plan.measured(
        measure_blobs(plan.index, plan.index.blob_digests[plan.blobs], InlineExecutor()).sizes
    )


def prune(root: Path, plan: PrunePlan, failures: list[bool], notes: Notes) -> PruneReport:
    planned = sorted(plan.index.path(row) for row in plan.removed.nonzero()[0].tolist())
    planned += sorted(blob_paths(plan.index, plan.blobs))
    failing = {path for at, path in enumerate(planned) if failures[at % len(failures)]}
    deleter = FailingDeleter(root, failing)
    context = RunContext(Limits(concurrency=2), journal=notes)
    return run(lambda: carry_out(plan, deleter, context))


@examples(40)
@given(sketch=caches(foreign=True), request=requests(), failures=FAILURES)
def test_what_it_is_told_is_what_happened(
    sketch: CacheSketch, request: Request, failures: list[bool]
) -> None:
    with on_disk(sketch) as root:
        before, plan, notes = load(root), plan_of(root, request), Notes()
        report = prune(root, plan, failures, notes)
        assert notes.paths("removed") == before.paths - load(root).paths
        assert notes.paths("failed") == {failure.path for failure in report.failures}
        assert sum(entry.size for entry in notes.entries) == report.bytes_freed
        assert len({entry.path for entry in notes.entries}) == len(notes.entries)
        _check_facts(notes, before, plan)


def _check_facts(notes: Notes, before: Cache, plan: PrunePlan) -> None:
    reasons = {
        plan.index.path(row): plan.manifest_reason(row).text
        for row in plan.removed.nonzero()[0].tolist()
    }
    for entry in notes.entries:
        assert (entry.error is not None) == (entry.outcome == "failed")
        if entry.kind == "blob":
            referred = any(
                entry.path == f"blobs/{digest}"
                for manifest in before.manifests.values()
                for digest in manifest.blobs
            )
            assert entry.reason == ("last-reference-removed" if referred else "orphan")
            assert entry.url is None
            continue
        manifest = before.manifests[entry.path]
        assert entry.kind == ("list" if manifest.is_list else "image")
        assert (entry.url, entry.reason) == (manifest.url, reasons[entry.path])


@examples(40)
@given(sketch=caches(), request=requests(), ink=st.integers(min_value=0, max_value=8))
def test_when_it_fails_the_run_ends_soon_and_it_is_told_of_all_that_went(
    sketch: CacheSketch, request: Request, ink: int
) -> None:
    with on_disk(sketch) as root:
        before, plan, notes = load(root), plan_of(root, request), Notes(ink)
        report = prune(root, plan, [False], notes)
        assert notes.paths("removed") == before.paths - load(root).paths
        if len(notes.entries) > ink:
            assert (report.stopped, report.exit_code) == ("the pen is dry", 3)
            # At most the batches that two threads were working on, of two files each.
            assert len(notes.entries) <= ink + 4
        else:
            assert report.stopped == ""
