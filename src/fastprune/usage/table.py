"""A usage as a table for people, with bars.

Stage: report. Input: `Usage`, its rows, `Ages`. Output: lines. Pure, no I/O.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from fastprune.model import DIGEST_PREFIX
from fastprune.text import cells
from fastprune.text.cells import fitted, left, right
from fastprune.text.escaping import printable
from fastprune.text.quantities import format_bytes, format_count
from fastprune.text.style import Paint, Style, plain
from fastprune.usage.ages import Ages
from fastprune.usage.report import AgeRow, Cutoffs, UsageRow, age_rows, what_ifs
from fastprune.usage.rows import By, Usage

_GAP = "  "
_LEAST_NAME, _LEAST_BAR, _MOST_BAR = 20, 8, 40
_LEAST_WHAT_IF = 64
_WIDE, _VERY_WIDE = 100, 140
_DATE_CHARS = len("2024-03-01")
_SHORT_DIGEST = 12
_SHADE = "░"
_LABELS = {
    "shared": "(shared by several)",
    "dangling": "(dangling images)",
    "broken": "(broken images)",
    "shared_outside": "(shared with others)",
    "outside": "(all that was not selected)",
    "manifests": "(manifests)",
    "orphans": "(orphan blobs)",
    "unreadable": "(unreadable manifests)",
}

# Left out in this order on a narrow terminal.
_DISPENSABLE = ("SHARED", "LAST PULL", "IMAGES")

_Column = tuple[str, Callable[[UsageRow], str]]


def table_lines(
    usage: Usage,
    rows: Sequence[UsageRow],
    ages: Ages,
    cutoffs: Cutoffs,
    *,
    width: int,
    paint: Paint = plain,
) -> Iterator[str]:
    """The usage, with the rows of `usage_rows`, and the ages of the same cache as tables."""
    index = usage.index
    yield (
        f"{printable(index.root)}: {format_bytes(usage.total)} in "
        f"{format_count(ages.images, 'image')}, {format_count(len(index), 'manifest')}, "
        f"{format_count(index.blobs_present, 'blob')}"
    )
    if index.others is not None:
        yield f"The server knows {format_count(len(index.others), 'tag')} that no file shows"
    yield ""
    heading, *lines, total = _usage_lines(usage, rows, ages.images, width)
    yield paint(Style.HEADING, heading)
    yield from lines
    yield paint(Style.HEADING, total)
    for table in (_age_lines(ages, cutoffs, width), _what_if_lines(ages, cutoffs, width)):
        yield ""
        heading, *lines = table
        yield paint(Style.HEADING, heading)
        yield from lines


def _usage_lines(usage: Usage, rows: Sequence[UsageRow], images: int, width: int) -> Iterator[str]:
    totals = {"IMAGES": f"{images:,}", "UNIQUE": format_bytes(usage.total)}
    columns = {
        heading: [heading, *map(content, rows), totals.get(heading, "")]
        for heading, content in _columns(usage.by, width)
    }
    for heading in _DISPENSABLE:
        if _room(columns, width) < _LEAST_NAME:
            del columns[heading]
    room = max(1, _room(columns, width))
    longest = max([_LEAST_NAME, *(cells.cells(_name(row, width)) for row in rows)])
    bar = min(_MOST_BAR, max(_LEAST_BAR, room - len(_GAP) - longest))
    if room - len(_GAP) - bar < _LEAST_NAME:
        bar = 0
    name_width = min(longest, room - (bar + len(_GAP) if bar else 0))
    # Only groups have bars: beside the sums of the other rows, they would be too short to see.
    most = max((_sum(row) for row in rows if row.kind == usage.by), default=0)
    bars = [_bar(row.unique, _sum(row), most, bar) if row.kind == usage.by else "" for row in rows]
    names = [usage.by.name.upper(), *(_name(row, name_width) for row in rows), "TOTAL"]
    aligned = [[left(fitted(name, name_width), name_width) for name in names]]
    for texts in columns.values():
        wide = max(map(len, texts))
        aligned.append([right(text, wide) for text in texts])
    for line in zip(*aligned, ["", *bars, ""], strict=True):
        yield _GAP.join(line).rstrip()


def _room(columns: Mapping[str, Sequence[str]], width: int) -> int:
    """Cells that are left for names and bars."""
    return width - sum(len(_GAP) + max(map(len, texts)) for texts in columns.values())


def _name(row: UsageRow, width: int) -> str:
    if row.kind == "layer":
        digest = row.name.removeprefix(DIGEST_PREFIX)[:_SHORT_DIGEST]
        return f"{digest} {fitted(printable(row.image), width - len(digest) - 1)}"
    return fitted(printable(row.name) or _LABELS.get(row.kind, "-"), width)


def _columns(by: By, width: int) -> list[_Column]:
    """The columns that there is room for, between the name and the bar."""
    wide, very_wide = width >= _WIDE, width >= _VERY_WIDE
    wanted: list[tuple[bool, _Column]] = [
        (True, ("IMAGES", lambda row: _count(row.images))),
        (very_wide and by is not By.layer, ("MANIFESTS", lambda row: _count(row.manifests))),
        (very_wide and by is not By.layer, ("BLOBS", lambda row: _count(row.blobs))),
        (True, ("UNIQUE", lambda row: format_bytes(row.unique))),
        (True, ("SHARED", lambda row: "-" if row.shared is None else format_bytes(row.shared))),
        (wide, ("TOTAL", lambda row: "-" if row.shared is None else format_bytes(_sum(row)))),
        (very_wide, ("FIRST PULL", lambda row: row.oldest[:_DATE_CHARS] or "-")),
        (True, ("LAST PULL", lambda row: row.newest[:_DATE_CHARS] or "-")),
    ]
    return [column for is_wanted, column in wanted if is_wanted]


def _count(number: int | None) -> str:
    return f"{number:,}" if number else "-"


def _sum(row: UsageRow) -> int:
    return row.unique + (row.shared or 0)


def _bar(solid: int, whole: int, most: int, width: int) -> str:
    """A bar with a solid part and a shaded one behind it."""
    if not most:
        return ""
    drawn, length = cells.bar(solid / most, width), round(width * whole / most)
    if length > len(drawn):
        # A piece of a cell would leave a gap before the shade.
        drawn = cells.bar(round(width * solid / most) / width, width)
    return drawn + _SHADE * (length - len(drawn))


def _age_lines(ages: Ages, cutoffs: Cutoffs, width: int) -> Iterator[str]:
    rows = list(age_rows(ages, cutoffs))
    most = max((row.bytes for row in rows), default=0)
    names = ["LAST PULLED", *map(_age, rows)]
    texts = [("IMAGES", "BYTES"), *((_count(row.images), format_bytes(row.bytes)) for row in rows)]
    room = min(_MOST_BAR, max(0, width - 50))
    bars = ["", *(_bar(row.bytes, row.bytes, most, room) for row in rows)]
    longest = max(map(len, names))
    for name, (images, size), bar in zip(names, texts, bars, strict=True):
        yield _GAP.join([left(name, longest), right(images, 9), right(size, 9), bar]).rstrip()


def _age(row: AgeRow) -> str:
    if row.least is None:
        return "not known"
    if not row.least:
        return f"in the last {row.most} days"
    if row.most is None:
        return f"{row.least} days ago or more"
    return f"{row.least} to {row.most} days ago"


def _what_if_lines(ages: Ages, cutoffs: Cutoffs, width: int) -> Iterator[str]:
    rows = [("KEEP IF PULLED IN THE LAST", "IMAGES LEFT", "CACHE SIZE", "FREED")]
    if width < _LEAST_WHAT_IF:
        rows = [("KEEP FOR", "IMAGES", "SIZE", "FREED")]
    for row in what_ifs(ages, cutoffs):
        sizes = (format_bytes(row.bytes_left), format_bytes(row.bytes_freed))
        rows.append((f"{row.days} days", f"{row.images_left:,}", *sizes))
    widths = [max(map(len, texts)) for texts in zip(*rows, strict=True)]
    for name, *texts in rows:
        aligned = [right(text, wide) for text, wide in zip(texts, widths[1:], strict=True)]
        yield _GAP.join([left(name, widths[0]), *aligned])
