"""A manifest as the server keeps it, in memory and as the content of a file.

Stage: pure.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import re
from dataclasses import dataclass, replace
from typing import Any

from ..documents import PART_NAMES, Document, encode, holder_json, without_zero_sizes

MEDIA_TYPES = (
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.docker.distribution.manifest.v2+json",
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.oci.image.manifest.v1+json",
)
"""The media type of each kind of manifest: the position is the holder's `type`."""

_LISTS = (0, 2)
_DIGEST = re.compile(r".*([a-f0-9]{64})")


class BadFileError(ValueError):
    """The server can't read this file as a manifest."""


@dataclass(frozen=True, slots=True)
class Blob:
    """What a manifest says of a blob: its digest without a prefix, and its size in bytes."""

    digest: str
    size: int


@dataclass(frozen=True, slots=True)
class Holder:
    """A manifest.

    Attributes:
        kind: Position in `MEDIA_TYPES`.
        digest: 64 hex digits, as the file states them.
        url: The image URL that it was written with.
        document: The upstream bytes.
        blobs: Layers in their order, then the config; none for a list.
        children: Digests that a list refers to.
        created: Wall-clock text.
        pulled: The same.
        head: The content of the file up to the value of `pulled`, which is the last.
    """

    kind: int
    digest: str
    url: str
    document: bytes
    blobs: tuple[Blob, ...]
    children: tuple[str, ...]
    created: str
    pulled: str
    head: bytes

    @property
    def is_list(self) -> bool:
        return self.kind in _LISTS

    @property
    def media_type(self) -> str:
        return MEDIA_TYPES[self.kind] if self.kind < len(MEDIA_TYPES) else ""

    @property
    def content(self) -> bytes:
        """The whole file."""
        return self.head + encode(self.pulled) + b"}"

    def pulled_at(self, time: str) -> Holder:
        """The same, pulled at another time."""
        return replace(self, pulled=time)


def read_holder(content: bytes) -> Holder:
    """Reads a manifest file.

    Raises:
        BadFileError: It is no JSON object of this form.
    """
    try:
        found = json.loads(content)
        if not isinstance(found, dict):
            raise TypeError("no object")
        return _holder(found)
    except (ValueError, TypeError, KeyError, AttributeError, binascii.Error) as error:
        raise BadFileError(str(error)) from error


def new_holder(media_type: str, document: bytes, url: str, time: str) -> Holder:
    """A manifest that was just fetched from an upstream.

    Raises:
        BadFileError: The media type is unknown, or the document is not JSON.
    """
    try:
        kind = MEDIA_TYPES.index(media_type)
        part = json.loads(document)
    except ValueError as error:
        raise BadFileError(str(error)) from error
    if kind < 2:
        part = without_zero_sizes(part)
    digest = hashlib.sha256(document).hexdigest()
    return _holder(holder_json(Document(kind, document, part), digest, url, time, time))


def digest_in(text: str) -> str:
    """The last 64 hex digits in a text; empty if there are none."""
    found = _DIGEST.match(text)
    return found.group(1) if found else ""


def _holder(found: dict[str, Any]) -> Holder:
    # Go takes the keys in any letter case.
    values = {key.lower(): value for key, value in found.items()}
    kind = int(values.get("type") or 0)
    part = values.get(PART_NAMES[kind].lower()) or {} if kind < len(PART_NAMES) else {}
    without_pulled = {key: value for key, value in found.items() if key.lower() != "pulled"}
    return Holder(
        kind=kind,
        digest=str(values.get("digest") or ""),
        url=str(values.get("imageurl") or ""),
        document=base64.b64decode(values.get("bytes") or ""),
        blobs=() if kind in _LISTS else _blobs(part),
        children=tuple(digest_in(one["digest"]) for one in part.get("manifests") or ()),
        created=str(values.get("created") or ""),
        pulled=str(values.get("pulled") or ""),
        head=encode(without_pulled)[:-1] + b',"pulled":',
    )


def _blobs(part: dict[str, Any]) -> tuple[Blob, ...]:
    parts = [*(part.get("layers") or ()), part.get("config") or {}]
    return tuple(Blob(digest_in(one.get("digest") or ""), one.get("size") or 0) for one in parts)
