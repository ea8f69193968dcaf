"""JSON as the server's decoder takes it: Go's encoding/json, not as strict as a fast parser.

Stage: parse. Input: bytes. Output: plain values. Pure, no I/O.

Go takes half surrogate pairs and bytes that are no UTF-8 in strings, numbers of any size
where nobody asks for them, and 10,000 levels of nesting. It takes the names of members in
any letter case, and null for any value: then it assigns nothing. It takes no NaN, no byte
order mark and nothing behind the document, and neither does this module.

Go merges members that are there twice. `loads` marks them, and `members` refuses them.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

from fastprune.errors import ManifestError

MAX_DEPTH = 10_000
"""Levels of nesting that Go takes."""

# A longer number is no int64, and Python would refuse to count its digits.
_INT_CHARS = 20
_TOKEN = re.compile(
    r"[ \t\n\r]*+(?:"
    r'(?P<string>"[^"\\\x00-\x1f]*+(?:\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})[^"\\\x00-\x1f]*+)*+")'
    r"|(?P<number>-?(?:0|[1-9][0-9]*+)(?:\.[0-9]++)?+(?:[eE][+-]?[0-9]++)?+)"
    r"|(?P<word>true|false|null)"
    r"|(?P<mark>[\[\]{},:]))"
).match
_BLANKS = re.compile(r"[ \t\n\r]*+").fullmatch
_WORDS = {"true": True, "false": False, "null": None}

# Which tokens may follow: marks stand for themselves, one letter for each other kind.
_VALUE, _KEY = "snw[{", "s"
_CLOSED_BY = {"[": "]", "{": "}"}


class Repeating(dict[str, Any]):
    """An object with members that are there twice: `repeated`. It holds the last ones."""

    __slots__ = ("repeated",)

    def __init__(self, names: list[str], values: list[Any]) -> None:
        super().__init__(zip(names, values, strict=True))
        counts = Counter(names)
        self.repeated = {name for name in counts if counts[name] > 1}


def loads(content: bytes) -> Any:
    """Reads one JSON document, in any depth that Go takes.

    Returns:
        As of `json.loads`. Halves of surrogate pairs stay in strings, and bytes that are no
        UTF-8 become such (`surrogateescape`). A number that is no int64 is a float.

    Raises:
        ValueError: Go refuses it.
    """
    text = content.decode("utf-8", "surrogateescape")
    opened = [_Opened("")]
    allowed = _VALUE
    for kind, token in _tokens(text):
        if kind not in allowed:
            raise ValueError(f"unexpected {token[:20]!r}")
        inside = opened[-1]
        if kind == ":":
            allowed = _VALUE
        elif kind == ",":
            allowed = _KEY if inside.mark == "{" else _VALUE
        elif inside.wants_name and kind == "s":
            inside.names.append(_string(token))
            allowed = ":"
        elif kind in _CLOSED_BY:
            if len(opened) > MAX_DEPTH:
                raise ValueError("nested too deeply")
            opened.append(_Opened(kind))
            allowed = _KEY + "}" if kind == "{" else _VALUE + "]"
        else:
            value = opened.pop().value() if kind in "]}" else _scalar(kind, token)
            opened[-1].values.append(value)
            allowed = "," + _CLOSED_BY[opened[-1].mark] if opened[-1].mark else ""
    if len(opened) > 1 or not opened[0].values:
        raise ValueError("unexpected end")
    return opened[0].values[0]


def members(value: dict[str, Any], names: dict[str, str]) -> dict[str, Any]:
    """The members of an object that a structure of the server has, as Go assigns them.

    `names` has the exact names by their `folded` form. What is there and not null is returned, by
    the exact names.

    Raises:
        ManifestError: One is there twice, in whatever letter case. Go takes parts of both.
    """
    found: dict[str, Any] = {}
    repeated = value.repeated if type(value) is Repeating else ()
    for key, item in value.items():
        name = names.get(folded(key))
        if name is None:
            continue
        if name in found or key in repeated:
            raise ManifestError(f"{name} is there twice")
        found[name] = item
    return {name: item for name, item in found.items() if item is not None}


def folded(name: str) -> str:
    """A name as Go compares it: by simple case folding, for names made of ASCII letters."""
    # Two letters beyond ASCII fold into it; lower() takes the other, the Kelvin sign.
    return name.replace("\u017f", "s").lower()


class _Opened:
    """An array or object that has not ended yet; the outermost one is neither."""

    __slots__ = ("mark", "names", "values")

    def __init__(self, mark: str) -> None:
        self.mark, self.names, self.values = mark, list[str](), list[Any]()

    @property
    def wants_name(self) -> bool:
        """Whether the name of a member comes next, not its value."""
        return self.mark == "{" and len(self.names) == len(self.values)

    def value(self) -> Any:
        if self.mark == "[":
            return self.values
        whole = dict(zip(self.names, self.values, strict=True))
        return whole if len(whole) == len(self.names) else Repeating(self.names, self.values)


def _tokens(text: str) -> Iterator[tuple[str, str]]:
    """The tokens of a text, each with its kind: a mark, or one letter as in `_VALUE`."""
    at = 0
    while match := _TOKEN(text, at):
        kind = match.lastgroup or ""
        token = match[kind]
        yield token if kind == "mark" else kind[0], token
        at = match.end()
    if not _BLANKS(text, at):
        raise ValueError(f"unexpected {text[at : at + 20]!r}")


def _scalar(kind: str, token: str) -> Any:
    if kind == "s":
        return _string(token)
    if kind == "w":
        return _WORDS[token]
    if len(token) > _INT_CHARS or not token.lstrip("-").isdigit():
        return float(token)
    return int(token)


def _string(token: str) -> str:
    return json.loads(token) if "\\" in token else token[1:-1]
