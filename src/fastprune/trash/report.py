"""TrashReport: what was put back from the trash or deleted in it; and what is in it.

Stage: report. Input: `TrashReport` or `RunContents`. Output: lines and documents. Pure,
no I/O.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fastprune.errors import ServerRunningError
from fastprune.report.estimates import RunEstimate
from fastprune.report.run_report import RunReport
from fastprune.text.quantities import bytes_cell, format_bytes, format_seconds
from fastprune.text.style import Paint, Style, plain
from fastprune.trash.model import KINDS, RunContents
from fastprune.trash.run_ids import run_time

JSON_VERSION = 1

_PLURALS = {"list": "lists", "image": "images", "unreadable": "unreadable", "blob": "blobs"}


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class TrashReport(RunReport):
    """What happened to some runs.

    `left` also counts the files of a run that stay because they may need a file that could not be
    deleted.

    Attributes:
        command: restore or empty.
        root: Path of the cache.
        runs: Their ids.
        counts: Files that were put back or deleted, by `KINDS`.
        size: Bytes of these.
        kept: Paths of files that stay in the trash, because the cache has a different file
            of the same name.
        missing_blobs: Blobs that images which were put back need and that are neither in
            the cache nor in the run.
        foreign: Paths, relative to the trash, that do not belong there; they stay.
        seconds: How long it took.
        estimate: Of a dry run: how long the real run will take; None if nobody asked.
    """

    command: str
    root: str
    runs: tuple[str, ...]
    counts: Mapping[str, int]
    size: int
    kept: tuple[str, ...] = ()
    missing_blobs: tuple[str, ...] = ()
    foreign: tuple[str, ...] = ()
    seconds: float = 0
    estimate: RunEstimate | None = None

    @property
    def exit_code(self) -> int:
        """0 if all was done, 3 if not; 11 if a server was found before anything was done."""
        if self.servers and not any(self.counts.values()):
            return ServerRunningError.exit_code
        return 3 if self.kept or self.failures or self.left or self.stopped else 0


def report_lines(report: TrashReport) -> Iterator[str]:
    """A report as lines of text."""
    counts = report.counts
    verb = {"restore": "put back", "empty": "deleted"}[report.command]
    done = f"would be {verb}" if report.dry_run else verb
    yield f"Runs: {', '.join(report.runs) or 'none'}"
    yield f"Lists {done}: {counts['list']}"
    yield f"Images {done}: {counts['image']}"
    if counts["unreadable"]:
        yield f"Unreadable manifests {done}: {counts['unreadable']}"
    yield f"Blobs {done}: {counts['blob']}"
    yield f"Bytes {done}: {report.size} ({format_bytes(report.size)})"
    if report.kept:
        yield f"Left in the trash, as the cache has another file of that name: {len(report.kept)}"
    if report.missing_blobs:
        yield f"Blobs that these images need and that are missing: {len(report.missing_blobs)}"
    if report.failures:
        yield f"Failed: {len(report.failures)}"
    if report.left and not report.stopped:
        yield f"Left, as files that failed may need them: {report.left}"
    yield from report.overridden_lines
    yield from report.guard_lines
    if report.stopped:
        yield f"Stopped: {report.stopped}; files left: {report.left}"
    yield f"Time: {format_seconds(report.seconds)}"
    if report.estimate is not None:
        yield from report.estimate.lines


def report_document(report: TrashReport) -> dict[str, Any]:
    """A report as a JSON document, described in docs/trash.md."""
    return {
        "version": JSON_VERSION,
        "command": f"trash {report.command}",
        "image_path": report.root,
        "dry_run": report.dry_run,
        "runs": list(report.runs),
        "totals": {
            **_counts(report.counts),
            "bytes": report.size,
            "kept": len(report.kept),
            "failed": len(report.failures),
            "left": report.left,
            "missing_blobs": len(report.missing_blobs),
        },
        **report.common_document,
        "kept": list(report.kept),
        "missing_blobs": list(report.missing_blobs),
        "foreign": list(report.foreign),
        "seconds": round(report.seconds, 6),
        "estimate": None if report.estimate is None else report.estimate.document,
    }


def list_lines(runs: Sequence[RunContents], paint: Paint = plain) -> Iterator[str]:
    """The runs as a table, whose columns are as wide as they need to be.

    The column of unreadable manifests is there if some run has any: a repair moved them. `paint`
    styles the heading.
    """
    if not runs:
        return
    some = any(contents.count("unreadable") for contents in runs)
    kinds = [kind for kind in _PLURALS if some or kind != "unreadable"]
    cells = [["RUN", "MOVED", *(_PLURALS[kind].upper() for kind in kinds), "SIZE"]]
    for contents in runs:
        counts = [f"{contents.count(kind):,}" for kind in kinds]
        cells.append([contents.run, _moved_at(contents.run), *counts, bytes_cell(contents.size)])
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for number, row in enumerate(cells):
        padded = [row[0].ljust(widths[0]), row[1].ljust(widths[1])]
        padded += [cell.rjust(width) for cell, width in zip(row[2:], widths[2:], strict=True)]
        line = "  ".join(padded)
        yield line if number else paint(Style.HEADING, line)


def list_document(root: str, runs: Sequence[RunContents], foreign: Sequence[str]) -> dict[str, Any]:
    """The runs as a JSON document, described in docs/trash.md."""
    return {
        "version": JSON_VERSION,
        "command": "trash list",
        "image_path": root,
        "runs": [
            {
                "run": contents.run,
                "moved": _moved_at(contents.run),
                **_counts({kind: contents.count(kind) for kind in KINDS}),
                "bytes": contents.size,
                "foreign": list(contents.foreign),
            }
            for contents in runs
        ],
        "foreign": list(foreign),
    }


def _counts(counts: Mapping[str, int]) -> dict[str, int]:
    return {plural: counts[kind] for kind, plural in _PLURALS.items()}


def _moved_at(run: str) -> str:
    moment = run_time(run)
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}" if moment else "-"
