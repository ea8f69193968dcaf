"""A `Usage` and the `Ages` of a cache as text, JSON and CSV.

Stage: report. Input: `Usage`, `Ages`. Output: lines. Pure, no I/O.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from enum import StrEnum
from itertools import chain, pairwise
from typing import Any, NamedTuple

import numpy as np

from fastprune.index.arrays import pieces
from fastprune.index.cache_index import Rows
from fastprune.index.text_order import in_text_order
from fastprune.index.times import BAD_TIME, format_times
from fastprune.model import DIGEST_PREFIX
from fastprune.text import escaping
from fastprune.text.quantities import format_count
from fastprune.usage.ages import Ages
from fastprune.usage.placing import Extra
from fastprune.usage.rows import By, Columns, Usage

JSON_VERSION = 1

Cutoffs = Mapping[int, int]
"""Numbers of days, ascending, and when each began: seconds, as in `fastprune.index.times`."""


UsageSort = StrEnum("UsageSort", "name unique shared total images oldest newest")
"""What `du` orders by; a minus before it reverses the order."""


class UsageRow(NamedTuple):
    """A row of a usage; the `unique` of all rows add up to the bytes on disk.

    Attributes:
        kind: The grouping (`repository`), `others`, or an `Extra`, in lower case.
        name: Of the registry, repository, image or layer; else empty.
        shared: Bytes that others need, too; None where they can't be told.
        blobs: Blobs that it needs; None where they can't be told.
        oldest: The first pull of its images, `YYYY-MM-DDTHH:MM:SS`; empty if not known.
        image: Of a layer: one of the images that need it.
    """

    kind: str
    name: str
    unique: int
    shared: int | None
    images: int
    manifests: int
    blobs: int | None
    oldest: str
    newest: str
    image: str = ""


class AgeRow(NamedTuple):
    """Files and images that were last pulled some time ago.

    Attributes:
        least: Days that have passed since, at least; None if no time is known.
        most: Fewer days than this; None for no end.
        bytes: Bytes of the files that nothing pulled later needs.
    """

    least: int | None
    most: int | None
    images: int
    bytes: int


class WhatIf(NamedTuple):
    """What a prune of all that was not pulled for some days would leave.

    Attributes:
        bytes_left: What would be left on disk: blobs and manifests.
        bytes_freed: What would come free, orphans included.
    """

    days: int
    images_left: int
    bytes_left: int
    bytes_freed: int


def sorted_groups(usage: Usage, key: UsageSort, *, reverse: bool) -> Rows:
    """Orders the groups of a usage; reversed, the largest or latest come first."""
    if key is UsageSort.name:
        order = in_text_order(np.arange(len(usage)), usage.names)
        return order[::-1] if reverse else order
    values = getattr(usage.columns, key.value)[: len(usage)]
    # Not minus: the smallest int64 has no positive counterpart.
    return np.argsort(~values if reverse else values, kind="stable")


def usage_rows(usage: Usage, order: Rows, top: int | None) -> Iterator[UsageRow]:
    """All rows: groups, one row for the groups not shown, and extra rows that are not empty.

    The `top` first groups of the order are shown on their own; all, if that is None.
    """
    shown = order[:top]
    for some in pieces(shown):
        yield from _group_rows(usage, some)
    rest, columns = order[len(shown) :], usage.columns
    if len(rest):
        row = _sum_row(columns, rest, "others", format_count(len(rest), "other"))
        # Layers of one image would count it several times.
        yield row._replace(blobs=None, images=0 if usage.by is By.layer else row.images)
    for extra in Extra:
        at = np.array([len(usage) + extra])
        row = _sum_row(columns, at, extra.name.lower())
        if extra in (Extra.DANGLING, Extra.BROKEN):
            row = row._replace(shared=int(columns.shared[at].sum()))
        if row.unique or row.images or row.manifests or row.blobs:
            yield row


def _group_rows(usage: Usage, groups: Rows) -> Iterator[UsageRow]:
    columns = usage.columns.take(groups)
    heads = usage.index.urls(usage.name_rows[groups]) if usage.by is By.layer else None
    prefix = "" if heads is None else DIGEST_PREFIX
    yield from map(
        UsageRow,
        [usage.by.value] * len(groups),
        [prefix + name for name in usage.names(groups)],
        columns.unique.tolist(),
        columns.shared.tolist(),
        columns.images.tolist(),
        columns.manifests.tolist(),
        columns.blobs.tolist(),
        format_times(columns.oldest),
        format_times(columns.newest),
        heads or [""] * len(groups),
    )


def _sum_row(columns: Columns, some: Rows, kind: str, name: str = "") -> UsageRow:
    """One row for some rows together; what they share can't be told."""
    oldest = columns.oldest[some]
    known = oldest[oldest > BAD_TIME]
    first = known.min(keepdims=True) if len(known) else oldest[:1]
    return UsageRow(
        kind=kind,
        name=name,
        unique=int(columns.unique[some].sum()),
        shared=None,
        images=int(columns.images[some].sum()),
        manifests=int(columns.manifests[some].sum()),
        blobs=int(columns.blobs[some].sum()),
        oldest=format_times(first)[0],
        newest=format_times(columns.newest[some].max(keepdims=True))[0],
    )


