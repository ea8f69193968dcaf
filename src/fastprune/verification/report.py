"""Shows findings as text and as a JSON document.

Stage: report. Input: `Findings`. Output: lines and documents. Pure, no I/O.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sized
from datetime import UTC, datetime
from typing import Any

import numpy as np

from fastprune.errors import fault_items
from fastprune.index.cache_index import CacheIndex, Rows
from fastprune.index.refcounts import references_of, referrers
from fastprune.model import DIGEST_PREFIX
from fastprune.report.metrics import index_values
from fastprune.text.escaping import printable
from fastprune.text.quantities import format_bytes, format_count, format_seconds
from fastprune.verification.findings import ContentCheck, Findings, OddBlobs

JSON_VERSION = 1

_ALL = 1.0
_NAMES_AT_ONCE = 1 << 12


def text_lines(findings: Findings, *, summary: bool) -> Iterator[str]:
    """The findings as lines of text; a summary leaves out the line of each finding."""
    if not summary:
        for heading, lines in _sections(findings).items():
            for first, line in enumerate(lines):
                if not first:
                    yield f"{heading}:"
                yield line
    yield from _totals(findings)


def _sections(findings: Findings) -> dict[str, Iterator[str]]:
    """The lines of each section, of which there may be none, by its heading."""
    index, sizes, reasons = findings.index, findings.sizes, _reasons(findings.odd)
    declared = index.blob_sizes

    def blob_lines(blobs: Rows, said: Callable[[int], str]) -> Iterator[str]:
        users = _Users(index, blobs)
        for blob in blobs.tolist():
            yield f"{index.blob_name(blob)}: {said(blob)}{users.text(blob)}"

    return {
        "Manifests in the server's memory that are gone or damaged on disk": (
            f"{printable(one.url)} {one.digest}: {one.reason.said}" for one in findings.served or ()
        ),
        "Unreadable manifests": (
            f"{one.path}: {printable(one.reason)}" for one in findings.unreadable
        ),
        "Manifests whose content does not match their names": (
            f"{_named(index, row)}: {printable(index.mismatches[row])}"
            for row in findings.mismatched.tolist()
        ),
        "Manifests with missing blobs": (
            f"{_named(index, row)}: {', '.join(index.blob_names(missing))}"
            for row, missing in _missing(findings)
        ),
        "Blobs of another size than their descriptors say": blob_lines(
            findings.resized, lambda blob: f"{sizes[blob]} bytes, not {declared[blob]}; "
        ),
        "Blobs whose content does not match their names": blob_lines(
            findings.altered, lambda blob: ""
        ),
        "Blobs that the system can't read": blob_lines(
            findings.unreadable_blobs, lambda blob: f"{reasons[blob]}; "
        ),
        "Blobs that could not be checked": blob_lines(
            findings.refused, lambda blob: f"{reasons[blob]}; "
        ),
        "Note: blobs that are whole, but of another size than a descriptor says": blob_lines(
            findings.misdeclared,
            lambda blob: f"{sizes[blob]} bytes; a descriptor says {declared[blob]} bytes; ",
        ),
        "Note: blobs that no readable manifest refers to": (
            f"{index.blob_name(blob)}: {format_bytes(int(sizes[blob]))}"
            for blob in findings.orphans.tolist()
        ),
        "Note: dangling images": (_named(index, row) for row in findings.dangling.tolist()),
        "Note: files and folders that do not belong to the cache": map(printable, findings.foreign),
    }


def _totals(findings: Findings) -> Iterator[str]:
    index = findings.index
    lists = int(index.is_list.sum())
    manifests = len(index) + len(findings.unreadable)
    images = len(index) - lists
    kinds = f"{format_count(lists, 'list')}, {format_count(images, 'image')}"
    yield f"Manifests: {manifests:,} ({kinds})"
    yield f"Blobs: {index.blobs_present:,} ({format_bytes(int(findings.sizes.sum()))})"
    if findings.content.blobs:
        yield f"Content read: {_content(findings.content)}"
    if findings.content.since is not None:
        yield f"Not read again: {_known(findings.content, findings.content.since)}"
    if findings.is_clean:
        yield "Damage: none"
    else:
        damaged = format_count(findings.damaged_manifests, "manifest")
        yield f"Damage: {damaged}, {format_count(findings.damaged_blobs, 'blob')}"
    if findings.served:
        yield f"Of these in the server's memory: {format_count(len(findings.served), 'image URL')}"
    if findings.unreadable:
        yield "Dangling images: unknown, as an unreadable manifest may be a list"
    if findings.notes:
        yield f"Notes: {', '.join(_notes(findings))}"
    yield f"Time: {format_seconds(sum(findings.seconds.values()))}"


def _content(content: ContentCheck) -> str:
    read = f"{format_count(content.blobs, 'blob')}, {format_bytes(content.size)}"
    rate = int(content.size / max(content.seconds, 1e-6))
    sample = ""
    if 0 < content.sample < _ALL:
        sample = f" (sample {content.sample * 100:g}%, seed {content.seed})"
    return f"{read}, {format_bytes(rate)}/s{sample}"


def _known(content: ContentCheck, since: int) -> str:
    known = f"{format_count(content.known_blobs, 'blob')}, {format_bytes(content.known_size)}"
    return f"{known}, verified since {_instant(since)} and unchanged"


def _instant(seconds: int) -> str:
    """A time in UTC, as RFC 3339 has it."""
    return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")


def _notes(findings: Findings) -> Iterator[str]:
    if len(findings.orphans):
        size = format_bytes(int(findings.sizes[findings.orphans].sum()))
        yield f"{format_count(len(findings.orphans), 'orphan')} ({size})"
    if len(findings.dangling):
        yield format_count(len(findings.dangling), "dangling image")
    if len(findings.misdeclared):
        yield format_count(
            len(findings.misdeclared), "descriptor that lies", "descriptors that lie"
        )
    if findings.foreign:
        yield format_count(
            len(findings.foreign), "foreign file or folder", "foreign files or folders"
        )


def as_document(findings: Findings, *, summary: bool) -> dict[str, Any]:
    """The findings as a JSON document, described in docs/verify.md, for `text.document_lines`.

    Its lists are iterators, as they can be long: a disk with all blobs may be missing. A summary
    leaves them out.
    """
    index, content = findings.index, findings.content
    document: dict[str, Any] = {
        "version": JSON_VERSION,
        "command": "verify",
        "image_path": index.root,
        "clean": findings.is_clean,
        "cache": {
            "manifests": len(index) + len(findings.unreadable),
            "blobs": index.blobs_present,
            "bytes": int(findings.sizes.sum()),
        },
        "totals": {
            name: None if found is None else len(found) for name, found in _found(findings).items()
        },
        "content": {
            "blobs": content.blobs,
            "bytes": content.size,
            "seconds": round(content.seconds, 6),
            "sample": content.sample,
            "seed": content.seed if 0 < content.sample < _ALL else None,
            "known_blobs": content.known_blobs,
            "known_bytes": content.known_size,
            "since": None if content.since is None else _instant(content.since),
        },
        "seconds": {name: round(seconds, 6) for name, seconds in findings.seconds.items()},
    }
    return document if summary else document | _items(findings)


def _found(findings: Findings) -> dict[str, Sized | None]:
    """What was found, by its name in the document; None where it can't be known."""
    served = {} if findings.served is None else {"served": findings.served}
    return served | {
        "unreadable": findings.unreadable,
        "mismatched": findings.mismatched,
        "broken": findings.broken,
        "missing_blobs": findings.missing,
        "resized": findings.resized,
        "altered": findings.altered,
        "unreadable_blobs": findings.unreadable_blobs,
        "unchecked": findings.refused,
        "misdeclared": findings.misdeclared,
        "orphans": findings.orphans,
        "dangling": None if findings.unreadable else findings.dangling,
        "foreign": findings.foreign,
    }


