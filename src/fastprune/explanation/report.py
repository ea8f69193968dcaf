"""An `Explanation` as text and as JSON.

Stage: report. Input: an `Explanation`. Output: lines and a document. Pure, no I/O.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from fastprune.explanation.explaining import Blobs, Explanation, KnownAs, Verdict
from fastprune.index.cache_index import CacheIndex, Rows
from fastprune.index.refcounts import NOBODY
from fastprune.index.times import BAD_TIME, format_times
from fastprune.model import DIGEST_PREFIX, ManifestKind
from fastprune.text.cells import fitted
from fastprune.text.escaping import printable
from fastprune.text.quantities import format_bytes, format_count, format_seconds
from fastprune.text.style import Paint, Style, plain

JSON_VERSION = 1

_DAY = 86_400
_INDENT = "  "
_KINDS = {
    ManifestKind.DOCKER_LIST: "Docker manifest list",
    ManifestKind.DOCKER_IMAGE: "Docker image manifest",
    ManifestKind.OCI_INDEX: "OCI image index",
    ManifestKind.OCI_IMAGE: "OCI image manifest",
}
_VERDICTS = {
    "selected": "it would go: it is selected",
    "child-of-selected-list": "it would go: this list takes it along",
    "belongs-to-removed-image": "it would go: it belongs to this image, which goes",
    "belongs-to-kept-image": "it would stay: it belongs to this image, which stays",
    "needed-by-list": "it would stay, though it was to go: this list still needs it",
    "excluded": "it would stay: it is excluded",
    "keep-from": "it would stay: --keep-from names it",
    "keep-last": "it would stay: --keep-last keeps it",
    "keep-within": "it would stay: --keep-within keeps it",
    "server-only-tag": "it would stay: the server knows it by a tag that does not go",
    "older-ones-are-enough": "it would stay: it meets every criterion, but images that were "
    "pulled longer ago are enough",
    "criteria-not-met": "it would stay: it does not meet every criterion",
}


def text_lines(
    explanation: Explanation, *, now: int, most: int, width: int = 80, paint: Paint = plain
) -> Iterator[str]:
    """The explanation as lines of text, with at most `most` names of each sort.

    `now` is in seconds on the server's clock, as in `fastprune.index.times`.
    """

    def named(lines: list[str]) -> Iterator[str]:
        room = max(20, width - len(_INDENT))
        yield from (_INDENT + fitted(line, room) for line in lines[:most])
        if len(lines) > most:
            yield f"{_INDENT}and {len(lines) - most:,} more"

    index, row = explanation.index, explanation.row
    rows = np.array([row])
    yield paint(Style.HEADING, printable(index.url(row)))
    yield f"Kind: {_KINDS[ManifestKind(int(index.kinds[row]))]}"
    yield f"File: {index.path(row)}"
    created, pulled = index.created_texts(rows)[0], index.pulled_texts(rows)[0]
    yield f"Created: {_time(created, int(index.created[row]), now)}"
    yield f"Pulled: {_time(pulled, int(index.pulled[row]), now)}"
    last = format_times(np.array([explanation.last_pull]))[0]
    yield f"Pulled, with its lists and children: {_time(last, explanation.last_pull, now)}"
    if explanation.known_as is not None:
        yield f"URLs by which the server knows it: {_number(len(explanation.known_as))}"
        yield from named(list(map(_known_as, explanation.known_as)))
    yield f"Lists that refer to it: {_number(len(explanation.lists))}"
    yield from named(_urls(index, explanation.lists))
    if index.is_list[row]:
        uncached = explanation.uncached
        rest = "" if uncached is None else f", {_number(uncached)} not"
        yield f"Children: {_number(len(explanation.children))} cached{rest}"
        stays = np.isin(explanation.children, explanation.unit, invert=True).tolist()
        urls = _urls(index, explanation.children)
        yield from named(["(stays) " * stay + url for stay, url in zip(stays, urls, strict=True)])
    if len(explanation.tags):
        yield f"Tags that belong to it: {_number(len(explanation.tags))}"
        yield from named(_urls(index, explanation.tags))
    yield from _blob_lines(explanation)
    if explanation.sharing:
        yield f"Shared with: {format_count(len(explanation.sharing), 'image')}"
        yield from named(
            [
                f"{format_count(one.blobs, 'blob')} ({format_bytes(one.size)}) "
                f"{printable(index.url(one.row if one.via == NOBODY else one.via))}"
                for one in explanation.sharing
            ]
        )
    yield (
        f"Comes free if it goes: {format_bytes(explanation.frees)} "
        f"({format_count(len(explanation.unit), 'manifest')}, "
        f"{format_count(len(explanation.own.ids), 'blob')})"
    )
    if explanation.linked:
        size = format_bytes(explanation.linked)
        yield f"Frees nothing, as its files have other hard links: {size}"
    if explanation.verdict is not None:
        style = Style.GOES if explanation.verdict.goes else Style.STAYS
        yield f"This prune: {paint(style, _verdict(explanation.verdict))}"
        if explanation.verdict.because_of != NOBODY:
            yield from named(_urls(index, np.array([explanation.verdict.because_of])))


def _known_as(known: KnownAs) -> str:
    mark = "(keeps it) " if known.keeps else "(server only) " if known.server_only else ""
    return mark + printable(known.url)


def _number(count: int) -> str:
    return f"{count:,}" if count else "none"


def _urls(index: CacheIndex, rows: Rows) -> list[str]:
    return list(map(printable, index.urls(rows)))


def _time(text: str, seconds: int, now: int) -> str:
    if seconds <= BAD_TIME:
        return f"{printable(text)} (not a time)" if text else "not known"
    age = now - seconds
    if age < 0:
        return f"{text} (in the future)"
    shown = format_count(age // _DAY, "day") if age >= 2 * _DAY else format_seconds(age)
    return f"{text} ({shown} ago)"


def _blob_lines(explanation: Explanation) -> Iterator[str]:
    own, shared, missing = explanation.own, explanation.shared, explanation.missing
    count = len(own.ids) + len(shared.ids) + len(missing.ids)
    size = own.size + shared.size + missing.size
    yield f"Blobs that it needs: {_number(count)} ({format_bytes(size)})"
    for blobs, name in ((own, "its own"), (shared, "shared"), (missing, "missing")):
        if len(blobs.ids):
            yield f"{_INDENT}{len(blobs.ids):,} {name} ({format_bytes(blobs.size)})"


def _verdict(verdict: Verdict) -> str:
    rule = f"rule {verdict.rule!r}" if verdict.rule else ""
    text = _VERDICTS[verdict.reason]
    if verdict.reason == "selected" and rule:
        text, rule = f"{text} by {rule}", ""
    details = ": ".join(filter(None, (rule, printable(verdict.details))))
    return f"{text} ({details})" if details else text


def as_document(explanation: Explanation, *, most: int) -> dict[str, Any]:
    """The explanation as a JSON document, described in docs/explain.md.

    It has at most `most` names of each sort; their numbers are always there.
    """
    index, row = explanation.index, explanation.row
    rows = np.array([row])
    verdict, known = explanation.verdict, explanation.known_as
    server: dict[str, Any] = {}
    if known is not None:
        first = [one._asdict() for one in known[:most]]
        server = {"known_as": {"count": len(known), "first": first}}
    return {
        "version": JSON_VERSION,
        "command": "explain",
        "image_path": index.root,
        "manifest": {
            "url": index.url(row),
            "path": index.path(row),
            "kind": ManifestKind(int(index.kinds[row])).label,
            "type": int(index.kinds[row]),
            "created": index.created_texts(rows)[0] or None,
            "pulled": index.pulled_texts(rows)[0] or None,
            "last_pull": format_times(np.array([explanation.last_pull]))[0] or None,
            "bytes": int(index.file_sizes[row]),
        },
        **server,
        "lists": _counted(index, explanation.lists, most),
        "tags": _counted(index, explanation.tags, most),
        "children": {
            **_counted(index, explanation.children, most),
            "not_cached": explanation.uncached,
        },
        "blobs": {
            "own": _blobs(index, explanation.own, most),
            "shared": _blobs(index, explanation.shared, most),
            "missing": _blobs(index, explanation.missing, most),
        },
        "shared_with": {
            "count": len(explanation.sharing),
            "first": [
                {
                    **_manifest(index, one.row),
                    "via": _manifest_or_none(index, one.via),
                    "blobs": one.blobs,
                    "bytes": one.size,
                }
                for one in explanation.sharing[:most]
            ],
        },
        "frees": {
            "manifests": len(explanation.unit),
            "blobs": len(explanation.own.ids),
            "bytes": explanation.frees,
            "bytes_linked": explanation.linked,
        },
        "verdict": None
        if verdict is None
        else {
            "goes": verdict.goes,
            "reason": verdict.reason,
            "details": verdict.details or None,
            "rule": verdict.rule or None,
            "because_of": _manifest_or_none(index, verdict.because_of),
        },
    }


def _manifest(index: CacheIndex, row: int) -> dict[str, Any]:
    return {"url": index.url(row), "path": index.path(row)}


def _manifest_or_none(index: CacheIndex, row: int) -> dict[str, Any] | None:
    return None if row == NOBODY else _manifest(index, row)


def _counted(index: CacheIndex, rows: Rows, most: int) -> dict[str, Any]:
    return {"count": len(rows), "first": [_manifest(index, row) for row in rows[:most].tolist()]}


def _blobs(index: CacheIndex, blobs: Blobs, most: int) -> dict[str, Any]:
    return {
        "count": len(blobs.ids),
        "bytes": blobs.size,
        "first": [DIGEST_PREFIX + name for name in index.blob_names(blobs.ids[:most])],
    }
