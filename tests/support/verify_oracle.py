"""What `verify` must find: a slow model of dicts and sets, written from the documentation.

It reads the whole cache, and imports nothing from fastprune.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from .cachebuilder import digest_of
from .oracle import Manifest, is_digest_url, load, references, upstream_in


class Found(NamedTuple):
    """The expected findings; paths are relative to the cache.

    Attributes:
        unreadable: Manifests that can't be understood.
        mismatched: Manifests that are not what their names stand for.
        broken: Images and the missing blobs that they need.
        resized: Blobs of another size and content.
        altered: Blobs of another content.
        misdeclared: Blobs that are whole, but not of the size that a descriptor gives.
        orphans: Blobs that nothing refers to.
        dangling: Untagged images that no list refers to; None if that can't be known.
        foreign: What does not belong to the cache.
    """

    unreadable: frozenset[str]
    mismatched: frozenset[str]
    broken: frozenset[tuple[str, str]]
    resized: frozenset[str]
    altered: frozenset[str]
    misdeclared: frozenset[str]
    orphans: frozenset[str]
    dangling: frozenset[str] | None
    foreign: frozenset[str]

    @property
    def is_clean(self) -> bool:
        """Whether none of the findings is damage."""
        damage = (self.unreadable, self.mismatched, self.broken, self.resized, self.altered)
        return not any(damage)


def expected_findings(root: Path, *, content: bool) -> Found:
    """Finds everything that `verify` must find.

    Args:
        root: The cache.
        content: Whether every blob is read, not only those of an odd size.
    """
    cache = load(root)
    mismatched = {
        path
        for path, one in cache.manifests.items()
        if not _is_true(one, (root / path).read_bytes())
    }
    doubtful = [
        (root / path).read_bytes() for path in (mismatched | set(cache.corrupt)) - cache.unknown
    ]
    claimed = {digest for one in doubtful for digest in _digests_in(one)}
    images = [one for one in cache.manifests.values() if not one.is_list]
    sound = [one for one in images if one.path not in mismatched]
    needed = {digest for one in images for digest in one.blobs}
    needed_by_sound = {digest for one in sound for digest in one.blobs}
    largest: dict[str, int] = {}
    for one in cache.manifests.values():
        for digest, size in zip(one.blobs, one.sizes, strict=True):
            largest[digest] = max(size, largest.get(digest, 0))
    wrong_size = {
        digest
        for digest, size in cache.blobs.items()
        if digest in needed and size != largest[digest]
    }
    altered = {
        digest
        for digest in cache.blobs
        if digest_of((root / "blobs" / digest).read_bytes()) != digest
        and (content or digest in wrong_size)
    }
    children = {digest for one in cache.manifests.values() for digest in one.children}
    return Found(
        unreadable=frozenset(cache.corrupt),
        mismatched=frozenset(mismatched),
        broken=frozenset(
            (one.path, f"blobs/{digest}")
            for one in sound
            for digest in one.blobs
            if digest not in cache.there
        ),
        resized=_blob_paths(altered & wrong_size),
        altered=_blob_paths(altered - wrong_size),
        misdeclared=_blob_paths((wrong_size - altered) & needed_by_sound),
        orphans=_blob_paths(set(cache.blobs) - needed - claimed),
        dangling=None
        if cache.corrupt
        else frozenset(
            one.path
            for one in images
            if is_digest_url(one.url) and one.digest not in children | claimed
        ),
        foreign=cache.foreign,
    )


def found_in(document: dict[str, Any]) -> Found:
    """The findings in the JSON document of `verify`."""

    def paths(key: str) -> frozenset[str]:
        return frozenset(item["path"] for item in document[key])

    def blobs(key: str) -> frozenset[str]:
        return frozenset(_blob_path(item["digest"]) for item in document[key])

    return Found(
        unreadable=paths("unreadable"),
        mismatched=paths("mismatched"),
        broken=frozenset(
            (item["path"], _blob_path(digest))
            for item in document["broken"]
            for digest in item["missing"]
        ),
        resized=blobs("resized"),
        altered=blobs("altered"),
        misdeclared=blobs("misdeclared"),
        orphans=blobs("orphans"),
        dangling=None if document["dangling"] is None else paths("dangling"),
        foreign=frozenset(document["foreign"]),
    )


def _is_true(one: Manifest, content: bytes) -> bool:
    """Whether a manifest matches its name."""
    kind, upstream = upstream_in(content)
    if upstream is None or digest_of(upstream) != one.digest:
        return False
    try:
        return references(kind, upstream) == (one.blobs, one.children, one.sizes)
    except Exception:
        return False


def _digests_in(content: bytes) -> set[str]:
    """Everything that looks like a digest in a damaged manifest, or in the document in it."""
    texts = [content]
    for encoded in re.findall(rb'"bytes":"([A-Za-z0-9+/]+)', content):
        texts.append(binascii.a2b_base64(encoded[: len(encoded) - len(encoded) % 4]))
    pattern = re.compile(rb"sha256:([0-9a-f]{64})")
    return {digest.decode() for text in texts for digest in pattern.findall(text)}


def _blob_path(digest: str) -> str:
    return f"blobs/{digest.removeprefix('sha256:')}"


def _blob_paths(digests: Iterable[str]) -> frozenset[str]:
    return frozenset(map(_blob_path, digests))