def _items(findings: Findings) -> dict[str, Iterator[Any] | None]:
    index = findings.index
    dangling = (_manifest(index, row) for row in findings.dangling.tolist())
    reasons = _reasons(findings.odd)
    orphan_sizes = findings.sizes[findings.orphans].tolist()
    served = (one.document for one in findings.served or ())
    return ({} if findings.served is None else {"served": served}) | {
        "unreadable": iter(
            fault_items(
                ((one.path, one.reason) for one in findings.unreadable),
                {one.path for one in findings.unreadable if one.unknown},
            )
        ),
        "mismatched": (
            _manifest(index, row) | {"reason": index.mismatches[row]}
            for row in findings.mismatched.tolist()
        ),
        "broken": (
            _manifest(index, row) | {"missing": list(_digests(index, missing))}
            for row, missing in _missing(findings)
        ),
        "missing_blobs": _digests(index, findings.missing),
        "resized": _blobs(findings, findings.resized, declared=True),
        "altered": _blobs(findings, findings.altered),
        "unreadable_blobs": _blobs(findings, findings.unreadable_blobs, reasons),
        "unchecked": _blobs(findings, findings.refused, reasons),
        "misdeclared": _blobs(findings, findings.misdeclared, declared=True),
        "orphans": (
            {"digest": digest, "bytes": size}
            for digest, size in zip(_digests(index, findings.orphans), orphan_sizes, strict=True)
        ),
        "dangling": None if findings.unreadable else dangling,
        "foreign": iter(findings.foreign),
    }


