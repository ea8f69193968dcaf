"""Tags that belong to an image: signatures, attestations, SBOMs and other referrers.

Stage: index. Input: a `CacheIndex`. Output: the same with `part_parents`, `part_rows` and
`attached`. Pure, no I/O.

cosign tags signatures, attestations and SBOMs `sha256-<hex>.sig`, `.att` and `.sbom`, in the
repository of their image and with its digest. The referrers tag schema of the OCI distribution
specification ("Referrers Tag Schema"), which notation and others use, is `sha256-<hex>` alone.
Such a tag is no version: it is a part of the image, as a child is a part of its list.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace
from itertools import chain, count, pairwise, repeat
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastprune.index.arrays import distinct, marked, paired, unpaired
from fastprune.index.cache_index import CacheIndex, Rows
from fastprune.index.digests import DigestTable, as_digests
from fastprune.text.references import familiar_repository

_TAG = re.compile(r"sha(?:256|384|512)-[0-9a-f]{64,}(?:\.[A-Za-z0-9_.-]+)?")
# A cache holds only sha256 digests, so tags with other algorithms name no cached image.
_BEFORE_HEX = b":sha256-"
_NAMING = re.compile(_BEFORE_HEX + rb"[0-9a-f]{64}")
_HEX_CHARS = 64


def names_a_digest(tag: str) -> bool:
    """Whether a tag is of the form that belongs to an image, cached or not."""
    return _TAG.fullmatch(tag) is not None


def with_attached(index: CacheIndex) -> CacheIndex:
    """Finds the tags that belong to cached images, also among those that only a server knows.

    A tag belongs to the image whose digest it names if that is cached in the same repository.
    It may be cached under another repository as well, in the other folder: that is the same
    image, so the tag stays as long as either file does. The index was scanned with edges.
    """
    named = _named(index)
    rows, repositories, digests = named.rows, named.repositories, bytes(named.digests)
    copies: dict[int, list[int]] = {}
    belonging: set[int] = set()
    for first, last in pairwise(index.folder_starts):
        found = DigestTable(index.digests[first:last]).find(as_digests(digests))
        at = np.flatnonzero(found >= 0)
        there = (found[at] + first).astype(np.intp)
        # The URL of the file, and those that a server knows.
        known = [[]] * len(there) if index.known is None else index.known.urls_of(there)
        urls = zip(index.urls(there), known, strict=True)
        for place, row, (url, others) in zip(at.tolist(), there.tolist(), urls, strict=True):
            if row != rows[place]:
                copies.setdefault(place, []).append(row)
                carried = map(_repository, (url, *others))
                if repositories[place] in map(familiar_repository, carried):
                    belonging.add(place)
    subjects = [row for place in belonging for row in copies[place]]
    tags = [rows[place] for place in belonging for _ in copies[place]]
    if not tags:
        return index
    shown, listed = named.shown, index.known
    carriers = [rows[place] for place in belonging if place < shown]
    attached = marked(np.array(carriers, dtype=np.intp), len(index))
    if listed is not None:
        unseen = [named.others[place - shown] for place in belonging if place >= shown]
        are_attached = marked(np.array(unseen, dtype=np.intp), len(listed.others))
        listed = replace(listed, others=replace(listed.others, attached=are_attached))
    # A list may also refer to a manifest with such a tag: one edge is enough.
    pairs = distinct(
        np.concatenate(
            [
                paired(index.child_parents, index.child_rows),
                paired(np.array(subjects, dtype=np.int32), np.array(tags, dtype=np.int32)),
            ]
        )
    )
    parents, parts = unpaired(pairs)
    return replace(
        index,
        part_parents=parents.astype(np.int32),
        part_rows=parts.astype(np.int32),
        attached=attached,
        known=listed,
    )


class _Named(NamedTuple):
    """The tags of the form that belongs to an image, each with the manifest that carries it.

    Attributes:
        rows: The manifests.
        repositories: Their repositories.
        digests: The digests that the tags name, 32 raw bytes each.
        shown: How many of them files show. They come first.
        others: For each that only a server knows, its position among the `OtherTags`.
    """

    rows: list[int]
    repositories: list[str]
    digests: bytearray
    shown: int
    others: list[int]


def _named(index: CacheIndex) -> _Named:
    """The manifests with such a tag."""
    places = np.array(
        [one.start() for one in _NAMING.finditer(index.url_pool.data)], dtype=np.int64
    )
    rows: list[int] = []
    repositories: list[str] = []
    digests, others = bytearray(), list[int]()
    carriers, unseen = _carriers(index, places), index.others
    known: Iterable[tuple[int, str, int | None]] = ()
    if unseen is not None:
        known = zip(unseen.rows.tolist(), unseen.urls, count(), strict=False)
    shown = zip(carriers.tolist(), index.urls(carriers), repeat(None), strict=False)
    for row, url, at in chain(shown, known):
        if subject := _subject(url):
            rows.append(row)
            repositories.append(subject[0])
            digests += subject[1]
            if at is not None:
                others.append(at)
    return _Named(rows, repositories, digests, len(rows) - len(others), others)


def _subject(url: str) -> tuple[str, bytes] | None:
    """The repository and the raw digest that a tag names; None for a tag of another form."""
    repository, _, tag = url.rpartition(":")
    if not repository or "@" in repository or not names_a_digest(tag):
        return None
    algorithm, _, rest = tag.partition("-")
    digits = rest.partition(".")[0]
    if algorithm != "sha256" or len(digits) != _HEX_CHARS:
        return None
    return familiar_repository(repository), bytes.fromhex(digits)


def _carriers(index: CacheIndex, places: NDArray[np.int64]) -> Rows:
    """The rows whose URLs hold these places of the pool."""
    if not len(places):
        return np.empty(0, dtype=np.intp)
    order = np.argsort(index.url_starts, kind="stable")
    at = np.searchsorted(index.url_starts[order], places, side="right") - 1
    return distinct(order[at])


def _repository(url: str) -> str:
    name = url.partition("@")[0]
    slash, colon = name.rfind("/"), name.rfind(":")
    # A colon before the last slash belongs to a port.
    return name[:colon] if colon > slash else name
