"""CacheIndex: what is in a cache, as columns.

Stage: index. A value, which `fastprune.index.builder` makes. Pure: no I/O.

Rows of manifests are ordered by folder, as the layout names them, and digest; blobs by
digest with the present ones first.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastprune.errors import fault_items
from fastprune.index.arrays import distinct, pieces
from fastprune.index.digests import Digests, DigestTable
from fastprune.index.server_urls import KnownUrls, OtherTags
from fastprune.index.times import BAD_TIME, Times, format_times
from fastprune.layouts.layout import Layout
from fastprune.model import DIGEST_PREFIX, file_names
from fastprune.reading.marks import IDENTITY_BYTES, NO_IDENTITY

Rows = NDArray[np.intp]
"""Positions of manifests or blobs."""

_BEFORE_DIGEST = "@" + DIGEST_PREFIX
_PIECE = 1 << 16

UNKNOWN_SIZE = -1
"""Stands for the size of a blob that no descriptor gives."""


def _no_rows() -> Rows:
    return np.empty(0, dtype=np.intp)


def _no_identities() -> NDArray[np.uint8]:
    return np.empty((0, IDENTITY_BYTES), dtype=np.uint8)


@dataclass(frozen=True, slots=True, eq=False)
class CacheIndex:
    """What was in a cache when it was scanned. Immutable; n manifests, m blobs.

    Attributes:
        root: Path of the cache.
        layout: What kind of cache it is.
        scanned_at: Seconds since the epoch when the scan began.
        folder_starts: First row of each manifest folder, and n.
        digests: uint8 (n, 32): the file names.
        kinds: uint8 (n,): values of `ManifestKind`.
        digest_urls: bool (n,): whether the URL is a digest URL.
        own_digest_urls: bool (n,): whether the digest in the URL is that of the row. The pool
            then leaves out `@` and the digest: in most caches that halves the pool.
        url_pool: uint8: all URLs in UTF-8, in no particular order.
        url_starts: int64 (n,): where a row's URL begins in the pool.
        url_lengths: uint32 (n,): bytes of it there.
        created: int64 (n,): see `fastprune.index.times`.
        pulled: int64 (n,): the same.
        odd_times: Malformed times as they were written: row -> (created, pulled).
        pattern_sets: The patterns that `url_matches` speaks of.
        url_matches: uint8 or uint32 (n,): bit k says that pattern set k matches the URL.
        file_sizes: uint32 (n,): bytes of the file.
        declared: int64 (n,): bytes of an image by its descriptors, 0 for a list; empty
            where the edges tell (`refcounts.image_bytes`).
        has_edges: Whether the columns below were asked for; they are empty if not.
        twins: int32 (n,): the row with the same digest in the other folder, or -1.
        child_parents: int32 (c,): rows of lists, each with ...
        child_rows: int32 (c,): ... the row of a cached child; sorted by parent, then child.
        part_parents: int32 (p,): the same, and images and lists with ...
        part_rows: int32 (p,): ... a manifest whose tag belongs to them (see
            `fastprune.index.attached`).
        attached: bool (n,): whether a row carries such a tag of an image that is cached.
        blob_starts: uint32 (n,): where a row's blobs begin in `blob_ids`.
        blob_counts: uint32 (n,): how many there are.
        blob_ids: uint32 (e,): positions in `blob_digests`, with repetitions.
        blob_digests: uint8 (m, 32): first the present blobs, sorted, then the missing.
        blobs_present: How many blobs have a file.
        blob_sizes: int64 (m,): bytes: the largest size that a descriptor gives, or for
            an orphan that of its file.
        faults: Manifest files that can't be read or understood: path and reason, sorted.
            They have no row.
        unknown: The paths of those faults that could not be read, or are no regular files:
            they may be sound. The content of the others is broken.
        foreign: Paths in the folders that are not cached files, sorted. Those in the
            folders of manifests that are named as manifests are faults as well.
        foreign_blobs: The ids of blobs that have no regular file, but a link or the like by
            their name: they are foreign, and not missing. Ascending.
        vanished: How many manifest files were gone when they were to be read.
        mismatches: Rows whose files do not match their names, and why; empty unless that was
            asked for.
        identities: uint8 (n, `IDENTITY_BYTES`): the identity of each file before it was read (see
            `fastprune.reading.identities`); (0, `IDENTITY_BYTES`) if that was not asked for.
        linked_manifests: Rows of files with other hard links, so that removing them frees
            nothing, ascending. A scan does not look for them: see `with_links`.
        linked_blobs: The same of blobs: ids.
        known: By which URLs a running server knows the manifests; None if none was asked.
    """

    root: str
    layout: Layout
    scanned_at: float
    folder_starts: tuple[int, ...]
    digests: Digests
    kinds: NDArray[np.uint8]
    digest_urls: NDArray[np.bool_]
    own_digest_urls: NDArray[np.bool_]
    url_pool: NDArray[np.uint8]
    url_starts: NDArray[np.int64]
    url_lengths: NDArray[np.uint32]
    created: Times
    pulled: Times
    odd_times: dict[int, tuple[str, str]]
    pattern_sets: tuple[tuple[str, ...], ...]
    url_matches: NDArray[np.uint8] | NDArray[np.uint32]
    file_sizes: NDArray[np.uint32]
    declared: NDArray[np.int64]
    has_edges: bool
    twins: NDArray[np.int32]
    child_parents: NDArray[np.int32]
    child_rows: NDArray[np.int32]
    part_parents: NDArray[np.int32]
    part_rows: NDArray[np.int32]
    attached: NDArray[np.bool_]
    blob_starts: NDArray[np.uint32]
    blob_counts: NDArray[np.uint32]
    blob_ids: NDArray[np.uint32]
    blob_digests: Digests
    blobs_present: int
    blob_sizes: NDArray[np.int64]
    faults: tuple[tuple[str, str], ...]
    foreign: tuple[str, ...]
    vanished: int
    mismatches: dict[int, str] = field(default_factory=dict)
    linked_manifests: Rows = field(default_factory=_no_rows)
    linked_blobs: Rows = field(default_factory=_no_rows)
    unknown: frozenset[str] = frozenset()
    foreign_blobs: Rows = field(default_factory=_no_rows)
    identities: NDArray[np.uint8] = field(default_factory=_no_identities)
    known: KnownUrls | None = None

    def __len__(self) -> int:
        return len(self.kinds)

    @property
    def is_list(self) -> NDArray[np.bool_]:
        """Whether a row is a list or index, not an image."""
        even: NDArray[np.bool_] = (self.kinds & 1) == 0
        return even

    def url_bytes(self, row: int) -> bytes:
        """The image URL of a row, in UTF-8."""
        start = int(self.url_starts[row])
        pooled = self.url_pool[start : start + int(self.url_lengths[row])].tobytes()
        if not self.own_digest_urls[row]:
            return pooled
        return pooled + f"{_BEFORE_DIGEST}{self.digests[row].tobytes().hex()}".encode()

    def url(self, row: int) -> str:
        """The image URL of a row."""
        return self.url_bytes(row).decode()

    def urls(self, rows: Rows) -> list[str]:
        """The image URLs of many rows."""
        pool = self.url_pool.data
        starts = self.url_starts[rows]
        ends = (starts + self.url_lengths[rows]).tolist()
        urls = [
            str(pool[start:end], "utf-8") for start, end in zip(starts.tolist(), ends, strict=True)
        ]
        for piece in pieces(np.flatnonzero(self.own_digest_urls[rows]), _PIECE):
            names = file_names(self.digests[rows[piece]].tobytes())
            for at, name in zip(piece.tolist(), names, strict=True):
                urls[at] += _BEFORE_DIGEST + name
        return urls

    @property
    def others(self) -> OtherTags | None:
        """The tags that only a running server knows; None if there are none, or none was asked."""
        return self.known.others if self.known and len(self.known.others) else None

    def belongs(self, row: int) -> bool:
        """Whether any tag of a manifest, as of a signature, belongs to an image that is cached."""
        if self.attached[row]:
            return True
        others = self.others
        return others is not None and bool(others.attached[others.of(row)].any())

    def folder(self, row: int) -> str:
        """The folder that a row's file is in."""
        return self.layout.manifest_folders[bisect_right(self.folder_starts, row, 1) - 1]

    @property
    def folder_rows(self) -> Iterator[tuple[str, int, int]]:
        """Each manifest folder, with its first row and the one after its last."""
        rows = pairwise(self.folder_starts)
        for folder, (first, last) in zip(self.layout.manifest_folders, rows, strict=True):
            yield folder, first, last

    def rows_of(self, folders: NDArray[np.uint8], digests: Digests) -> Rows:
        """The rows of files, by positions in `manifest_folders` and names; -1 without a row."""
        rows = np.full(len(digests), -1, dtype=np.intp)
        for folder, (first, last) in enumerate(pairwise(self.folder_starts)):
            here = np.flatnonzero(folders == folder)
            found = DigestTable(self.digests[first:last]).find(digests[here])
            rows[here] = np.where(found >= 0, found + first, -1)
        return rows

    def path(self, row: int) -> str:
        """The path of a row's file, relative to the cache."""
        return f"{self.folder(row)}/{self.digests[row].tobytes().hex()}"

    def known_identities(self, rows: Rows) -> list[bytes]:
        """The identities of the files of some rows; `NO_IDENTITY` for one that is not known."""
        if not len(self.identities):
            return [NO_IDENTITY] * len(rows)
        return [identity.tobytes() for identity in self.identities[rows]]

    @property
    def present_digests(self) -> Digests:
        """The names of the blobs that have a file: uint8 (`blobs_present`, 32), sorted."""
        return self.blob_digests[: self.blobs_present]

    @property
    def missing_blobs(self) -> Rows:
        """Ids of the blobs that manifests refer to and that are not there in any form."""
        # np.setdiff1d would import numpy.ma, which takes as long as a scan of some thousand files.
        missing = np.arange(self.blobs_present, len(self.blob_digests))
        return np.delete(missing, self.foreign_blobs - self.blobs_present)

    @property
    def fault_items(self) -> list[dict[str, Any]]:
        """The unreadable manifests as JSON documents name them."""
        return fault_items(self.faults, self.unknown)

    def blob_name(self, blob: int) -> str:
        """The name of a blob's file: its digest in hex."""
        name: str = self.blob_digests[blob].tobytes().hex()
        return name

    def blob_names(self, blobs: Rows) -> Iterator[str]:
        """The names of the files of many blobs, one after the other."""
        for some in pieces(blobs, _PIECE):
            yield from file_names(self.blob_digests[some].tobytes())

    def known_sizes(self, blobs: NDArray[np.integer] | slice) -> NDArray[np.int64]:
        """Bytes of some blobs, as in `blob_sizes`; 0 where the size is not known."""
        return np.maximum(self.blob_sizes[blobs], 0)

    @property
    def has_links(self) -> bool:
        """Whether any file is known to have other names."""
        return bool(len(self.linked_manifests) or len(self.linked_blobs))

    def with_links(self, manifests: Rows, blobs: Rows) -> CacheIndex:
        """The index with more files that are known to have other names: rows and ids."""
        if not len(manifests) and not len(blobs):
            return self
        return replace(
            self,
            linked_manifests=distinct(np.concatenate([self.linked_manifests, manifests])),
            linked_blobs=distinct(np.concatenate([self.linked_blobs, blobs])),
        )

    def with_linked_blobs(self, linked: NDArray[np.bool_]) -> CacheIndex:
        """`with_links` for blobs by a mask: which of the present blobs have other names."""
        return self.with_links(self.linked_manifests, np.flatnonzero(linked))

    def as_freed(self) -> CacheIndex:
        """The index with the bytes that come free as sizes: none of files with other names."""
        if not self.has_links:
            return self
        file_sizes, blob_sizes = self.file_sizes.copy(), self.blob_sizes.copy()
        file_sizes[self.linked_manifests] = blob_sizes[self.linked_blobs] = 0
        return replace(self, file_sizes=file_sizes, blob_sizes=blob_sizes)

    def created_texts(self, rows: Rows) -> list[str]:
        """`created` of some rows, as written (cut to `ODD_TIME_CHARS` if malformed)."""
        return self._time_texts(self.created, 0, rows)

    def pulled_texts(self, rows: Rows) -> list[str]:
        """`pulled` of some rows, in the same way."""
        return self._time_texts(self.pulled, 1, rows)

    def _time_texts(self, times: Times, column: int, rows: Rows) -> list[str]:
        texts = format_times(times[rows])
        if self.odd_times:
            for place in np.flatnonzero(times[rows] == BAD_TIME).tolist():
                texts[place] = self.odd_times[int(rows[place])][column]
        return texts
