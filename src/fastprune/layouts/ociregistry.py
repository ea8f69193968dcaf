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

from fastprune.errors import CutOffError, ManifestError
from fastprune.layouts import ManifestRecord, shown
from fastprune.model import DIGEST_BYTES, DIGEST_PREFIX

manifest_folders: tuple[str, ...] = ("img", "lts")
blob_folder = "blobs"

# Indexed by ManifestHolder.type.
_PARTS = ("v2.docker.manifestList", "v2.docker.manifest", "v1.oci.index", "v1.oci.manifest")
_IMAGE_TYPES = (1, 3)
_DIGEST, _SIZE = itemgetter("digest"), itemgetter("size")
_WRITTEN_DIGEST = re.compile(rb"sha256:([0-9a-f]{64})").findall
_WRITTEN_BYTES = re.compile(rb'"bytes":"([A-Za-z0-9+/]+)').findall
_LINE_CHARS = len(DIGEST_PREFIX) + 2 * DIGEST_BYTES + 1


def parse(content: bytes | bytearray | memoryview) -> ManifestRecord:
    """Takes out of a ManifestHolder what an index needs.

    Args:
        content: The whole file.

    Returns:
        The record. Its digests are the strings of the file, not yet checked.

    Raises:
        ManifestError: The content is not a ManifestHolder whose references are all
            known; the message says why. Nothing doubtful is read as "no references".
    """
    return _record(_holder(content))


def parse_with_upstream(
    content: bytes | bytearray | memoryview,
) -> tuple[ManifestRecord, bytes | None]:
    """Takes out of a ManifestHolder the upstream document that it was made of as well.

    Args:
        content: The whole file.

    Returns:
        The record; and what `bytes` says in base64 (RFC 4648), None if it says nothing.

    Raises:
        ManifestError: As for `parse`.
    """
    holder = _holder(content)
    record, encoded = _record(holder), holder.get("bytes")
    if type(encoded) is not str:
        return record, None
    try:
        return record, binascii.a2b_base64(encoded, strict_mode=True)
    except ValueError:
        return record, None


def disagreement(record: ManifestRecord, upstream: bytes | None, name: bytes) -> str:
    """Says why a manifest file is not what its name stands for; empty if it is.

    The name is the sha256 of the upstream document, which is what clients get. What a
    prune goes by, and the server, is a part that was filled from it.

    Args:
        record: What the file says.
        upstream: The document in it.
        name: The file name, 32 raw bytes.
    """
    from hashlib import sha256

    if upstream is None:
        return "its bytes are missing, or no base64"
    digest = sha256(upstream)
    if digest.digest() != name:
        return f"its bytes have the sha256 {digest.hexdigest()}"
    try:
        digests, sizes = _references(record.kind, orjson.loads(upstream))
    except (ManifestError, orjson.JSONDecodeError) as error:
        return f"its bytes are no such manifest: {error}"
    # Two deeply nested values could not even be compared.
    if any(type(size) is not int for size in sizes):
        return "its bytes are no such manifest: a size is no whole number"
    if (digests, sizes) != (record.digests, record.sizes):
        return "it does not refer to what its bytes refer to"
    return ""


def digests_in(content: bytes) -> set[bytes]:
    """Finds what looks like digests in a manifest file that can't be understood.

    Whatever is left of it, in the file itself or in its upstream document, says what it
    may have needed: enough not to call that unneeded, and for nothing else.

    Args:
        content: The file, cut off or altered anywhere.

    Returns:
        The digests, 32 raw bytes each.
    """
    found = set(_WRITTEN_DIGEST(content))
    for encoded in _WRITTEN_BYTES(content):
        upstream = binascii.a2b_base64(encoded[: len(encoded) // 4 * 4])
        found.update(_WRITTEN_DIGEST(upstream))
    return {binascii.unhexlify(digest) for digest in found}


def _holder(content: bytes | bytearray | memoryview) -> dict[str, Any]:
    if not content:
        raise CutOffError("empty")
    try:
        holder = orjson.loads(content)
    except orjson.JSONDecodeError as error:
        raise CutOffError(f"not valid JSON: {error}") from None
    if type(holder) is not dict:
        raise ManifestError("not a JSON object")
    return holder


def _record(holder: dict[str, Any]) -> ManifestRecord:
    kind = holder.get("type")
    if type(kind) is not int or not 0 <= kind < len(_PARTS):
        raise ManifestError(f"unknown manifest type {shown(kind)}")
    url = holder.get("imageUrl")
    if type(url) is not str:
        raise ManifestError("imageUrl is not a string")
    digests, sizes = _references(kind, holder.get(_PARTS[kind]))
    created, pulled = holder.get("created"), holder.get("pulled")
    return ManifestRecord(
        kind,
        url,
        created if type(created) is str else "",
        pulled if type(pulled) is str else "",
        digests,
        sizes,
    )


def _references(kind: int, part: object) -> tuple[str, list[int]]:
    if type(part) is not dict:
        raise ManifestError(f"{_PARTS[kind]} is not an object")
    return _blobs(part) if kind in _IMAGE_TYPES else (_children(part), [])


def _children(part: dict[str, Any]) -> str:
    manifests = part.get("manifests")
    if type(manifests) is not list:
        raise ManifestError("a list without an array of manifests")
    try:
        return _lines(list(map(_DIGEST, manifests)))
    except (KeyError, TypeError):
        raise ManifestError("a descriptor in manifests has no digest") from None


def _blobs(part: dict[str, Any]) -> tuple[str, list[int]]:
    layers, config = part.get("layers"), part.get("config")
    if type(layers) is not list:
        raise ManifestError("an image without an array of layers")
    if type(config) is not dict:
        raise ManifestError("an image without a config descriptor")
    descriptors = [*layers, config]
    try:
        digests = _lines(list(map(_DIGEST, descriptors)))
    except (KeyError, TypeError):
        raise ManifestError("a layer or config descriptor has no digest") from None
    try:
        return digests, list(map(_SIZE, descriptors))
    except KeyError:
        # The server leaves a size of zero out of a Docker descriptor.
        return digests, [descriptor.get("size", 0) for descriptor in descriptors]


def _lines(digests: list[str]) -> str:
    """Joins digests, making sure that as many can be told apart again."""
    lines = "\n".join(digests)
    if len(lines) != len(digests) * _LINE_CHARS - bool(digests):
        odd = next(digest for digest in digests if len(digest) != _LINE_CHARS - 1)
        raise ManifestError(f"not a sha256 digest: {odd[:80]!r}")
    return lines
