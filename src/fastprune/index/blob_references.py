"""BlobReferences: what images refer to, as positions in one table of blobs.

Stage: index. Input: the blobs of merged shards, names of files. Output: `ReferredBlobs`.
Pure: no I/O.

A reference to a blob that has a file is an id at once. On a cold disk most references come before
the folder of blobs is listed; they wait. Those to missing blobs get numbers behind all others, and
their ids in the end.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastprune.index.arrays import Pool, marked, starts_of
from fastprune.index.cache_index import UNKNOWN_SIZE
from fastprune.index.digests import Digests, DigestTable, as_digests
from fastprune.model import DIGEST_BYTES
from fastprune.reading.marks import FileSizes


class _Named(NamedTuple):
    """What a shard refers to: see `BlobReferences.add`."""

    refs: NDArray[np.uint32]
    digests: Digests
    sizes: NDArray[np.int64]
    odd_sized: NDArray[np.bool_]


class ReferredBlobs(NamedTuple):
    """The blobs of a cache, and the references to them; see `CacheIndex` for their columns.

    `odd_sized`, bool (m,), says whether descriptors give several sizes. `foreign` are the ids of
    missing blobs that have something else by their name, ascending.
    """

    ids: NDArray[np.uint32]
    digests: Digests
    present: int
    sizes: NDArray[np.int64]
    odd_sized: NDArray[np.bool_]
    foreign: NDArray[np.intp]


class BlobReferences:
    """Collects references to blobs, row after row."""

    def __init__(self, expected: int) -> None:
        """Holds none."""
        self._table: DigestTable | None = None
        self._unresolved: list[_Named] = []
        self._count = 0
        self._ids = Pool(np.uint32, expected)
        # A missing blob is here once for each shard that names it.
        self._missing = bytearray()
        self._missing_sizes: list[NDArray[np.int64]] = []
        self._missing_odd: list[NDArray[np.bool_]] = []
        self._sizes = np.empty(0, dtype=np.int64)
        self._odd_sized = np.empty(0, dtype=np.bool_)
        self._adopted: tuple[Digests, NDArray[np.int64]] | None = None

    @property
    def table(self) -> DigestTable:
        """The names of the blobs that have a file; empty if they were not listed."""
        if self._table is None:
            self.set_blobs(DigestTable.from_unsorted(as_digests(b"")))
        assert self._table is not None
        return self._table

    def set_blobs(self, blobs: DigestTable) -> None:
        """Takes the names in the folder of blobs, once; references may have come before."""
        self._table = blobs
        self._sizes = np.full(len(blobs), UNKNOWN_SIZE, dtype=np.int64)
        self._odd_sized = np.zeros(len(blobs), dtype=np.bool_)
        for named in self._unresolved:
            self._take(named, blobs)
        self._unresolved.clear()

    def starts(self, counts: NDArray[np.integer]) -> NDArray[np.int64]:
        """Where the references of images begin that come next, each with so many."""
        starts = self._count + starts_of(counts)
        self._count += int(counts.sum())
        return starts

    def add(
        self,
        refs: NDArray[np.uint32],
        digests: Digests,
        sizes: NDArray[np.int64],
        odd_sized: NDArray[np.bool_],
    ) -> None:
        """Takes references: columns of a `MergedShard`."""
        named = _Named(refs, digests, sizes, odd_sized)
        if self._table is None:
            self._unresolved.append(named)
        else:
            self._take(named, self._table)

    def _take(self, named: _Named, table: DigestTable) -> None:
        ids = table.find(named.digests)
        sizes, odd = named.sizes, named.odd_sized
        missing = ids < 0
        if bool(missing.any()):
            ids[missing] = self._numbers_of_missing(
                named.digests[missing], sizes[missing], odd[missing]
            )
            present = ~missing
            _raise_to(self._sizes, ids[present], sizes[present], self._odd_sized)
            self._odd_sized[ids[present & odd]] = True
        else:
            _raise_to(self._sizes, ids, sizes, self._odd_sized)
            self._odd_sized[ids[odd]] = True
        self._ids.append(ids.astype(np.uint32).take(named.refs))

    def _numbers_of_missing(
        self, digests: Digests, sizes: NDArray[np.int64], odd_sized: NDArray[np.bool_]
    ) -> NDArray[np.int64]:
        first = len(self.table) + len(self._missing) // DIGEST_BYTES
        self._missing += digests.tobytes()
        self._missing_sizes.append(sizes)
        self._missing_odd.append(odd_sized)
        return np.arange(first, first + len(digests))

    def take_remembered(
        self,
        pieces: Iterable[NDArray[np.uint32]],
        new_ids: NDArray[np.integer],
        sizes: NDArray[np.int64],
        digests: Digests,
    ) -> None:
        """Takes references to the blobs of a remembered scan, when the folder of blobs is known.

        They are positions in the other arguments, which give for each remembered blob its id (-1 if
        it is missing), what its descriptors say, and its digest. All that refer to a blob there
        give it the same size. So each blob is looked at once, however many references there are.
        """
        is_named = np.zeros(len(new_ids), dtype=np.bool_)
        ids = new_ids.astype(np.int64)
        missing = np.flatnonzero(new_ids < 0)
        if len(missing):
            # Those that nothing refers to any more are left out in the end.
            none_odd = np.zeros(len(missing), dtype=np.bool_)
            ids[missing] = self._numbers_of_missing(digests[missing], sizes[missing], none_odd)
        for remembered in pieces:
            is_named[remembered] = True
            self._ids.append(ids.take(remembered).astype(np.uint32))
        named = np.flatnonzero(is_named & (new_ids >= 0))
        _raise_to(self._sizes, new_ids[named], sizes[named], self._odd_sized)

    def adopt(self, ids: NDArray[np.uint32], sizes: NDArray[np.int64], digests: Digests) -> None:
        """Takes all references at once, of the same manifests and blobs as in a finished index.

        The arguments are as in `ReferredBlobs`, but `sizes` are those by descriptors. They may be
        read only.
        """
        present = len(self.table)
        self._ids.adopt(ids)
        self._sizes = sizes[:present].copy()
        self._adopted = digests, sizes[present:]

    def unsized(self) -> bytes:
        """The names of the present blobs whose size no descriptor gives, raw."""
        names: bytes = self.table.digests[self._sizes == UNKNOWN_SIZE].tobytes()
        return names

    def set_sizes(self, parts: Iterable[FileSizes]) -> None:
        """Takes the sizes of the files that `unsized` names."""
        unsized = np.flatnonzero(self._sizes == UNKNOWN_SIZE)
        for first, sizes, _ in parts:
            self._sizes[unsized[first : first + len(sizes)]] = sizes

    def finish(self, foreign: Digests) -> ReferredBlobs:
        """Gives the result; nothing can be added afterwards.

        `foreign` are the names in the folder of blobs that are no regular files.
        """
        present, ids = self.table, self._ids.array()
        digests, sizes, odd_sized = present.digests, self._sizes, self._odd_sized
        foreign_ids = np.empty(0, dtype=np.intp)
        if self._adopted is not None:
            digests, missing_sizes = self._adopted
            foreign_ids = _positions(foreign, DigestTable(digests[len(present) :])) + len(present)
            sizes = np.concatenate([sizes, missing_sizes])
            odd_sized = np.zeros(len(digests), dtype=np.bool_)
        elif self._missing:
            numbers = np.flatnonzero(ids >= len(present))
            named = ids[numbers] - np.uint32(len(present))
            is_named = marked(named, len(self._missing) // DIGEST_BYTES)
            some = as_digests(self._missing).compress(is_named, axis=0)
            missing = DigestTable.from_unsorted(some)
            final = np.zeros(len(is_named), dtype=np.uint32)
            final[is_named] = found = missing.find(some)
            ids[numbers] = final.take(named) + np.uint32(len(present))
            declared = np.concatenate(self._missing_sizes)[is_named]
            missing_sizes = np.full(len(missing), UNKNOWN_SIZE, dtype=np.int64)
            np.maximum.at(missing_sizes, found, declared)
            smallest = missing_sizes.copy()
            np.minimum.at(smallest, found, declared)
            odd = smallest != missing_sizes
            odd[found[np.concatenate(self._missing_odd)[is_named]]] = True
            foreign_ids = _positions(foreign, missing) + len(present)
            digests = np.concatenate([digests, missing.digests])
            sizes = np.concatenate([sizes, missing_sizes])
            odd_sized = np.concatenate([odd_sized, odd])
        return ReferredBlobs(ids, digests, len(present), sizes, odd_sized, foreign_ids)


def _positions(some: Digests, table: DigestTable) -> NDArray[np.intp]:
    """Where those of some digests are that a table has, ascending."""
    found = table.find(some)
    return np.sort(found[found >= 0]).astype(np.intp)


def _raise_to(
    sizes: NDArray[np.int64],
    ids: NDArray[np.integer],
    declared: NDArray[np.int64],
    odd: NDArray[np.bool_],
) -> None:
    """Raises sizes[ids] to the declared ones where these are larger; notes where they differ.

    Each id is there once.
    """
    before = sizes.take(ids)
    sizes[ids] = np.maximum(before, declared)
    differ = (before != declared) & (before != UNKNOWN_SIZE)
    if bool(differ.any()):
        odd[ids[differ]] = True
