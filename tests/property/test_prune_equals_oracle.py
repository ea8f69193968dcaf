"""On random caches a prune does what the oracle says, no more and no less."""

from __future__ import annotations

from pathlib import Path

import pytest
import re2
from hypothesis import event, given
from tests.property.profile import examples
from tests.property.running import blob_paths, make_sizes_true, manifest_paths, prune
from tests.support.cachebuilder import files, snapshot
from tests.support.oracle import (
    Cache,
    Outcome,
    kept_images_lost_blobs,
    kept_lists_lost_children,
    load,
)
from tests.support.schemas import as_written
from tests.support.strategies import CacheSketch, Request, caches, on_disk, requests

from fastprune import PruneReport, UnreadableManifestsError
from fastprune.index.times import BAD_TIME
from fastprune.plan.prune_plan import Reason
from fastprune.report.prune_rendering import as_document


@examples(120)
@given(sketch=caches(corrupt=True, foreign=True, linked=True), request=requests())
def test_what_is_left_and_what_is_reported_equal_the_oracle(
    sketch: CacheSketch, request: Request
) -> None:
    with on_disk(sketch) as root:
        before = load(root)
        outcome = request.expected(before)
        if outcome.refused:
            _assert_refused(root, request, outcome)
            return
        report = prune(root, request)
        assert files(root) == outcome.left
        _assert_report(report, before, outcome)
        after = load(root)
        assert kept_images_lost_blobs(before, after) == []
        if not request.allow_broken:
            assert kept_lists_lost_children(before, after) == []
        event(f"protected: {bool(outcome.protected)}, removed: {bool(outcome.removed)}")


def _assert_refused(root: Path, request: Request, outcome: Outcome) -> None:
    untouched = snapshot(root)
    with pytest.raises(UnreadableManifestsError) as refusal:
        prune(root, request)
    refused = load(root).unknown if request.skip_corrupt else outcome.corrupt
    assert {path for path, _ in refusal.value.faults} == refused
    assert snapshot(root) == untouched


def _assert_report(report: PruneReport, before: Cache, outcome: Outcome) -> None:
    plan, index = report.plan, report.plan.index
    assert manifest_paths(report, report.lists) == outcome.lists
    assert manifest_paths(report, report.images) == outcome.images
    assert blob_paths(index, report.blobs) == outcome.blobs
    assert report.bytes_freed == outcome.freed_bytes
    assert report.bytes_linked == outcome.linked_bytes
    blobs = [before.blobs[path.removeprefix("blobs/")] for path in outcome.blobs]
    assert int(report.blob_bytes.sum()) == sum(blobs)
    assert manifest_paths(report, plan.protected) == set(outcome.protected)
    for row in plan.protected.tolist():
        assert index.path(int(plan.kept_by[row])) in outcome.protected[index.path(row)]
    for row in report.manifests.tolist():
        selected = plan.manifest_reason(row) is Reason.SELECTED
        assert selected == (index.path(row) in outcome.selected)
    _assert_blob_reasons(report, before)
    assert {path for path, _ in index.faults} == outcome.corrupt
    assert set(index.foreign) == before.foreign
    assert int((index.created == BAD_TIME).sum()) == len(outcome.malformed)
    assert (report.already_gone, report.changed, report.failures) == (0, (), ())
    assert (report.left, report.stopped, report.exit_code) == (0, "", 0)


def _assert_blob_reasons(report: PruneReport, before: Cache) -> None:
    referred = {digest for manifest in before.manifests.values() for digest in manifest.blobs}
    digests = report.plan.index.blob_digests[report.blobs]
    reasons = report.plan.blob_reasons(report.blobs)
    for digest, reason in zip(digests, reasons, strict=True):
        orphan = digest.tobytes().hex() not in referred
        assert reason is (Reason.ORPHAN if orphan else Reason.LAST_REFERENCE)


@examples(60)
@given(sketch=caches(foreign=True, linked=True), request=requests())
def test_a_dry_run_changes_nothing_and_reports_what_the_real_run_then_removes(
    sketch: CacheSketch, request: Request
) -> None:
    with on_disk(sketch) as root:
        make_sizes_true(root)
        untouched = snapshot(root)
        rehearsal = prune(root, request, dry_run=True)
        assert snapshot(root) == untouched
        real = prune(root, request)
        assert set(untouched) - set(snapshot(root)) == (
            manifest_paths(rehearsal, rehearsal.manifests)
            | blob_paths(rehearsal.plan.index, rehearsal.blobs)
        )
        assert _without_marks(rehearsal) == _without_marks(real)
        assert rehearsal.plan.bytes_freed == rehearsal.bytes_freed == real.bytes_freed


def _without_marks(report: PruneReport) -> dict[str, object]:
    document: dict[str, object] = as_written(as_document(report, summary=False))
    del document["dry_run"], document["seconds"]
    return document


@examples(60)
@given(sketch=caches(corrupt=True, foreign=True, linked=True), request=requests())
def test_a_second_run_removes_nothing(sketch: CacheSketch, request: Request) -> None:
    with on_disk(sketch) as root:
        if request.expected(load(root)).refused:
            return
        prune(root, request)
        untouched, after = snapshot(root), load(root)
        again = prune(root, request)
        assert files(root) == request.expected(after).left
        # If a digest is in both folders, a second prune may remove more: the first one kept a
        # copy only because both copies were selected.
        digests = [manifest.digest for manifest in after.manifests.values()]
        if len(set(digests)) == len(digests):
            assert snapshot(root) == untouched
            assert (len(again.manifests), len(again.blobs), again.bytes_freed) == (0, 0, 0)


@examples(60)
@given(sketch=caches(), request=requests())
def test_keep_beats_delete_and_what_is_excluded_stays(
    sketch: CacheSketch, request: Request
) -> None:
    """The same check without the oracle, from the files alone."""
    with on_disk(sketch) as root:
        before = load(root)
        prune(root, request)
        after = load(root)
        assert kept_images_lost_blobs(before, after) == []
        if not request.allow_broken:
            assert kept_lists_lost_children(before, after) == []
        excluded = {
            path
            for path, manifest in before.manifests.items()
            if any(re2.search(pattern, manifest.url) for pattern in request.exclude)
        }
        assert excluded <= set(after.manifests)


@examples(60)
@given(sketch=caches(foreign=True, linked=True), request=requests())
def test_the_totals_of_a_report_are_the_sums_of_its_parts(
    sketch: CacheSketch, request: Request
) -> None:
    with on_disk(sketch) as root:
        before = load(root)
        document = as_written(as_document(prune(root, request), summary=False))
    totals, cache = document["totals"], document["cache"]
    kinds = [one["kind"] for one in document["manifests"]]
    assert totals["manifests"] == len(kinds) == totals["lists"] + totals["images"]
    assert (totals["lists"], totals["images"]) == (kinds.count("list"), kinds.count("image"))
    assert totals["blobs"] == len(document["blobs"])
    items = document["manifests"] + document["blobs"]
    assert totals["bytes"] + totals["bytes_linked"] == sum(one["bytes"] for one in items)
    assert totals["protected"] == len(document["protected"])
    assert (cache["manifests"], cache["blobs"]) == (len(before.manifests), len(before.blobs))
    assert cache["foreign"] == len(before.foreign)
    referred = {digest for one in before.manifests.values() for digest in one.blobs}
    assert cache["missing_blobs"] == len(referred - before.there)
