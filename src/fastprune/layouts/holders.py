"""ManifestHolders read with care: whatever the server takes, though it no longer writes it so.

Stage: parse. Input: bytes of one file. Output: `ManifestRecord`. Pure, no I/O.

Slow. `fastprune.layouts.ociregistry` reads what the server writes nowadays, and comes here
with all else: names of members in other letter case, null, arrays that are missing,
children that can't be cached, strings that are not quite text; and what is broken.

An image or a list without an array is empty to the server. It looks like a part that was
never filled, so it is believed only if the upstream document in the holder is empty too.
"""

from __future__ import annotations

import binascii
import re
from typing import Any, NamedTuple

import orjson

from fastprune.errors import CutOffError, ManifestError
from fastprune.layouts.gojson import folded, loads, members
from fastprune.layouts.layout import ManifestRecord, shown
from fastprune.model import LARGEST_INT64

PARTS = ("v2.docker.manifestList", "v2.docker.manifest", "v1.oci.index", "v1.oci.manifest")
"""The part that is filled, by `type`."""

IMAGE_TYPES = (1, 3)
"""Values of `type` of an image manifest."""


def _by_folded_name(*names: str) -> dict[str, str]:
    return {folded(name): name for name in names}


_HOLDER = _by_folded_name("type", "imageUrl", "bytes", "created", "pulled", *PARTS)
_DOCUMENT = _by_folded_name("schemaVersion", "config", "layers", "manifests")
_DESCRIPTOR = _by_folded_name("digest", "size")

# The grammar of the OCI image specification, and the lengths of the algorithms it knows.
_DIGEST = re.compile(r"([a-z0-9]+(?:[+._-][a-z0-9]+)*):([A-Za-z0-9=_-]+)").fullmatch
_HEX = re.compile(r"[0-9a-f]+").fullmatch
_HEX_CHARS = {"sha256": 64, "sha384": 96, "sha512": 128, "blake3": 64}


class References(NamedTuple):
    """What a part of a holder, or an upstream document, refers to.

    Digests and sizes are as in `ManifestRecord`. `has_array` says whether there is an array of
    layers or manifests, if only an empty one.
    """

    digests: str
    sizes: list[int]
    has_array: bool


def read_with_care(content: bytes | bytearray | memoryview) -> tuple[ManifestRecord, bytes | None]:
    """Reads a ManifestHolder as the server does, and the upstream document in it, if any.

    Raises:
        ManifestError: Go refuses it, or it is not certain what the server takes it for.
    """
    if not content:
        raise CutOffError("empty")
    fault: Exception | None = None
    try:
        record, upstream, has_array = _read(orjson.loads(content))
        if has_array:
            return record, upstream
    except orjson.JSONDecodeError as error:
        fault = error
    # Of two members of one name, orjson shows the last: there may be an array before a null.
    try:
        holder = loads(bytes(content))
    except ValueError as error:
        raise CutOffError(f"not valid JSON: {fault or error}") from None
    record, upstream, has_array = _read(holder)
    if not has_array:
        _make_sure_that_it_is_empty(record, upstream)
    return record, upstream


def references(kind: int, document: object) -> References:
    """What a document refers to, as the server reads it.

    The kind is the `type` of its holder. The document is a part of it, or the upstream document.

    Raises:
        ManifestError: It is no such document, or that is not certain.
    """
    if not isinstance(document, dict):
        raise ManifestError(f"{PARTS[kind]} is not an object")
    found = members(document, _DOCUMENT)
    return _blobs(found) if kind in IMAGE_TYPES else _children(found)


def upstream_references(kind: int, upstream: bytes) -> References:
    """What an upstream document refers to, as the server reads it.

    Raises:
        ManifestError: As for `references`, or it is no JSON.
    """
    try:
        document = loads(upstream)
    except ValueError as error:
        raise ManifestError(f"not valid JSON: {error}") from None
    return references(kind, document)


def decoded(encoded: object) -> bytes | None:
    """The upstream document of a holder's `bytes`, in base64; None if there is none."""
    if type(encoded) is not str:
        return None
    try:
        # Go passes over the ends of lines (RFC 2045).
        whole = encoded.replace("\r", "").replace("\n", "")
        return binascii.a2b_base64(whole, strict_mode=True)
    except ValueError:
        return None


