"""Text from outside never reaches a terminal raw."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Iterator

import orjson
import pytest

from fastprune.text.escaping import column, document_lines, in_utf8, printable, safe_json, to_json

# What makes a terminal do something: C0, DEL, C1, and what turns or hides text.
CONTROLS = [chr(code) for code in (*range(0x20), *range(0x7F, 0xA0))]
BIDIRECTIONAL = ["\u061c", "\u200e", "\u200f", *map(chr, range(0x202A, 0x202F))]
ISOLATES = [chr(code) for code in range(0x2066, 0x206A)]
INVISIBLE = ["\u00ad", "\u180e", "\u200b", "\u200c", "\u200d", "\u2060", "\ufeff", "\ufff9"]
BREAKS = ["\u2028", "\u2029"]
UNSAFE = [*CONTROLS, *BIDIRECTIONAL, *ISOLATES, *INVISIBLE, *BREAKS]


@pytest.mark.parametrize("char", UNSAFE, ids=lambda char: f"U+{ord(char):04X}")
def test_an_unsafe_character_is_escaped_in_text_and_in_json(char: str) -> None:
    text = f"a{char}b"
    assert char not in printable(text)
    document = orjson.dumps({"url": text})
    safe = safe_json(document)
    assert char not in safe.decode()
    # The value is the same for whoever parses it.
    assert json.loads(safe) == {"url": text}


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("docker.io/library/nginx:1.25", "docker.io/library/nginx:1.25"),
        ("a b", "a b"),
        ("é😀", "é😀"),
        ("\x1b[31m", "\\x1b[31m"),
        ("\u202e", "\\u202e"),
        ("\U000e0041", "\\U000e0041"),
        ("\udc80", "\\udc80"),
        ("", ""),
    ],
)
def test_what_is_not_printable_is_shown_by_its_number(text: str, shown: str) -> None:
    assert printable(text) == shown


@pytest.mark.parametrize(
    ("text", "shown"), [("", "-"), ("a b", "a\\x20b"), ("a\nb", "a\\x0ab"), ("x", "x")]
)
def test_a_column_holds_no_blank_and_is_never_empty(text: str, shown: str) -> None:
    assert column(text) == shown


def test_what_is_printed_is_printable_whatever_it_was() -> None:
    everything = "".join(map(chr, range(0x3000)))
    assert printable(everything).isprintable()
    assert not any(unicodedata.category(char).startswith("C") for char in printable(everything))


def test_safe_json_leaves_plain_documents_and_visible_text_alone() -> None:
    assert safe_json(b'{"a": "b"}') == b'{"a": "b"}'
    assert safe_json('{"a": "é"}'.encode()) == '{"a": "é"}'.encode()
    # An escape that is there already is not escaped once more.
    assert safe_json(rb'{"a": "\u009b"}') == rb'{"a": "\u009b"}'


def test_a_byte_that_is_no_part_of_utf_8_is_written_by_its_number() -> None:
    path = b"/caches/\xff/\xc3\xa9".decode("utf-8", "surrogateescape")
    assert in_utf8(path) == r"/caches/\xff/é"
    document = {"image_path": path, "foreign": [path], "left": ({"path": path},), "bytes": 1}
    safe = r"/caches/\xff/é"
    for indent in (False, True):
        shown = json.loads(to_json(document, indent=indent))
        assert shown == {
            "image_path": safe,
            "foreign": [safe],
            "left": [{"path": safe}],
            "bytes": 1,
        }


@pytest.mark.parametrize("items", [[], [1], ["a\nb", {"c": [2, {}]}, [], "\x9b\udcff"]])
def test_a_document_written_item_by_item_is_the_same_document(items: list[object]) -> None:
    head = {"version": 1, "name\x9b": {"in": [1, {"it": None}]}, "none": []}
    for document in (head | {"items": items}, {"items": items} | head, {"items": items}):
        whole = to_json(document, indent=True).decode()
        piece_by_piece = document_lines(document | {"items": iter(items)})
        assert "\n".join(piece_by_piece) == "\n".join(document_lines(document)) == whole


def test_items_of_a_document_are_made_while_they_are_written() -> None:
    made: list[int] = []

    def items() -> Iterator[int]:
        for number in range(100):
            made.append(number)
            yield number

    lines = document_lines({"items": items()})
    for _ in range(5):
        next(lines)
    assert len(made) < 10
