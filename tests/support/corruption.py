"""Manifest files that can't be understood, each with one kind of damage.

Each starts as a sound image manifest, so it has no other damage.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from enum import StrEnum
from typing import Any

from .documents import PART_NAMES, Descriptor, Json, encode, holder_json, image_document

NESTING = 100_000
TOO_LARGE_BYTES = 64 * 2**20 + 1

_PART = PART_NAMES[3]


class Corruption(StrEnum):
    """A kind of damage; the value reads well in the name of a test."""

    EMPTY = "empty"
    CUT = "cut"
    NOT_JSON = "not JSON"
    JSON_AND_MORE = "JSON followed by more"
    NOT_UTF8 = "invalid UTF-8"
    BYTE_ORDER_MARK = "byte order mark"
    LONE_SURROGATE = "lone surrogate"
    NOT_A_NUMBER = "NaN"
    NESTED = "nested brackets"
    NESTED_INSIDE = "nested brackets in an unknown key"
    TOO_LARGE = "too large"
    ARRAY = "an array"
    NULL = "null"
    NO_TYPE = "no type"
    TYPE_9 = "type 9"
    TYPE_NEGATIVE = "type -1"
    TYPE_BOOLEAN = "type true"
    TYPE_FLOAT = "type 3.0"
    TYPE_TEXT = "type as text"
    NO_URL = "no imageUrl"
    URL_NUMBER = "imageUrl a number"
    NO_PART = "no filled part"
    PART_NULL = "filled part null"
    PART_EMPTY = "filled part {}"
    WRONG_PART = "another part filled"
    LIST_PART_EMPTY = "filled part of a list {}"
    MANIFESTS_NULL = "manifests null"
    CHILD_NOT_OBJECT = "child not an object"
    CHILD_DIGEST = "child digest not a digest"
    LAYERS_NULL = "layers null"
    LAYERS_OBJECT = "layers an object"
    LAYER_NOT_OBJECT = "layer not an object"
    LAYER_DIGEST = "layer digest not a digest"
    LAYER_DIGEST_UPPER = "layer digest in capitals"
    LAYER_DIGEST_SHORT = "layer digest short"
    LAYER_DIGEST_LINE = "layer digest and a line feed"
    LAYER_DIGEST_BARE = "layer digest without sha256:"
    LAYER_DIGEST_NULL = "layer digest null"
    NO_LAYER_DIGEST = "no layer digest"
    SIZE_NEGATIVE = "size negative"
    SIZE_FLOAT = "size 1.5"
    SIZE_BOOLEAN = "size true"
    SIZE_TEXT = "size as text"
    NO_CONFIG = "no config"
    CONFIG_NULL = "config null"
    CONFIG_EMPTY = "config {}"
    CONFIG_DIGEST = "config digest not a digest"


def corrupt_bytes(
    kind: Corruption, *, url: str = "registry.example/damaged:1", size: int = TOO_LARGE_BYTES
) -> bytes:
    """The content of a damaged manifest file.

    Args:
        kind: The damage.
        url: The image URL, where the damage leaves one.
        size: Bytes of the file; only for `TOO_LARGE`.
    """
    holder = _sound(url)
    if kind is Corruption.TOO_LARGE:
        # Sound except for its size: blanks after a JSON document have no meaning.
        return encode(holder).ljust(size)
    if kind in _EDITS:
        _EDITS[kind](holder)
        return encode(holder)
    return _RAW[kind](encode(holder))


def _sound(url: str) -> Json:
    layer, config = Descriptor("1a" * 32, 100), Descriptor("2b" * 32, 10)
    document = image_document("oci", config, [layer])
    # Through text, so that no object is shared with another holder.
    holder: Json = json.loads(encode(holder_json(document, document.digest, url, "", "")))
    return holder


def _set(*path_and_value: object) -> Callable[[Json], None]:
    """An edit that sets the value at a path of keys and positions."""
    *path, last, value = path_and_value

    def edit(holder: Json) -> None:
        place: Any = holder
        for step in path:
            place = place[step]
        place[last] = value

    return edit


def _drop(*path: object) -> Callable[[Json], None]:
    """An edit that removes the key at the end of a path."""

    def edit(holder: Json) -> None:
        place: Any = holder
        for step in path[:-1]:
            place = place[step]
        del place[path[-1]]

    return edit


def _as_list(**part: object) -> Callable[[Json], None]:
    def edit(holder: Json) -> None:
        holder["type"] = 2
        holder[PART_NAMES[2]] = part

    return edit


def _type_true(holder: Json) -> None:
    """Fills the part of type 1, too: code that takes true for 1 finds nothing else wrong."""
    holder["type"] = True
    holder[PART_NAMES[1]] = holder[_PART]


_LAYER = (_PART, "layers", 0)
_HEX = "1a" * 32

_EDITS: dict[Corruption, Callable[[Json], None]] = {
    Corruption.NO_TYPE: _drop("type"),
    Corruption.TYPE_9: _set("type", 9),
    Corruption.TYPE_NEGATIVE: _set("type", -1),
    Corruption.TYPE_BOOLEAN: _type_true,
    Corruption.TYPE_FLOAT: _set("type", 3.0),
    Corruption.TYPE_TEXT: _set("type", "3"),
    Corruption.NO_URL: _drop("imageUrl"),
    Corruption.URL_NUMBER: _set("imageUrl", 7),
    Corruption.NO_PART: _drop(_PART),
    Corruption.PART_NULL: _set(_PART, None),
    Corruption.PART_EMPTY: _set(_PART, {}),
    Corruption.WRONG_PART: _set("type", 1),
    Corruption.LIST_PART_EMPTY: _as_list(),
    Corruption.MANIFESTS_NULL: _as_list(manifests=None),
    Corruption.CHILD_NOT_OBJECT: _as_list(manifests=["sha256:" + _HEX]),
    Corruption.CHILD_DIGEST: _as_list(manifests=[{"digest": "../../victim", "size": 1}]),
    Corruption.LAYERS_NULL: _set(_PART, "layers", None),
    Corruption.LAYERS_OBJECT: _set(_PART, "layers", {}),
    Corruption.LAYER_NOT_OBJECT: _set(*_LAYER, "sha256:" + _HEX),
    Corruption.LAYER_DIGEST: _set(*_LAYER, "digest", "../../victim"),
    Corruption.LAYER_DIGEST_UPPER: _set(*_LAYER, "digest", "sha256:" + _HEX.upper()),
    Corruption.LAYER_DIGEST_SHORT: _set(*_LAYER, "digest", "sha256:" + _HEX[:-2]),
    Corruption.LAYER_DIGEST_LINE: _set(*_LAYER, "digest", f"sha256:{_HEX}\n"),
    Corruption.LAYER_DIGEST_BARE: _set(*_LAYER, "digest", _HEX),
    Corruption.LAYER_DIGEST_NULL: _set(*_LAYER, "digest", None),
    Corruption.NO_LAYER_DIGEST: _drop(*_LAYER, "digest"),
    Corruption.SIZE_NEGATIVE: _set(*_LAYER, "size", -1),
    Corruption.SIZE_FLOAT: _set(*_LAYER, "size", 1.5),
    Corruption.SIZE_BOOLEAN: _set(*_LAYER, "size", True),
    Corruption.SIZE_TEXT: _set(*_LAYER, "size", "100"),
    Corruption.NO_CONFIG: _drop(_PART, "config"),
    Corruption.CONFIG_NULL: _set(_PART, "config", None),
    Corruption.CONFIG_EMPTY: _set(_PART, "config", {}),
    Corruption.CONFIG_DIGEST: _set(_PART, "config", "digest", "../../victim"),
}

_URL_STARTS = b'"imageUrl":"'

_RAW: dict[Corruption, Callable[[bytes], bytes]] = {
    Corruption.EMPTY: lambda sound: b"",
    Corruption.CUT: lambda sound: sound[: len(sound) * 2 // 3],
    Corruption.NOT_JSON: lambda sound: b"this is not JSON",
    Corruption.JSON_AND_MORE: lambda sound: sound + b"{}",
    Corruption.NOT_UTF8: lambda sound: sound.replace(_URL_STARTS, _URL_STARTS + b"\xff"),
    Corruption.BYTE_ORDER_MARK: lambda sound: b"\xef\xbb\xbf" + sound,
    Corruption.LONE_SURROGATE: lambda sound: sound.replace(_URL_STARTS, _URL_STARTS + rb"\ud800"),
    Corruption.NOT_A_NUMBER: lambda sound: sound.replace(b'{"type"', b'{"x":NaN,"type"'),
    Corruption.NESTED: lambda sound: b"[" * NESTING + b"]" * NESTING,
    Corruption.NESTED_INSIDE: lambda sound: sound.replace(
        b'{"type"', b'{"x":' + b"[" * NESTING + b"]" * NESTING + b',"type"'
    ),
    Corruption.ARRAY: lambda sound: b"[" + sound + b"]",
    Corruption.NULL: lambda sound: b"null",
}
