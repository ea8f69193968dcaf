"""IndexBuilder: merges what workers read into a `CacheIndex`.

Stage: index. Input: names of files, `ShardIndex`es in any order. Output: `CacheIndex`.
Pure: no I/O.

Every row has its place before the first shard comes. So the index is the same whatever
shards it was merged from; only the pools, which rows point into, are in order of arrival.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import accumulate, pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastprune.index.arrays import Pool, begins_run, paired, starts_of, sums_of, unpaired
from fastprune.index.attached import with_attached
from fastprune.index.cache_index import UNKNOWN_SIZE, CacheIndex
from fastprune.index.digests import Digests, DigestTable, as_digests, repeated, sort_order
from fastprune.index.recalled import Recalled
from fastprune.index.remembered_rows import RememberedRows, heads
from fastprune.index.remembering import Outcome, without_edges, without_odd_sized
from fastprune.index.times import BAD_TIME, parse_times
from fastprune.layouts.layout import Layout
from fastprune.model import DIGEST_BYTES, is_hex_name
from fastprune.reading.marks import IDENTITY_BYTES, FileSizes
from fastprune.reading.shards import (
    ABSENT,
    TIME_CHARS,
    ShardIndex,
    UrlForm,
    rows_of_shard,
)

_EXPECTED_URL_BYTES = 100
_EXPECTED_BLOBS = 16
_PIECE = 1 << 16
_BITS_IN_BYTE = 8


class IndexBuilder:
    """Merges shards, in any order, into a `CacheIndex`."""

    def __init__(
        self,
        root: str,
        scanned_at: float,
        names: Sequence[bytes],
        pattern_sets: tuple[tuple[str, ...], ...],
        *,
        layout: Layout,
        edges: bool,
        remember: bool = False,
    ) -> None:
        """Makes room for all manifests.

        Args:
            root: Path of the cache.
            scanned_at: When the scan began.
            names: For each manifest folder, its file names as raw digests.
            pattern_sets: The pattern sets of the shards' `url_matches`.
            layout: What kind of cache it is.
            edges: Whether references between manifests and blobs are kept.
            remember: Whether the index is to be remembered; the shards have edges and identities.
        """
        self._root, self._layout, self._scanned_at = root, layout, scanned_at
        self._pattern_sets, self._edges = pattern_sets, edges or remember
        self._remember, self._strip = remember, remember and not edges
        self._tables: list[DigestTable] = []
        self._positions: list[NDArray[np.int32]] = []
        self._has_twice = False
        starts = list(accumulate((len(raw) // DIGEST_BYTES for raw in names), initial=0))
        self._starts = starts
        self._digests = np.empty((starts[-1], DIGEST_BYTES), dtype=np.uint8)
        for raw, (first, last) in zip(names, pairwise(starts), strict=True):
            listed = as_digests(raw)
            order = sort_order(listed)
            np.take(listed, order, axis=0, out=self._digests[first:last])
            named = np.arange(first, last, dtype=np.int32)
            # A folder that changes while it is listed may give a name twice, and some union
            # file systems always do. Only the first row gets the manifest; the second stays
            # absent. With two rows, a file could be kept by one and removed by the other.
            for again in repeated(self._digests[first:last]).tolist():
                named[again] = named[again - 1]
                self._has_twice = True
            positions = np.empty(len(order), dtype=np.int32)
            positions[order] = named
            self._positions.append(positions)
            self._tables.append(DigestTable(self._digests[first:last]))
        self._blobs: DigestTable | None = None
        # References that came before the listing of blobs/ was whole: on a cold disk perhaps
        # most of them. Pools give their memory back when the references are resolved.
        self._unresolved = (Pool(np.uint8, 0), Pool(np.int64, 0))
        self._references = 0
        rows = starts[-1]
        self._columns: dict[str, NDArray[Any]] = {
            "kinds": np.full(rows, ABSENT, dtype=np.uint8),
            "digest_urls": np.zeros(rows, dtype=np.bool_),
            "own_digest_urls": np.zeros(rows, dtype=np.bool_),
            "url_starts": np.zeros(rows, dtype=np.int64),
            "url_lengths": np.zeros(rows, dtype=np.uint32),
            "created": np.zeros(rows, dtype=np.int64),
            "pulled": np.zeros(rows, dtype=np.int64),
            "url_matches": np.zeros(rows if pattern_sets else 0, dtype=_bits(pattern_sets)),
            "file_sizes": np.zeros(rows, dtype=np.uint32),
            "declared": np.zeros(0 if edges else rows, dtype=np.int64),
            "blob_starts": np.zeros(rows if self._edges else 0, dtype=np.uint32),
            "blob_counts": np.zeros(rows if self._edges else 0, dtype=np.uint32),
            "identities": np.zeros((rows if remember else 0, IDENTITY_BYTES), dtype=np.uint8),
        }
        self._read = np.zeros(rows if remember else 0, dtype=np.bool_)
        self._keeps_declared = not edges
        self._url_pool = Pool(np.uint8, rows * _EXPECTED_URL_BYTES)
        self._blob_ids = Pool(np.uint32, rows * _EXPECTED_BLOBS if self._edges else 0)
        self._missing = bytearray()
        self._missing_at: list[NDArray[np.int64]] = []
        self._missing_sizes: list[NDArray[np.int64]] = []
        self._child_pairs = Pool(np.int64, rows if self._edges else 0)
        # Of children that are not listed: the row of the list, and the head of the digest.
        self._strangers = (Pool(np.int32, 0), Pool(np.uint64, 0))
        # Blobs for which descriptors give several sizes.
        self._odd_sized = np.empty(0, dtype=np.bool_)
        self._odd_times: dict[int, tuple[str, str]] = {}
        self._mismatches: dict[int, str] = {}
        self._blob_sizes = np.empty(0, dtype=np.int64)

    def rows_of(self, folder: int, positions: slice | list[int]) -> NDArray[np.int32]:
        """The rows of the names at some positions in a folder's listing."""
        return self._positions[folder][positions]

    def digest_of(self, row: int) -> bytes:
        """The file name of a row, as raw bytes."""
        name: bytes = self._digests[row].tobytes()
        return name

    def set_blobs(self, blobs: DigestTable) -> None:
        """Takes the names in blobs/, once; shards may have been added before."""
        self._blobs = blobs
        self._blob_sizes = np.full(len(self._blobs), UNKNOWN_SIZE, dtype=np.int64)
        self._odd_sized = np.zeros(len(self._blobs), dtype=np.bool_)
        digests = self._unresolved[0].array().reshape(-1, DIGEST_BYTES)
        sizes = self._unresolved[1].array()
        for first in range(0, len(sizes), _PIECE):
            piece = slice(first, first + _PIECE)
            self._resolve(self._blobs, digests[piece], sizes[piece])
        self._unresolved = (Pool(np.uint8, 0), Pool(np.int64, 0))

    def add(self, shard: ShardIndex, rows: NDArray[np.int32]) -> None:
        """Merges a shard.

        Args:
            shard: The shard.
            rows: int32: the row of each of its files.
        """
        if self._has_twice:
            new = self._first_reads(rows)
            if len(new) < len(rows):
                shard, rows = rows_of_shard(shard, new.tolist()), rows[new]
        columns = self._columns
        lengths = np.frombuffer(shard.url_lengths, dtype=np.uint32)
        columns["kinds"][rows] = np.frombuffer(shard.kinds, dtype=np.uint8)
        forms = np.frombuffer(shard.url_forms, dtype=np.uint8)
        columns["digest_urls"][rows] = forms != UrlForm.TAG
        columns["own_digest_urls"][rows] = forms == UrlForm.OWN_DIGEST
        columns["url_lengths"][rows] = lengths
        columns["url_starts"][rows] = len(self._url_pool) + starts_of(lengths)
        self._url_pool.append(np.frombuffer(shard.url_bytes, dtype=np.uint8))
        columns["file_sizes"][rows] = np.frombuffer(shard.file_sizes, dtype=np.uint32)
        if self._keeps_declared:
            columns["declared"][rows] = np.frombuffer(shard.declared, dtype=np.int64)
        if self._pattern_sets:
            columns["url_matches"][rows] = np.frombuffer(shard.url_matches, dtype=np.uint32)
        self._add_times(shard, rows)
        self._mismatches |= {int(rows[row]): reason for row, reason in shard.mismatches}
        if self._edges:
            self._add_edges(shard, rows)
        if self._remember:
            identities = np.frombuffer(shard.identities, dtype=np.uint8)
            columns["identities"][rows] = identities.reshape(-1, IDENTITY_BYTES)
            self._read[rows] = True

    def set_matches(
        self, rows: NDArray[np.int32], read: Sequence[int], matches: array[int]
    ) -> None:
        """Takes which pattern sets match the URLs of rows that were not read again.

        Args:
            rows: int32: rows.
            read: Positions of those that were read again.
            matches: uint32 for each other: see `ShardIndex.url_matches`.
        """
        if self._pattern_sets:
            rest = np.delete(rows, read)
            # A name that is listed twice may have been read again by the other chunk.
            still = ~self._read[rest]
            found = np.frombuffer(matches, dtype=np.uint32)
            self._columns["url_matches"][rest[still]] = found[still]

    def add_remembered(self, recalled: Recalled) -> None:
        """Takes the rows of a remembered scan that were not read again, when all others are there.

        Args:
            recalled: What is remembered, and where its rows are now.
        """
        assert self._blobs is not None
        scan = recalled.scan
        rows = recalled.rows_in(self._positions)
        kept = np.flatnonzero(rows >= 0)
        kept = kept[~self._read[rows[kept]]]
        known = RememberedRows(scan, kept)
        at, columns = rows[kept], self._columns
        for name in ("kinds", "created", "pulled", "identities", "url_lengths"):
            columns[name][at] = known.column(name)
        forms = known.column("url_forms")
        columns["digest_urls"][at] = forms != UrlForm.TAG
        columns["own_digest_urls"][at] = forms == UrlForm.OWN_DIGEST
        columns["file_sizes"][at] = known.file_sizes()
        columns["url_starts"][at] = len(self._url_pool) + starts_of(known.column("url_lengths"))
        for piece in known.urls():
            self._url_pool.append(piece)
        self._odd_times |= {int(rows[row]): odd for row, odd in known.odd_times()}
        counts = known.blob_counts()
        columns["blob_starts"][at] = self._references + starts_of(counts)
        columns["blob_counts"][at] = counts
        self._references += int(counts.sum())
        new_ids = self._blobs.find(scan.column("blob_digests"))
        sizes, digests = scan.column("blob_sizes"), scan.column("blob_digests")
        for some, ids in known.references():
            self._take(new_ids[ids], sizes[ids], digests, ids)
            if self._keeps_declared:
                columns["declared"][at[some]] = sums_of(sizes[ids], counts[some])
        parents, children = known.children()
        if recalled.has_same_names:
            self._child_pairs.append(paired(rows[parents], rows[children]))
        else:
            # A child may have gone, or have come to the other folder.
            self._add_children(rows[parents], scan.column("digests")[children])
        of_lists, strangers = known.strangers()
        self._add_strangers(rows[of_lists], strangers)

    def _add_strangers(self, parents: NDArray[np.integer], those: NDArray[np.uint64]) -> None:
        self._strangers[0].append(parents.astype(np.int32))
        self._strangers[1].append(those)

    def _first_reads(self, rows: NDArray[np.int32]) -> NDArray[np.intp]:
        """Positions of the rows that were not read before, each once.

        A manifest that was merged twice would count its references twice.
        """
        _, first = np.unique(rows, return_index=True)
        return np.sort(first[self._columns["kinds"][rows[first]] == ABSENT])

    def _add_times(self, shard: ShardIndex, rows: NDArray[np.int32]) -> None:
        texts = (shard.created, shard.pulled)
        odd = list(shard.odd_times)
        for column, text in enumerate(texts):
            times = parse_times(text)
            for row in np.flatnonzero(times == BAD_TIME).tolist():
                written = text[row * TIME_CHARS : (row + 1) * TIME_CHARS].decode("ascii")
                odd.append((row, column, written))
            name = ("created", "pulled")[column]
            self._columns[name][rows] = times
        for row, column, written in odd:
            at = int(rows[row])
            self._columns[("created", "pulled")[column]][at] = BAD_TIME
            created, pulled = self._odd_times.get(at, ("", ""))
            self._odd_times[at] = (created, written) if column else (written, pulled)

    def _add_edges(self, shard: ShardIndex, rows: NDArray[np.int32]) -> None:
        digests = as_digests(shard.digests)
        counts = np.frombuffer(shard.digest_counts, dtype=np.uint32)
        is_image = (np.frombuffer(shard.kinds, dtype=np.uint8) & 1) == 1
        of_image = np.repeat(is_image, counts)
        image_rows, image_counts = rows[is_image], counts[is_image]
        self._columns["blob_starts"][image_rows] = self._references + starts_of(image_counts)
        self._columns["blob_counts"][image_rows] = image_counts
        self._references += int(image_counts.sum())
        blobs, sizes = digests[of_image], np.frombuffer(shard.sizes, dtype=np.int64)
        if self._blobs is None:
            self._unresolved[0].append(blobs.reshape(-1))
            self._unresolved[1].append(sizes)
        else:
            self._resolve(self._blobs, blobs, sizes)
        parents = np.repeat(rows[~is_image], counts[~is_image])
        self._add_children(parents, digests[~of_image])

    def _add_children(self, parents: NDArray[np.integer], children: Digests) -> None:
        """Takes what lists refer to: the row of each, and a digest."""
        listed = np.zeros(len(children), dtype=np.bool_)
        for table, first in zip(self._tables, self._starts[:-1], strict=True):
            found = table.find(children)
            cached = found >= 0
            listed |= cached
            self._child_pairs.append(paired(parents[cached], found[cached] + first))
        if self._remember:
            self._add_strangers(parents[~listed], heads(children[~listed]))

    def _resolve(self, blobs: DigestTable, digests: Digests, sizes: NDArray[np.int64]) -> None:
        """Turns references into ids."""
        self._take(blobs.find(digests), sizes, digests)

    def _take(
        self,
        ids: NDArray[np.int64],
        sizes: NDArray[np.int64],
        digests: Digests,
        places: NDArray[np.integer] | None = None,
    ) -> None:
        """Takes references to blobs; those of missing blobs are left for the end.

        Args:
            ids: The id of each, -1 if it is missing.
            sizes: What descriptors say.
            digests: Which digests they are ...
            places: ... and where each is among these; None for one after the other.
        """
        missing = np.flatnonzero(ids < 0)
        if len(missing):
            self._missing_at.append(missing + len(self._blob_ids))
            at = missing if places is None else places[missing]
            self._missing += digests[at].tobytes()
            self._missing_sizes.append(sizes[missing])
            present = ids >= 0
            _raise_to(self._blob_sizes, ids[present], sizes[present], self._odd_sized)
        else:
            _raise_to(self._blob_sizes, ids, sizes, self._odd_sized)
        self._blob_ids.append(ids.astype(np.uint32))

    def unsized_blobs(self) -> bytes:
        """The names of the present blobs whose size no descriptor gives, raw."""
        if self._blobs is None:
            return b""
        names: bytes = self._blobs.digests[self._blob_sizes == UNKNOWN_SIZE].tobytes()
        return names

    def set_sizes(self, parts: Iterable[FileSizes]) -> None:
        """Takes the sizes of the files that `unsized_blobs` names."""
        unsized = np.flatnonzero(self._blob_sizes == UNKNOWN_SIZE)
        for first, sizes, _ in parts:
            self._blob_sizes[unsized[first : first + len(sizes)]] = sizes

    def finish(
        self,
        faults: Iterable[tuple[str, str]],
        foreign: Iterable[str],
        vanished: int,
        *,
        unknown: Iterable[str] = (),
    ) -> CacheIndex:
        """Makes the index. The builder can't be used afterwards.

        Args:
            faults: Path and reason of every file that can't be read or understood.
            foreign: Paths that are no cached files.
            vanished: How many files were gone when they were to be read.
            unknown: Paths of the faults that may be sound.
        """
        if self._blobs is None:
            self.set_blobs(DigestTable.from_unsorted(as_digests(b"")))
        assert self._blobs is not None
        blob_ids = self._blob_ids.array()
        blob_digests, blob_sizes = self._blobs.digests, self._blob_sizes
        foreign = tuple(sorted(foreign))
        foreign_blobs = np.empty(0, dtype=np.intp)
        if self._missing_at:
            table = DigestTable.from_unsorted(as_digests(self._missing))
            ids = table.find(as_digests(self._missing))
            missing_sizes = np.full(len(table), UNKNOWN_SIZE, dtype=np.int64)
            odd = np.zeros(len(table), dtype=np.bool_)
            _raise_to(missing_sizes, ids, np.concatenate(self._missing_sizes), odd)
            self._odd_sized = np.concatenate([self._odd_sized, odd])
            blob_ids[np.concatenate(self._missing_at)] = len(blob_digests) + ids
            found = table.find(_blobs_among(foreign, self._layout.blob_folder))
            foreign_blobs = np.sort(found[found >= 0]).astype(np.intp) + len(self._blobs)
            blob_digests = np.concatenate([blob_digests, table.digests])
            blob_sizes = np.concatenate([blob_sizes, missing_sizes])
        parents, children = self._sorted_children()
        digests = self._digests
        strangers = self._strangers[0].array()
        twins = self._twins() if self._edges else np.empty(0, dtype=np.int32)
        keep = self._columns["kinds"] != ABSENT
        starts = tuple(self._starts)
        odd_times, mismatches = self._odd_times, self._mismatches
        if not keep.all():
            renumbered = np.cumsum(keep, dtype=np.int32) - np.int32(1)
            renumbered[~keep] = -1
            starts = tuple(int(keep[:start].sum()) for start in starts)
            digests = digests[keep]
            self._columns = {
                name: column[keep] if len(column) else column
                for name, column in self._columns.items()
            }
            # A row without a manifest is no parent, as it was not read.
            present = keep[children]
            if self._remember:
                lost = self._digests[children[~present]]
                self._add_strangers(parents[~present], heads(lost))
                strangers = self._strangers[0].array()
            strangers = renumbered[strangers]
            parents, children = renumbered[parents[present]], renumbered[children[present]]
            if self._edges:
                twins = twins[keep]
                twins = np.where(twins >= 0, renumbered[twins], twins).astype(np.int32)
            odd_times = {int(renumbered[row]): odd for row, odd in odd_times.items()}
            mismatches = {int(renumbered[row]): why for row, why in mismatches.items()}
        index = CacheIndex(
            root=self._root,
            layout=self._layout,
            scanned_at=self._scanned_at,
            folder_starts=starts,
            digests=digests,
            url_pool=self._url_pool.array(),
            odd_times=odd_times,
            pattern_sets=self._pattern_sets,
            has_edges=self._edges,
            twins=twins,
            child_parents=parents,
            child_rows=children,
            part_parents=parents,
            part_rows=children,
            attached=np.zeros(len(digests), dtype=bool),
            blob_ids=blob_ids,
            blob_digests=blob_digests,
            blobs_present=len(self._blobs),
            blob_sizes=blob_sizes,
            faults=tuple(sorted(faults)),
            foreign=foreign,
            foreign_blobs=foreign_blobs,
            unknown=frozenset(unknown),
            vanished=vanished,
            mismatches=mismatches,
            **self._columns,
        )
        if self._remember:
            identities = without_odd_sized(index, self._odd_sized)
            self._outcome = Outcome(
                index=replace(index, identities=identities),
                parents=strangers,
                strangers=self._strangers[1].array(),
                unread=tuple(
                    self._digests[first:last][~keep[first:last]]
                    for first, last in pairwise(self._starts)
                ),
                newly_known=int(identities[self._read[keep]].any(axis=1).sum()),
            )
        if self._strip:
            return without_edges(index)
        return with_attached(index) if self._edges else index

    def outcome(self) -> Outcome:
        """What is to be remembered, after `finish`."""
        return self._outcome

    def _sorted_children(self) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        pairs = self._child_pairs.array()
        pairs.sort()
        # A list may name a child twice, for two platforms; once is enough here.
        parents, children = unpaired(pairs[begins_run(pairs)])
        return parents.astype(np.int32), children.astype(np.int32)

    def _twins(self) -> NDArray[np.int32]:
        twins = np.full(self._starts[-1], -1, dtype=np.int32)
        if len(self._tables) == 1:
            return twins
        first, second = self._tables
        found = first.find(second.digests)
        here = np.flatnonzero(found >= 0)
        twins[here + self._starts[1]] = found[here]
        twins[found[here]] = here + self._starts[1]
        return twins


def _blobs_among(foreign: Iterable[str], blob_folder: str) -> Digests:
    """The names of blobs that have a link or the like instead of a file."""
    split = (path.split("/", 1) for path in foreign)
    names = [name for folder, name in split if folder == blob_folder]
    return as_digests(b"".join(bytes.fromhex(name) for name in names if is_hex_name(name)))


def _bits(pattern_sets: Sequence[object]) -> type[np.uint8 | np.uint32]:
    """The smallest type with a bit for each pattern set."""
    return np.uint8 if len(pattern_sets) <= _BITS_IN_BYTE else np.uint32


def _raise_to(
    sizes: NDArray[np.int64],
    ids: NDArray[np.int64],
    declared: NDArray[np.int64],
    odd: NDArray[np.bool_],
) -> None:
    """Raises sizes[ids] to the declared ones where these are larger; notes where they differ."""
    before = sizes[ids]
    sizes[ids] = np.maximum(before, declared)
    differ = (sizes[ids] != declared) | ((before != declared) & (before != UNKNOWN_SIZE))
    if bool(differ.any()):
        odd[ids[differ]] = True
        # Where one id has several sizes, the assignment kept any one of them.
        np.maximum.at(sizes, ids, declared)
