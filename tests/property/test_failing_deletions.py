"""If some files can't be removed, nothing that stays loses a blob; a later run does the rest."""

from __future__ import annotations

import errno
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from tests.property.failing import FailingDeleter
from tests.property.profile import examples
from tests.property.running import (
    blob_paths,
    manifest_paths,
    policy_of,
    prune,
    run,
)
from tests.support.cachebuilder import files
from tests.support.oracle import Cache, kept_images_lost_blobs, kept_lists_lost_children, load
from tests.support.scanning import scanned
from tests.support.strategies import CacheSketch, ListSketch, Request, caches, on_disk, requests

from fastprune import Limits, PruneReport
from fastprune.deletion.phases import RunContext
from fastprune.deletion.pruning import carry_out
from fastprune.executors.inline import InlineExecutor
from fastprune.plan.prune_plan import make_plan
from fastprune.scanning.measuring import measure_blobs

# Which of the files that are to go can't be removed.
FAILURES = st.lists(st.booleans(), min_size=1, max_size=20)


def prune_with_failures(
    root: Path, request: Request, failures: list[bool]
) -> tuple[PruneReport, set[str]]:
    """Prunes; the removal of each manifest that is marked True fails."""
    index = scanned(root)
    plan = make_plan(index, policy_of(request), allow_broken=request.allow_broken)
    plan = plan.measured(
        measure_blobs(plan.index, plan.index.blob_digests[plan.blobs], InlineExecutor()).sizes
    )
    planned = sorted(index.path(row) for row in plan.removed.nonzero()[0].tolist())
    planned += sorted(blob_paths(index, plan.blobs))
    failing = {path for at, path in enumerate(planned) if failures[at % len(failures)]}
    deleter = FailingDeleter(root, failing)
    report = run(lambda: carry_out(plan, deleter, RunContext(Limits(concurrency=2))))
    return report, failing & set(deleter.tried)


def without_nested_lists(sketch: CacheSketch) -> CacheSketch:
    return _with_children(sketch, lambda one, child: False)


def without_cycles(sketch: CacheSketch) -> CacheSketch:
    """Lists refer only to lists with a larger name, because real digests can't make a cycle.

    In a cycle, no list can go before a list that refers to it.
    """
    return _with_children(sketch, lambda one, child: child > one)


def _with_children(sketch: CacheSketch, may_hold: Callable[[str, str], bool]) -> CacheSketch:
    """Leaves out the lists in lists that may not be there."""
    lists = {one.name for one in sketch.manifests if isinstance(one, ListSketch)}
    manifests = tuple(
        replace(
            one,
            children=tuple(
                child for child in one.children if child not in lists or may_hold(one.name, child)
            ),
        )
        if isinstance(one, ListSketch)
        else one
        for one in sketch.manifests
    )
    return replace(sketch, manifests=manifests)


def check(sketch: CacheSketch, request: Request, failures: list[bool]) -> None:
    with on_disk(sketch) as root:
        before = load(root)
        report, failed = prune_with_failures(root, request, failures)
        after = load(root)
        assert kept_images_lost_blobs(before, after) == []
        if not request.allow_broken:
            assert kept_lists_lost_children(before, after) == []
        _assert_reported(report, before, after, failed)
        # Later, when nothing fails, the same prune removes the rest.
        outcome = request.expected(after)
        prune(root, request)
        assert files(root) == outcome.left


def _assert_reported(report: PruneReport, before: Cache, after: Cache, failed: set[str]) -> None:
    assert failed <= after.paths
    assert {failure.path for failure in report.failures} == failed
    assert {failure.errno for failure in report.failures} <= {errno.EPERM}
    gone = manifest_paths(report, report.manifests) | blob_paths(report.plan.index, report.blobs)
    assert before.paths - after.paths == gone
    sizes = {path: one.size for path, one in before.manifests.items()}
    sizes |= {f"blobs/{name}": size for name, size in before.blobs.items()}
    assert report.bytes_freed == sum(sizes[path] for path in gone)
    assert report.exit_code == (3 if failed else 0)


@examples(120)
@given(sketch=caches().map(without_nested_lists), request=requests(), failures=FAILURES)
def test_what_stays_because_of_a_failure_is_whole_and_a_later_run_removes_the_rest(
    sketch: CacheSketch, request: Request, failures: list[bool]
) -> None:
    check(sketch, request, failures)


@examples(120)
@given(sketch=caches().map(without_cycles), request=requests(), failures=FAILURES)
def test_the_same_with_lists_of_lists(
    sketch: CacheSketch, request: Request, failures: list[bool]
) -> None:
    check(sketch, request, failures)


@examples(60)
@given(sketch=caches().map(without_nested_lists), request=requests(), failures=FAILURES)
def test_nothing_counts_as_left_untried_when_nothing_stopped_the_run(
    sketch: CacheSketch, request: Request, failures: list[bool]
) -> None:
    """A file that could not be removed was tried, and what it needs stays after all."""
    with on_disk(sketch) as root:
        report, _ = prune_with_failures(root, request, failures)
        assert (report.left, report.stopped) == (0, "")
