"""Text from outside, made safe to print: as it is, as JSON, as CSV.

Stage: report. Input and output: text. Pure, no I/O.

Whoever can push an image to an upstream registry chooses text that ends up in the
cache. Printed raw it could move the cursor, change colours or hide lines in a terminal.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

# orjson writes these raw, although a terminal acts on them: DEL, the C1 controls, and
# characters that are invisible or change the direction of writing.
_UNSAFE_IN_JSON = re.compile(
    "[\x7f-\x9f\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]"
)


def printable(text: str) -> str:
    """Replaces everything that is no visible character (or a blank) by an escape."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else _escape(char) for char in text)


def column(text: str) -> str:
    """Makes text fit for one column of a line: printable, no blank in it, `-` if empty."""
    return printable(text).replace(" ", "\\x20") or "-"


def to_json(document: object, *, indent: bool = False) -> bytes:
    """A document as JSON that is safe to print; `in_utf8` escapes what is not UTF-8."""
    import orjson

    option = orjson.OPT_INDENT_2 if indent else None
    try:
        return safe_json(orjson.dumps(document, option=option))
    except orjson.JSONEncodeError:
        return safe_json(orjson.dumps(_all_in_utf8(document), option=option))


def document_lines(document: Mapping[str, object]) -> Iterator[str]:
    """The lines of `to_json(document, indent=True)`; a long list need not be in memory at once.

    The document is not empty. A value that is an iterator stands for a list: its items are made
    while they are written.

    Yields:
        One or more lines at a time, without the last end of line.
    """
    yield "{"
    for left, (name, value) in zip(range(len(document) - 1, -1, -1), document.items(), strict=True):
        comma = "," if left else ""
        key = f"  {to_json(name).decode()}: "
        if not isinstance(value, Iterator):
            yield f"{key}{_spread(value, 2)}{comma}"
            continue
        ahead = ""
        for item in value:
            yield f"{ahead}," if ahead else f"{key}["
            ahead = f"    {_spread(item, 4)}"
        if ahead:
            yield ahead
        yield f"  ]{comma}" if ahead else f"{key}[]{comma}"
    yield "}"


def _spread(value: object, columns: int) -> str:
    return to_json(value, indent=True).decode().replace("\n", "\n" + " " * columns)


def json_lines(
    head: dict[str, Any], name: str, rows: Iterable[object], tail: dict[str, Any] | None = None
) -> Iterator[str]:
    """One JSON object, written row by row: a million rows are never in memory at once.

    Args:
        head: The members before the array, not empty.
        name: The name of the array.
        rows: The items of the array, a line each.
        tail: The members after the array, if any.
    """
    yield f'{to_json(head).decode()[:-1]},"{name}":['
    before = ""
    for row in rows:
        yield before + to_json(row).decode()
        before = ","
    yield f"],{to_json(tail).decode()[1:]}" if tail else "]}"


def csv_lines(rows: Iterable[Iterable[str]]) -> Iterator[str]:
    """Rows as lines of CSV that are safe to print."""
    import csv

    # `writerow` returns what `write` returned.
    writer = csv.writer(_Returned(), lineterminator="")
    for row in rows:
        yield writer.writerow(map(printable, row))


class _Returned:
    """Stands in for a file: `write` returns its text."""

    def write(self, text: str) -> str:
        return text


def in_utf8(text: str) -> str:
    r"""Text that UTF-8 can hold: a byte of a path that is not UTF-8 is escaped as `\xff`."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def _all_in_utf8(document: object) -> object:
    if isinstance(document, str):
        return in_utf8(document)
    if isinstance(document, dict):
        return {key: _all_in_utf8(value) for key, value in document.items()}
    if isinstance(document, list | tuple):
        return [_all_in_utf8(value) for value in document]
    return document


def safe_json(document: bytes) -> bytes:
    """Escapes the characters of JSON that a terminal would act on; the value stays the same."""
    if document.isascii() and b"\x7f" not in document:
        return document
    text = _UNSAFE_IN_JSON.sub(lambda match: f"\\u{ord(match[0]):04x}", document.decode())
    return text.encode()


def _escape(char: str) -> str:
    code = ord(char)
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
