"""How a `TuneReport` is shown, as text and as JSON.

Stage: tune. Input: a `TuneReport`. Output: lines and a document. Pure, no I/O.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from fastprune.text.escaping import printable
from fastprune.text.quantities import format_count, format_seconds
from fastprune.tuning.figures import FILE_BYTES, Measurement, TuneReport, best_rate

JSON_VERSION = 1

_MARK = "  <- recommended"
_LEAST_BAR, _MOST_BAR = 10, 60


def text_lines(report: TuneReport, *, width: int) -> Iterator[str]:
    """The report as lines of text."""
    machine, scan, deletion = report.machine, report.scan, report.deletion
    advice = report.recommendation
    yield (
        f"Cache: {printable(report.image_path)}, {format_count(report.manifests, 'manifest')}, "
        f"{format_count(report.blobs, 'blob')}"
    )
    yield (
        f"Machine: {format_count(machine.cpus, 'CPU')}, auto is --jobs {machine.auto_jobs}; "
        f"{machine.system}; {machine.mount.kind}"
    )
    yield ""
    rounds = format_count(len(scan.measurements[0].seconds), "round")
    if scan.waits:
        yield f"Reading up to {format_count(scan.sample, 'manifest')}, {rounds}"
    else:
        yield f"Reading {format_count(scan.sample, 'manifest')} from memory, {rounds}"
    yield from _table("--jobs", "manifests/s", scan.measurements, advice.jobs, width)
    if scan.too_small:
        yield (
            f"A cache of {format_count(report.manifests, 'manifest')} is too small to tell: "
            "reading it takes no time."
        )
    if scan.waits:
        yield "Workers wait for the file system: more were tried, until more were no faster."
    yield ""
    rounds = format_count(len(deletion.measurements[0].seconds), "round")
    yield (
        f"Deleting {format_count(deletion.files, 'file')} of {FILE_BYTES // 1024} KiB with each "
        f"setting, {rounds}"
    )
    yield from _table("--concurrency", "files/s", deletion.measurements, advice.concurrency, width)
    if deletion.too_few:
        yield f"There was time or room for {deletion.files:,} of {deletion.wanted:,} files only."
    yield ""
    if report.is_noisy:
        yield "The rounds differ much: try again on an idle machine, or with more --seconds."
    yield f"Recommended: --jobs {advice.jobs or 'auto'} --concurrency {advice.concurrency}"
    estimate = report.estimate
    yield (
        f"A prune of everything here: about {format_seconds(estimate.seconds)} "
        f"(reading {format_seconds(estimate.scan_seconds)}, "
        f"deleting {format_seconds(estimate.delete_seconds)})"
    )
    yield "with all manifests in memory; a cold cache and large blobs take longer."


def _table(
    setting: str,
    unit: str,
    measurements: Sequence[Measurement],
    recommended: int | None,
    width: int,
) -> Iterator[str]:
    heading = f"  {setting:>13}  {unit:>11}  spread  "
    yield heading.rstrip()
    longest = max(_LEAST_BAR, min(_MOST_BAR, width - len(heading) - len(_MARK)))
    best = best_rate(measurements)
    for one in measurements:
        bar = "#" * max(1, round(longest * one.rate / best))
        mark = _MARK if one.setting == recommended else ""
        spread = "-" if one.spread is None else f"{one.spread:.0%}"
        yield f"  {one.setting:>13}  {one.rate:>11,.0f}  {spread:>6}  {bar}{mark}"


def as_document(report: TuneReport, *, saved: str | None) -> dict[str, Any]:
    """The report as a JSON document; `saved` is the file that the recommendation is in, if any."""
    machine, scan, deletion = report.machine, report.scan, report.deletion
    advice, estimate = report.recommendation, report.estimate
    return {
        "version": JSON_VERSION,
        "command": "tune",
        "image_path": report.image_path,
        "machine": {
            "cpus": machine.cpus,
            "auto_jobs": machine.auto_jobs,
            "system": machine.system,
            "python": machine.python,
            "file_system": machine.mount.kind,
            "mount_point": machine.mount.point,
            "mount_options": machine.mount.options,
        },
        "cache": {"manifests": report.manifests, "blobs": report.blobs},
        "scan": {
            "manifests": scan.sample,
            "too_small": scan.too_small,
            "waits": scan.waits,
            "settings": [_item("jobs", one) for one in scan.measurements],
        },
        "delete": {
            "files": deletion.files,
            "files_wanted": deletion.wanted,
            "file_bytes": FILE_BYTES,
            "settings": [_item("concurrency", one) for one in deletion.measurements],
        },
        "recommendation": {"jobs": advice.jobs or "auto", "concurrency": advice.concurrency},
        "noisy": report.is_noisy,
        "estimate": {
            "scan_seconds": round(estimate.scan_seconds, 6),
            "delete_seconds": round(estimate.delete_seconds, 6),
            "seconds": round(estimate.seconds, 6),
        },
        "saved": saved,
        "seconds": round(report.seconds, 6),
    }


def _item(setting: str, one: Measurement) -> dict[str, Any]:
    return {
        setting: one.setting,
        "per_second": round(one.rate, 1),
        "spread": None if one.spread is None else round(one.spread, 4),
        "seconds": [round(seconds, 6) for seconds in one.seconds],
    }