def age_rows(ages: Ages, cutoffs: Cutoffs) -> Iterator[AgeRow]:
    """The histogram: every file and image that was asked for is in one row."""
    (total, images), (known, known_images) = ages.asked_for, ages.known
    ends: list[tuple[int | None, int, int]] = [(None, known, known_images)]
    ends += [(days, *ages.pulled_before(cutoff)) for days, cutoff in cutoffs.items()]
    for (least, some, many), (most, fewer, few) in pairwise([*ends, (None, 0, 0)]):
        yield AgeRow(least or 0, most, many - few, some - fewer)
    if total > known or images > known_images:
        yield AgeRow(None, None, images - known_images, total - known)


def what_ifs(ages: Ages, cutoffs: Cutoffs) -> Iterator[WhatIf]:
    """What a prune by age would leave, for each of some ages."""
    total, orphans = ages.total, ages.orphan_bytes
    for days, cutoff in cutoffs.items():
        size, images = ages.pulled_before(cutoff)
        gone = size + orphans
        freed = gone - ages.linked_before(cutoff)
        yield WhatIf(days, ages.images - images, total - gone, freed)


def json_lines(
    usage: Usage, rows: Iterator[UsageRow], ages: Ages, cutoffs: Cutoffs
) -> Iterator[str]:
    """One JSON document, described in docs/du.md, of the rows of `usage_rows`; made row by row."""
    index = usage.index
    head: dict[str, Any] = {
        "version": JSON_VERSION,
        "command": "du",
        "image_path": index.root,
        "by": usage.by.value,
        "selects": usage.selects,
        "totals": {
            "bytes": usage.total,
            "images": ages.images,
            "manifests": len(index),
            "blobs": index.blobs_present,
            "rows": len(usage),
        },
        "ages": [row._asdict() for row in age_rows(ages, cutoffs)],
        "what_if": [row._asdict() for row in what_ifs(ages, cutoffs)],
        "corrupt": index.fault_items,
    }
    if index.known is not None:
        head["server"] = index.known.counts(len(index))
    return escaping.json_lines(head, "rows", map(_item, rows))


def _item(row: UsageRow) -> dict[str, Any]:
    item: dict[str, Any] = row._asdict()
    for key in ("name", "oldest", "newest", "image"):
        item[key] = item[key] or None
    return item


def csv_lines(rows: Iterator[UsageRow]) -> Iterator[str]:
    """The rows of `usage_rows` as CSV, with the names of the columns first; sizes in bytes."""
    cells = (["" if cell is None else str(cell) for cell in row] for row in rows)
    return escaping.csv_lines(chain([UsageRow._fields], cells))
