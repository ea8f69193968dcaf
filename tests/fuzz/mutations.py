"""Manifest files that are nearly right: sound ones with some alterations.

All choices come from a `random.Random`. So hypothesis, libFuzzer or a plain loop can make them.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

from tests.support.corruption import Corruption, corrupt_bytes
from tests.support.documents import PART_NAMES
from tests.support.realcaches import REAL_CACHES, unpack

_HEX = "1a" * 32
# Nested nearly as deep as the parser takes; Python's own json can't write that.
DEEP = "nested"
_DEEP_JSON = "[" * 1_000 + "]" * 1_000

KEYS = (
    *PART_NAMES,
    *("type", "digest", "imageUrl", "bytes", "created", "pulled", "manifests", "layers"),
    *("config", "size", "mediaType", "platform", "annotations", "unknown", "schemaVersion"),
    *("Layers", "layer\u017f", "MANIFESTS", "Config"),
)
TEXTS = (
    *("", "x", "\0", "\n", " ", "\x1b[2J", "\ud800", "\U0001f40b", "a:1", "a@sha256:" + _HEX),
    *("sha256:" + _HEX, "sha256:" + _HEX.upper(), "sha256:" + _HEX[:-1], "sha512:" + _HEX * 2),
    *(_HEX, f"sha256:{_HEX}\n", f"sha256:{_HEX}\nsha256:{_HEX}", "sha256:" + "\u0663" * 64),
    *("2024-03-01T22:17:31", "2023-02-29T00:00:00", "0" * 19, "\xff" * 19, "\u0663" * 19),
    *("2024-03-01", "9" * 64, "9" * 65, "../../victim", "true", "3"),
)
NUMBERS = (
    *(0, 1, 2, 3, 4, 9, -1, 255, 2**31, 2**32, 2**53, 2**63 - 1, 2**63, 2**64 - 1, 2**64),
    *(-(2**63), 10**30, 1.0, 3.0, 0.5, -0.0, 1e308, float("nan"), float("inf")),
)
SMALL: tuple[Any, ...] = (
    None,
    True,
    False,
    [],
    {},
    [None],
    [[]],
    [{}],
    {"digest": "sha256:" + _HEX},
    DEEP,
)

# Bytes that can make or break a document when they are inserted.
TOKENS = (
    *(b'"', b"\\", b"{", b"}", b"[", b"]", b",", b":", b"\0", b"\xff", b"\xef\xbb\xbf", b"\n"),
    *(b"null", b"true", b"-", b"0", b"e9", b"\\u0000", b"\\ud800", b"[" * 100, b"]" * 100),
    *(b'"type":1,', b'"layers":[],', b'"layers":null,', b'"config":{},', b'"manifests":[],'),
    *(b'"Layers":[],', b'"LAYERS":null,', b'"Manifests":[],', b'"manifests":null,'),
    *(b" " * 512, b" " * 4096, b'"size":0,', b'"sha256:' + _HEX.encode() + b'"'),
)


@cache
def seeds() -> tuple[bytes, ...]:
    """Files that a server wrote, all different kinds of them, and some damaged ones."""
    with tempfile.TemporaryDirectory() as folder:
        real = [
            path.read_bytes()
            for name in REAL_CACHES
            for path in sorted(unpack(name, Path(folder)).glob("[il]*/*"))
        ]
    # Short ones are altered where it matters; the real ones differ little from each other.
    real.sort(key=len)
    damaged = [corrupt_bytes(kind, size=5_000) for kind in Corruption]
    return (*real[:20], *real[-4:], *(content for content in damaged if len(content) < 10_000))


def mutated(random: Random, content: bytes) -> bytes:
    """The content with one to four alterations, of its values or of its bytes."""
    for _ in range(random.randint(1, 4)):
        altered = _with_other_value(random, content) if random.random() < 0.7 else None
        content = _with_other_bytes(random, content) if altered is None else altered
    return content


def _with_other_value(random: Random, content: bytes) -> bytes | None:
    """Alters one value somewhere in a document; None if the content is no document."""
    try:
        document = json.loads(content)
        places = list(_places(document))
        if not places:
            return None
        container, key = random.choice(places)
        _alter(random, container, key)
        text = encoded(document, ascii_only=random.random() < 0.5)
    except (ValueError, RecursionError):
        return None
    return text


def encoded(document: Any, *, ascii_only: bool) -> bytes:
    """The JSON of a document; `DEEP` in it becomes a very deep array."""
    text = json.dumps(document, ensure_ascii=ascii_only, separators=(",", ":"))
    # A lone surrogate becomes invalid UTF-8 here, and an escape where only ASCII is allowed.
    return text.replace(f'"{DEEP}"', _DEEP_JSON).encode("utf-8", "surrogatepass")


def _alter(random: Random, container: Any, key: Any) -> None:
    choice = random.randrange(6)
    if choice == 0:
        del container[key]
    elif choice == 1 and isinstance(container, list):
        container.insert(random.randint(0, len(container)), container[key])
    elif choice == 1:
        container[random.choice(KEYS)] = container[key]
    elif choice == 2 and isinstance(container[key], str):
        container[key] = _with_other_characters(random, container[key])
    else:
        container[key] = _value(random)


def _value(random: Random) -> Any:
    value: Any = random.choice(random.choice((TEXTS, NUMBERS, SMALL)))
    if random.random() < 0.1:
        value = [value] if random.random() < 0.5 else {random.choice(KEYS): value}
    return value


def _with_other_characters(random: Random, text: str) -> str:
    at = random.randint(0, len(text))
    return text[:at] + random.choice(TEXTS)[:9] + text[at + random.randint(0, 2) :]


def _places(document: Any) -> Iterator[tuple[Any, Any]]:
    """Every value of a document: the object or array that holds it, and its key or position."""
    waiting = [document]
    while waiting:
        container = waiting.pop()
        keys: list[Any] = []
        if isinstance(container, dict):
            keys = list(container)
        elif isinstance(container, list):
            keys = list(range(len(container)))
        for key in keys:
            yield container, key
            waiting.append(container[key])


def _with_other_bytes(random: Random, content: bytes) -> bytes:
    """Cuts, repeats, overwrites or inserts bytes."""
    at = random.randint(0, len(content))
    end = at + random.choice((0, 1, 1, 2, 8, 64, 1_000))
    choice = random.randrange(5)
    if choice == 0:
        return content[:at] + content[end:]
    if choice == 1:
        return content[:end] + content[at:]
    if choice == 2:
        return content[:at] + bytes([random.randrange(256)]) + content[at + 1 :]
    if choice == 3:
        return content[:at] + random.choice(TOKENS) + content[at:]
    return content[:at]