def _blobs(
    findings: Findings,
    blobs: Rows,
    reasons: dict[int, str] | None = None,
    *,
    declared: bool = False,
) -> Iterator[dict[str, Any]]:
    index = findings.index
    users = _Users(index, blobs)
    for blob, digest in zip(blobs.tolist(), _digests(index, blobs), strict=True):
        item: dict[str, Any] = {"digest": digest, "bytes": int(findings.sizes[blob])}
        if declared:
            item["declared"] = int(index.blob_sizes[blob])
        if reasons is not None:
            item["reason"] = reasons[blob]
        yield item | {"needed_by": [index.path(row) for row in users.rows(blob)]}


class _Users:
    """Which images need some blobs."""

    def __init__(self, index: CacheIndex, blobs: Rows) -> None:
        self._index = index
        self._blobs, self._rows = referrers(index, blobs) if len(blobs) else (blobs, blobs)

    def rows(self, blob: int) -> list[int]:
        first, last = np.searchsorted(self._blobs, (blob, blob + 1)).tolist()
        return [int(row) for row in self._rows[first:last]]

    def text(self, blob: int) -> str:
        rows = self.rows(blob)
        if not rows:
            return "nothing needs it"
        more = f" and {format_count(len(rows) - 1, 'more image')}" if len(rows) > 1 else ""
        return f"needed by {printable(self._index.url(rows[0]))}{more}"


def _missing(findings: Findings) -> Iterator[tuple[int, Rows]]:
    """The rows of broken images, and the missing blobs that each needs, ascending."""
    index = findings.index
    is_missing = np.zeros(len(index.blob_digests), dtype=bool)
    is_missing[findings.missing] = True
    for row in findings.broken.tolist():
        needs = np.unique(references_of(index, np.array([row])))
        yield row, needs[is_missing[needs]].astype(np.intp)


def _reasons(odd: OddBlobs) -> dict[int, str]:
    return dict(zip(odd.ids.tolist(), odd.reasons, strict=True))


def _manifest(index: CacheIndex, row: int) -> dict[str, Any]:
    return {"path": index.path(row), "url": index.url(row)}


def _named(index: CacheIndex, row: int) -> str:
    return f"{index.path(row)} {printable(index.url(row))}"


def _digests(index: CacheIndex, blobs: Rows) -> Iterator[str]:
    for first in range(0, len(blobs), _NAMES_AT_ONCE):
        for name in index.blob_names(blobs[first : first + _NAMES_AT_ONCE]):
            yield DIGEST_PREFIX + name


def findings_values(findings: Findings) -> dict[str, float | Mapping[str, float]]:
    """The metrics of findings."""
    unreadable = len(findings.unreadable)
    broken = len(findings.mismatched) + len(findings.broken) + len(findings.lost)
    return {
        **index_values(findings.index),
        "cache_corrupt_manifests": unreadable,
        "cache_damaged_manifests": unreadable + broken,
        "cache_damaged_blobs": len(findings.missing) + len(findings.bad_blobs),
        "cache_orphan_blobs": len(findings.orphans),
        "cache_dangling_images": len(findings.dangling),
        "last_run_read_blobs": findings.content.blobs,
        "last_run_step_duration_seconds": findings.seconds,
    }
