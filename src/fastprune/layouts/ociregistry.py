"""The cache of ociregistry (checked against version 1.17): its tree and its manifest files.

Stage: parse. Input: bytes of one file. Output: `ManifestRecord`. Pure, no I/O.

The tree below the image path::

    img/<64 hex>     one ManifestHolder per manifest; name = sha256 of the upstream manifest
    lts/<64 hex>     the same, for manifests whose tag is `latest`
    blobs/<64 hex>   layers and configs

A ManifestHolder is a JSON object with `type`, `digest`, `imageUrl`, `bytes`, four parts
of which only the one that `type` names is filled, `created` and `pulled`. Its `digest`
is never used: a file is known by its folder and name only.
"""

from __future__ import annotations

import binascii
import re
from operator import itemgetter
from typing import Any

import orjson

from fastprune.errors import ManifestError
from fastprune.layouts.holders import (
    IMAGE_TYPES,
    PARTS,
    decoded,
    read_with_care,
    upstream_references,
)
from fastprune.layouts.layout import Content, Layout, ManifestRecord
from fastprune.model import LINE_CHARS

# A holder has ten members. If there are more, one may be one of the ten in other letter case,
# which the server takes for the same. So it is in the part that is filled. Descriptors are not
# checked for this: the server writes no other members, and it would take a tenth more time.
_HOLDER_MEMBERS = 10
_HOLDER = itemgetter("type", "imageUrl", "created", "pulled")
_IMAGE = frozenset({"schemaVersion", "mediaType", "config", "layers", "annotations", "subject"})
_LIST = frozenset(
    {"schemaVersion", "mediaType", "manifests", "annotations", "subject", "artifactType"}
)
# Not a tuple: there, -1 would find the last one.
_PART = dict(enumerate(PARTS))
_DIGEST, _SIZE = itemgetter("digest"), itemgetter("size")
_WRITTEN_DIGEST = re.compile(rb"sha256:([0-9a-f]{64})").findall
_WRITTEN_BYTES = re.compile(rb'(?i)"bytes"\s*:\s*"([a-z0-9+/]+)').findall
_LATEST = ("", "latest")
# What the class of a named tuple does, without its call in Python.
_new_record = tuple.__new__
# What the fast reading raises for a file that `read_with_care` has to read.
_CARE = (LookupError, TypeError, ValueError)


class Ociregistry(Layout):
    """See `Layout`."""

    manifest_folders = ("img", "lts")
    blob_folder = "blobs"

    @staticmethod
    def manifest_folder_of(url: str, /) -> str:
        """See `Layout.manifest_folder_of`: `lts` for `latest` in any letter case, or no tag."""
        if "@" in url:
            return "img"
        # A colon before the last slash belongs to a port.
        tag = url[url.rfind("/") + 1 :].partition(":")[2]
        return "lts" if tag.lower() in _LATEST else "img"

    # Static, as a scan calls it for each file.
    @staticmethod
    def parse(content: Content, /) -> ManifestRecord:
        """See `Layout.parse`."""
        try:
            return _record(orjson.loads(content))
        except _CARE:
            return read_with_care(content)[0]

    @staticmethod
    def parse_with_upstream(content: Content, /) -> tuple[ManifestRecord, bytes | None]:
        """See `Layout.parse_with_upstream`: it is what `bytes` says in base64 (RFC 4648)."""
        try:
            holder = orjson.loads(content)
            record = _record(holder)
        except _CARE:
            return read_with_care(content)
        return record, decoded(holder.get("bytes"))

    def disagreement(self, record: ManifestRecord, upstream: bytes | None, name: bytes, /) -> str:
        """See `Layout.disagreement`.

        The name is the sha256 of the upstream document, which is what clients get. What a
        prune goes by, and the server, is a part that was filled from it.
        """
        from hashlib import sha256

        if upstream is None:
            return "its bytes are missing, or no base64"
        digest = sha256(upstream)
        if digest.digest() != name:
            return f"its bytes have the sha256 {digest.hexdigest()}"
        said = (record.digests, record.sizes)
        try:
            found = _REFERENCES[record.kind](orjson.loads(upstream))
        except _CARE:
            found = None
        # Sizes must be numbers: to compare two deeply nested values raises RecursionError.
        if found is not None and set(map(type, found[1])) <= {int} and found == said:
            return ""
        try:
            digests, sizes, _ = upstream_references(record.kind, upstream)
        except ManifestError as error:
            return f"its bytes are no such manifest: {error}"
        return "" if (digests, sizes) == said else "it does not refer to what its bytes refer to"

    def digests_in(self, content: bytes, /) -> set[bytes]:
        """See `Layout.digests_in`: in the file itself, or in its upstream document."""
        found = set(_WRITTEN_DIGEST(content))
        for encoded in _WRITTEN_BYTES(content):
            upstream = binascii.a2b_base64(encoded[: len(encoded) // 4 * 4])
            found.update(_WRITTEN_DIGEST(upstream))
        return {binascii.unhexlify(digest) for digest in found}


OCIREGISTRY: Layout = Ociregistry()
"""The layout; `fastprune.layouts.default` is the only module that knows it by name."""


def _record(holder: Any) -> ManifestRecord:
    """Reads fast what the server writes nowadays; raises one of `_CARE` for anything else.

    This is most of the work of a scan, and must not slow down for what is rare.
    """
    kind, url, created, pulled = _HOLDER(holder)
    if len(holder) != _HOLDER_MEMBERS or type(kind) is not int or type(url) is not str:
        raise ValueError
    digests, sizes = _REFERENCES[kind](holder[_PART[kind]])
    return _new_record(
        ManifestRecord,
        (
            kind,
            url,
            created if type(created) is str else "",
            pulled if type(pulled) is str else "",
            digests,
            sizes,
        ),
    )


def _blobs(part: Any) -> tuple[str, list[int]]:
    layers = part["layers"]
    if type(layers) is not list or not _IMAGE.issuperset(part):
        raise ValueError
    descriptors = [*layers, part["config"]]
    lines = "\n".join(map(_DIGEST, descriptors))
    if len(lines) + 1 != len(descriptors) * LINE_CHARS:
        raise ValueError
    sizes = list(map(_SIZE, descriptors))
    if None in sizes:
        raise ValueError
    return lines, sizes


def _children(part: Any) -> tuple[str, list[int]]:
    manifests = part["manifests"]
    if type(manifests) is not list or not _LIST.issuperset(part):
        raise ValueError
    lines = "\n".join(map(_DIGEST, manifests))
    # A digest of blake3 is as long as one of sha256, but begins with another letter.
    if len(lines) + 1 != len(manifests) * LINE_CHARS or lines[::LINE_CHARS] != "s" * len(manifests):
        raise ValueError
    return lines, []


_REFERENCES = {kind: _blobs if kind in IMAGE_TYPES else _children for kind in _PART}
