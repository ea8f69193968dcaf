"""How a report shows what a running server was asked."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from tests.support.cachebuilder import CacheBuilder
from tests.support.scanning import scanned
from tests.support.schemas import as_written, errors

from fastprune import Policy
from fastprune.plan.prune_plan import make_plan
from fastprune.report.metrics import NOTHING_DONE, report_values
from fastprune.report.prune_rendering import as_document, text_lines
from fastprune.report.prune_report import AskedServer, PruneReport, planned_report


def report_with(root: Path, asked: AskedServer) -> PruneReport:
    CacheBuilder(root)
    plan = make_plan(scanned(root), Policy(orphans_only=True))
    return replace(planned_report(plan), dry_run=False, asked=asked, seconds=SECONDS)


SECONDS = {"scan": 0.5, "plan": 0.25, "apply": 1.0}
ALL = AskedServer(
    requests=3,
    put_back=1,
    moved=2,
    bytes_moved=1500,
    emptied=4,
    bytes_emptied=2_000_000,
    counted=5,
    shared=("img/a",),
    disturbed=("img/b", "img/c"),
)


def test_the_text_says_all_that_there_is_to_say(tmp_path: Path) -> None:
    lines = list(text_lines(report_with(tmp_path, ALL), summary=True))
    moved = "2 files, 1500 (1.5 kB); the next run with --server deletes it"
    counted = "5; they can go after its next start"
    pulled = "2; if a client gets errors for img/b or others, start the server again"
    assert lines[3:10] == [
        "Requests to the server: 3",
        f"Moved to the trash, as the server can't remove it: {moved}",
        "Deleted of earlier runs with --server: 4 files, 2000000 (2.0 MB)",
        "Put back, as it is needed: 1 file",
        f"Blobs left, as the server still counts references to them: {counted}",
        "Left, as a new image needs one of their blobs: 1",
        f"Pulled while they or one of their blobs went: {pulled}",
    ]


def test_the_text_is_short_if_there_is_nothing_to_say(tmp_path: Path) -> None:
    lines = list(text_lines(report_with(tmp_path, AskedServer()), summary=True))
    assert [line for line in lines if "server" in line] == ["Requests to the server: 0"]


def test_the_document_has_all_of_it_and_fits_its_schema(tmp_path: Path) -> None:
    document = as_written(as_document(report_with(tmp_path, ALL), summary=False))
    assert document["asked"] == {
        "requests": 3,
        "put_back": 1,
        "moved": 2,
        "bytes_moved": 1500,
        "emptied": 4,
        "bytes_emptied": 2_000_000,
        "counted_blobs": 5,
        "shared": ["img/a"],
        "disturbed": ["img/b", "img/c"],
    }
    assert errors("report", json.loads(json.dumps(document))) == []


def test_what_stays_for_a_new_image_makes_the_run_partial(tmp_path: Path) -> None:
    assert report_with(tmp_path, replace(AskedServer(), shared=("img/a",))).exit_code == 3
    assert report_with(tmp_path, replace(ALL, shared=())).exit_code == 0


def test_the_metrics_have_all_of_it(tmp_path: Path) -> None:
    values = report_values(report_with(tmp_path, ALL))
    assert {name: value for name, value in values.items() if name not in NOTHING_DONE} == {
        "last_run_step_duration_seconds": SECONDS,
        "last_run_server_requests": 3,
        "last_run_moved_files": 2,
        "last_run_moved_bytes": 1500,
        "last_run_emptied_files": 4,
        "last_run_put_back_files": 1,
        "last_run_counted_blobs": 5,
        "last_run_shared_images": 1,
        "last_run_disturbed_images": 2,
    }


def test_what_was_moved_counts_as_freed_when_it_is_emptied(tmp_path: Path) -> None:
    moved = report_with(tmp_path, AskedServer(moved=2, bytes_moved=1500))
    emptied = report_with(tmp_path, AskedServer(emptied=2, bytes_emptied=1500))
    freed = "last_run_freed_bytes"
    assert (report_values(moved)[freed], report_values(emptied)[freed]) == (0, 1500)


def test_without_a_server_no_metric_speaks_of_one(tmp_path: Path) -> None:
    report = replace(report_with(tmp_path, ALL), asked=None)
    assert set(report_values(report)) == {*NOTHING_DONE, "last_run_step_duration_seconds"}
