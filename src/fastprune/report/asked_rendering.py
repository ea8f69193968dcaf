"""How the part of a `PruneReport` about a running server is shown, as text and as JSON.

Stage: report. Input: a `PruneReport`. Output: lines, or a part of a document. Pure, no I/O.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from fastprune.report.prune_report import AskedServer, PruneReport
from fastprune.text.quantities import format_bytes, plain_count
from fastprune.text.style import Paint, Style


def asked_lines(report: PruneReport, paint: Paint) -> Iterator[str]:
    """Lines about what a running server was asked, and what went with it; none without one."""
    asked = report.asked
    if asked is None:
        return
    yield f"Requests to the server: {asked.requests}"
    if asked.moved:
        yield (
            "Moved to the trash, as the server can't remove it: "
            f"{plain_count(asked.moved, 'file')}, {asked.bytes_moved} "
            f"({format_bytes(asked.bytes_moved)}); the next run with --server deletes it"
        )
    if asked.emptied:
        yield (
            f"Deleted of earlier runs with --server: {plain_count(asked.emptied, 'file')}, "
            f"{asked.bytes_emptied} ({format_bytes(asked.bytes_emptied)})"
        )
    if asked.put_back:
        yield f"Put back, as it is needed: {plain_count(asked.put_back, 'file')}"
    if asked.counted:
        yield (
            "Blobs left, as the server still counts references to them: "
            f"{asked.counted}; they can go after its next start"
        )
    if asked.shared:
        yield paint(
            Style.WARNING, f"Left, as a new image needs one of their blobs: {len(asked.shared)}"
        )
    if asked.disturbed:
        yield paint(
            Style.WARNING,
            f"Pulled while they or one of their blobs went: {len(asked.disturbed)}; if a client "
            f"gets errors for {asked.disturbed[0]} or others, start the server again",
        )


def asked_document(asked: AskedServer) -> dict[str, Any]:
    """The same as a part of a JSON document."""
    return {
        "requests": asked.requests,
        "put_back": asked.put_back,
        "moved": asked.moved,
        "bytes_moved": asked.bytes_moved,
        "emptied": asked.emptied,
        "bytes_emptied": asked.bytes_emptied,
        "counted_blobs": asked.counted,
        "shared": list(asked.shared),
        "disturbed": list(asked.disturbed),
    }