def _read(holder: object) -> tuple[ManifestRecord, bytes | None, bool]:
    if not isinstance(holder, dict):
        raise ManifestError("not a JSON object")
    found = members(holder, _HOLDER)
    kind = found.get("type")
    if type(kind) is not int or not 0 <= kind < len(PARTS):
        raise ManifestError(f"unknown manifest type {shown(kind)}")
    url = found.get("imageUrl")
    if type(url) is not str:
        raise ManifestError("imageUrl is not a string")
    if _as_text(url) is None:
        raise ManifestError("imageUrl is not valid text")
    digests, sizes, has_array = references(kind, found.get(PARTS[kind]))
    created, pulled = _as_text(found.get("created")), _as_text(found.get("pulled"))
    record = ManifestRecord(kind, url, created or "", pulled or "", digests, sizes)
    return record, decoded(found.get("bytes")), has_array


def _as_text(value: object) -> str | None:
    """A string that can be written again; None if it isn't one, or not all of it is text."""
    if type(value) is not str:
        return None
    try:
        value.encode()
    except UnicodeEncodeError:
        return None
    return value


def _make_sure_that_it_is_empty(record: ManifestRecord, upstream: bytes | None) -> None:
    what = "layers" if record.kind in IMAGE_TYPES else "manifests"
    if upstream is None:
        raise ManifestError(f"no array of {what}, and no bytes that tell whether there are any")
    try:
        said = upstream_references(record.kind, upstream)
    except ManifestError as error:
        raise ManifestError(f"no array of {what}, and its bytes don't tell: {error}") from None
    if said.digests != record.digests:
        raise ManifestError(f"no array of {what}, but its bytes refer to some")


def _blobs(found: dict[str, Any]) -> References:
    config = found.get("config")
    if not isinstance(config, dict):
        raise ManifestError("an image without a config descriptor")
    layers, has_array = _array(found, "layers")
    if not has_array and "manifests" in found:
        raise ManifestError("an image without an array of layers, but with manifests")
    digests, sizes = [], []
    for descriptor in [*layers, config]:
        digest, size = _digest_and_size(descriptor, "a layer or config descriptor")
        # For a blob of another algorithm, nothing tells the name of its file.
        if _algorithm(digest) != "sha256":
            raise ManifestError(f"not a sha256 digest: {digest[:80]!r}")
        digests.append(digest)
        if type(size) is not int or abs(size) > LARGEST_INT64:
            raise ManifestError(f"not a size: {shown(size)}")
        sizes.append(size)
    return References("\n".join(digests), sizes, has_array)


def _children(found: dict[str, Any]) -> References:
    manifests, has_array = _array(found, "manifests")
    if not has_array:
        version = found.get("schemaVersion")
        # A part that was never filled has the version 0; what has blobs is no list.
        if type(version) is not int or not version or "config" in found or "layers" in found:
            raise ManifestError("a list without an array of manifests")
    digests = []
    for descriptor in manifests:
        digest, _ = _digest_and_size(descriptor, "a descriptor in manifests")
        algorithm = _algorithm(digest)
        if not algorithm:
            raise ManifestError(f"not a sha256 digest: {digest[:80]!r}")
        # The server caches no manifest by a digest of another algorithm.
        if algorithm == "sha256":
            digests.append(digest)
    return References("\n".join(digests), [], has_array)


def _array(found: dict[str, Any], name: str) -> tuple[list[Any], bool]:
    array = found.get(name)
    if array is not None and type(array) is not list:
        raise ManifestError(f"{name} is not an array")
    return array or [], array is not None


def _digest_and_size(descriptor: object, what: str) -> tuple[str, Any]:
    found = members(descriptor, _DESCRIPTOR) if isinstance(descriptor, dict) else {}
    digest = found.get("digest")
    if type(digest) is not str:
        raise ManifestError(f"{what} has no digest")
    # The server leaves a size of zero out of a Docker descriptor.
    return digest, found.get("size", 0)


def _algorithm(digest: str) -> str:
    """The algorithm of a digest; empty if it is malformed."""
    match = _DIGEST(digest)
    if match is None:
        return ""
    algorithm, encoded = match.groups()
    chars = _HEX_CHARS.get(algorithm)
    if chars is not None and (len(encoded) != chars or _HEX(encoded) is None):
        return ""
    return str(algorithm)
