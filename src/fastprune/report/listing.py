"""The listing of manifests: rows in order, rendered in every format.

Stage: report. Input: a `CacheIndex` and rows. Output: lines. Pure, no I/O.

`text` is what `ociregistry list` prints, column for column: repository, tag or digest without
`sha256:`, list or image, created, pulled, size; one blank between. An empty column is `-` here,
where ociregistry prints nothing: so each line has six words.

A tag that only a running server knows has a line of its own, with what the file says otherwise. So
what is listed is a name of a manifest (`fastprune.selection.rules.names`). Without a server, that
is its row.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from itertools import chain
from typing import Any

import numpy as np

from fastprune.index.arrays import pieces
from fastprune.index.cache_index import CacheIndex, Rows
from fastprune.index.refcounts import image_bytes
from fastprune.index.text_order import in_text_order
from fastprune.model import DIGEST_PREFIX, split_url
from fastprune.selection.rules.names import names_of
from fastprune.text.cells import cells, fitted, left, right
from fastprune.text.escaping import column, csv_lines, json_lines, printable, to_json
from fastprune.text.quantities import bytes_cell
from fastprune.text.style import Paint, Style, plain

JSON_VERSION = 1
HEADER = ("REPOSITORY", "TAG|DIGEST", "TYPE", "CREATED", "PULLED", "SIZE")
TEXT_HEADER = ("IMAGE", "TAG/DIGEST", "TYPE", "CREATED", "PULLED", "SIZE(MB)")

_SHORT_DIGEST = len(DIGEST_PREFIX) + 12
_TEXT_SHORT_DIGEST = 10
_WIDE = 110
_DATE_CHARS = len("2024-03-01")

# Repository, tag or digest, `list` or `image`, created, pulled, size in bytes.
_Cells = tuple[str, str, str, str, str, int]

_REPOSITORY, _TAG, _KIND, _CREATED, _PULLED, _SIZE = range(len(HEADER))
_NONE = -1
# Left out in this order on a narrow terminal.
_DROPPED = (_CREATED, _KIND, _PULLED)
_LEAST_REPOSITORY = 16
_GAP = "  "
_MARK = " (server only)"

Format = StrEnum("Format", "table text url json jsonl csv")
"""How `list` prints."""

SortKey = StrEnum("SortKey", "url created pulled size")
"""What `list` orders by; a minus before it reverses the order."""


def sorted_rows(index: CacheIndex, rows: Rows, key: SortKey, *, reverse: bool) -> Rows:
    """Orders ascending rows, or names; reversed, the largest or latest come first.

    Ties go by URL, then path.
    """
    names = names_of(index)
    # Rows are in the order of their paths, and sorting is stable.
    by_url = in_text_order(rows, names.urls)
    if key is SortKey.url:
        return by_url[::-1] if reverse else by_url
    if key is SortKey.size:
        values = image_bytes(index, names.rows(by_url))
    else:
        times = index.created if key is SortKey.created else index.pulled
        values = times[names.rows(by_url)]
    return by_url[np.argsort(-values if reverse else values, kind="stable")]


def render(
    index: CacheIndex,
    rows: Rows,
    form: Format,
    *,
    header: bool = False,
    short_digest: bool = False,
    width: int = 80,
    paint: Paint = plain,
) -> Iterator[str]:
    """Renders rows, in their order, as lines.

    Args:
        index: The cache.
        rows: Which manifests, or names of them, in order.
        form: How.
        header: Begin with the names of the columns (table, text, csv).
        short_digest: Cut digests down to 12 digits (table, csv), or 10 (text).
        width: Columns of the terminal (table).
        paint: Gives text its looks (table).
    """
    if form is Format.url:
        for block in pieces(rows):
            yield from map(printable, names_of(index).urls(block))
    elif form is Format.text:
        if header:
            yield " ".join(TEXT_HEADER)
        yield from _text_lines(index, rows, short=short_digest)
    elif form is Format.table:
        yield from _table_lines(
            index, rows, header=header, short=short_digest, width=width, paint=paint
        )
    elif form is Format.csv:
        columns = [*HEADER] if index.known is None else [*HEADER, "SERVER_ONLY"]
        heads = [[name.lower().replace("|", "_or_") for name in columns]] if header else []
        yield from csv_lines(chain(heads, _csv_rows(index, rows, short=short_digest)))
    elif form is Format.jsonl:
        for item in _items(index, rows):
            yield to_json(item).decode()
    else:
        head = {"version": JSON_VERSION, "command": "list", "image_path": index.root}
        tail = {"corrupt": index.fault_items}
        yield from json_lines(head, "manifests", _items(index, rows), tail)


def _cells(index: CacheIndex, block: Rows) -> Iterator[_Cells]:
    """The cells of each row."""
    names = names_of(index)
    rows = names.rows(block)
    kinds = np.where(index.kinds[rows] & 1, "image", "list").tolist()
    created, pulled = index.created_texts(rows), index.pulled_texts(rows)
    sizes = image_bytes(index, rows).tolist()
    repositories, tags = zip(*map(_split, names.urls(block)), strict=True)
    return zip(repositories, tags, kinds, created, pulled, sizes, strict=True)


def _split(url: str) -> tuple[str, str]:
    repository, tag, digest = split_url(url)
    return repository, tag or digest


def _shorten(tag: str) -> str:
    return tag[:_SHORT_DIGEST] if tag.startswith(DIGEST_PREFIX) else tag


def _text_lines(index: CacheIndex, rows: Rows, *, short: bool) -> Iterator[str]:
    digest = slice(len(DIGEST_PREFIX), len(DIGEST_PREFIX) + _TEXT_SHORT_DIGEST if short else None)
    for block in pieces(rows):
        texts = [
            (
                repository or "-",
                (tag[digest] if tag.startswith(DIGEST_PREFIX) else tag) or "-",
                kind,
                created or "-",
                pulled or "-",
                # A list has no size; an image without one looks the same in the original.
                f"{size / 1e6:.1f}" if size else "n/a",
            )
            for repository, tag, kind, created, pulled, size in _cells(index, block)
        ]
        lines = list(map(" ".join, texts))
        # No line has fewer blanks than there are between the columns, so none has more if all
        # together have no more.
        together = "".join(lines)
        if together.isprintable() and together.count(" ") == len(lines) * (len(TEXT_HEADER) - 1):
            yield from lines
        else:
            yield from (" ".join(map(column, cells)) for cells in texts)


def _csv_rows(index: CacheIndex, rows: Rows, *, short: bool) -> Iterator[tuple[str, ...]]:
    for block in pieces(rows):
        for cells_of_row, only in _marked(index, block):
            repository, tag, kind, created, pulled, size = cells_of_row
            shown = _shorten(tag) if short else tag
            bytes_shown = "" if kind == "list" else str(size)
            mark = () if only is None else (str(only).lower(),)
            yield repository, shown, kind, created, pulled, bytes_shown, *mark


def _marked(index: CacheIndex, block: Rows) -> Iterator[tuple[_Cells, bool | None]]:
    """The cells of each row, and whether only the server knows it; None if none was asked."""
    marks = [None] * len(block) if index.known is None else (block >= len(index)).tolist()
    return zip(_cells(index, block), marks, strict=True)


def _table_lines(
    index: CacheIndex, rows: Rows, *, header: bool, short: bool, width: int, paint: Paint
) -> Iterator[str]:
    """Columns as wide as their content; those that do not fit are cut or left out."""
    chars = None if width >= _WIDE else _DATE_CHARS
    widths = list(map(len, HEADER)) if header else [0] * len(HEADER)
    # Lines are made twice: all of them together would take more memory than the index.
    for block in pieces(rows):
        columns_of_block = zip(
            *_lines_of_block(index, block, short=short, chars=chars), strict=True
        )
        widths = [
            max(wide, *map(cells, column))
            for wide, column in zip(widths, columns_of_block, strict=True)
        ]
    columns = _fit(widths, width, least_tag=_SHORT_DIGEST if short else widths[_TAG])

    def aligned(line: tuple[str, ...]) -> list[str]:
        return [_aligned(line[column], column, wide) for column, wide in columns.items()]

    if header:
        yield paint(Style.HEADING, _GAP.join(aligned(HEADER)))
    for block in pieces(rows):
        for line in _lines_of_block(index, block, short=short, chars=chars):
            parts = aligned(line)
            if line[_KIND] == "list" and _KIND in columns:
                at = list(columns).index(_KIND)
                parts[at] = parts[at].replace("list", paint(Style.LIST, "list"))
            yield _GAP.join(parts)


def _lines_of_block(
    index: CacheIndex, block: Rows, *, short: bool, chars: int | None
) -> Iterator[tuple[str, ...]]:
    """The texts of each line of a table; `chars` is how many of a time are shown."""
    for cells_of_row, only in _marked(index, block):
        repository, tag, kind, *times, size = cells_of_row
        created, pulled = (printable(time[:chars]) or "-" for time in times)
        shown = (printable(_shorten(tag) if short else tag) or "-") + _MARK * bool(only)
        bytes_shown = "-" if kind == "list" else bytes_cell(size)
        yield printable(repository), shown, kind, created, pulled, bytes_shown


def _fit(widths: list[int], width: int, *, least_tag: int) -> dict[int, int]:
    """The positions of the columns that there is room for, and how wide each is.

    A column is left out rather than cutting tags shorter than `least_tag`.
    """
    least = min(widths[_REPOSITORY], _LEAST_REPOSITORY)
    columns = dict(enumerate(widths))
    for dropped in (_NONE, *_DROPPED):
        columns.pop(dropped, None)
        others = sum(wide for column, wide in columns.items() if column > _TAG)
        room = width - others - len(_GAP) * (len(columns) - 1)
        if room >= least + min(widths[_TAG], least_tag):
            break
    columns[_TAG] = max(1, min(widths[_TAG], room - least))
    columns[_REPOSITORY] = max(1, min(widths[_REPOSITORY], room - columns[_TAG]))
    return columns


def _aligned(text: str, column: int, width: int) -> str:
    return right(text, width) if column == _SIZE else left(fitted(text, width), width)


def _items(index: CacheIndex, rows: Rows) -> Iterator[dict[str, Any]]:
    names = names_of(index)
    for block in pieces(rows):
        named = zip(names.urls(block), names.rows(block).tolist(), strict=True)
        for (url, row), (cells_of_row, only) in zip(named, _marked(index, block), strict=True):
            repository, tag, kind, created, pulled, size = cells_of_row
            by_digest = tag.startswith(DIGEST_PREFIX)
            item = {
                "url": url,
                "repository": repository,
                "tag": None if by_digest else tag or None,
                "digest": DIGEST_PREFIX + index.digests[row].tobytes().hex(),
                "kind": kind,
                "type": int(index.kinds[row]),
                "created": created or None,
                "pulled": pulled or None,
                "bytes": None if kind == "list" else size,
                "path": index.path(row),
            }
            yield item if only is None else item | {"server_only": only}
