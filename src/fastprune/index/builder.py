"""IndexBuilder: merges what workers read into a `CacheIndex`.

Stage: index. Input: names of files, `MergedShard`s in any order. Output: `CacheIndex`.
Pure: no I/O.

The index is the same whatever shards it was merged from; only the pools, which rows point into, are
in order of arrival.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastprune.index.arrays import Pool, starts_of, sums_of
from fastprune.index.attached import with_attached
from fastprune.index.blob_references import BlobReferences
from fastprune.index.cache_index import CacheIndex
from fastprune.index.children import Children
from fastprune.index.digests import Digests, DigestTable, as_digests
from fastprune.index.listed_rows import ListedRows
from fastprune.index.merging import MergedShard, some_rows
from fastprune.index.recalled import Recalled
from fastprune.index.remembered import COLUMNS
from fastprune.index.remembered_rows import RememberedRows, heads
from fastprune.index.remembering import Outcome, without_edges, without_odd_sized
from fastprune.layouts.layout import Layout
from fastprune.model import is_hex_name
from fastprune.reading.marks import IDENTITY_BYTES, FileSizes
from fastprune.reading.shards import ABSENT, UrlForm

_EXPECTED_URL_BYTES = 100
_EXPECTED_BLOBS = 16
_BITS_IN_BYTE = 8


class IndexBuilder:
    """Merges shards, in any order, into a `CacheIndex`."""

    def __init__(
        self,
        root: str,
        scanned_at: float,
        names: Sequence[bytes | memoryview],
        pattern_sets: tuple[tuple[str, ...], ...],
        *,
        layout: Layout,
        edges: bool,
        remember: bool = False,
        ordered: Digests | None = None,
    ) -> None:
        """Makes room for all manifests.

        The `names` in each manifest folder are raw digests; see `ListedRows`. An index that is to
        be remembered is made of shards with edges and identities.
        """
        self._root, self._layout, self._scanned_at = root, layout, scanned_at
        self._pattern_sets, self._edges = pattern_sets, edges or remember
        self._remember, self._strip = remember, remember and not edges
        self._listed = listed = ListedRows(names, ordered)
        rows = listed.starts[-1]
        self._columns: dict[str, NDArray[Any]] = {
            "kinds": np.full(rows, ABSENT, dtype=np.uint8),
            "digest_urls": np.zeros(rows, dtype=np.bool_),
            "own_digest_urls": np.zeros(rows, dtype=np.bool_),
            "url_starts": np.zeros(rows, dtype=np.int64),
            "url_lengths": np.zeros(rows, dtype=np.uint32),
            "created": np.zeros(rows, dtype=np.int64),
            "pulled": np.zeros(rows, dtype=np.int64),
            # The smallest type with a bit for each pattern set.
            "url_matches": np.zeros(
                rows if pattern_sets else 0,
                dtype=np.uint8 if len(pattern_sets) <= _BITS_IN_BYTE else np.uint32,
            ),
            "file_sizes": np.zeros(rows, dtype=np.uint32),
            "declared": np.zeros(0 if edges else rows, dtype=np.int64),
            "blob_starts": np.zeros(rows if self._edges else 0, dtype=np.uint32),
            "blob_counts": np.zeros(rows if self._edges else 0, dtype=np.uint32),
            "identities": np.zeros((rows if remember else 0, IDENTITY_BYTES), dtype=np.uint8),
        }
        self._read = np.zeros(rows if remember else 0, dtype=np.bool_)
        self._gone = 0
        self._keeps_declared = not edges
        self._url_pool = Pool(np.uint8, rows * _EXPECTED_URL_BYTES)
        self._blobs = BlobReferences(rows * _EXPECTED_BLOBS if self._edges else 0)
        self._children = Children(
            listed.tables,
            listed.starts[:-1],
            expected=rows if self._edges else 0,
            keeps_strangers=remember,
        )
        self._odd_times: dict[int, tuple[str, str]] = {}
        self._mismatches: dict[int, str] = {}

    def rows_of(self, folder: int, positions: slice | list[int]) -> NDArray[np.int32]:
        """The rows of the names at some positions in a folder's listing."""
        return self._listed.positions[folder][positions]

    def digest_of(self, row: int) -> bytes:
        """The file name of a row, as raw bytes."""
        name: bytes = self._listed.digests[row].tobytes()
        return name

    def set_blobs(self, blobs: DigestTable) -> None:
        """Takes the names in blobs/, once; shards may have been added before."""
        self._blobs.set_blobs(blobs)

    def add(self, shard: MergedShard, rows: NDArray[np.int32]) -> None:
        """Takes the rows of a shard; `rows` is int32: the row of each of its files."""
        if self._listed.has_twice:
            new = self._first_reads(shard, rows)
            if len(new) < len(rows):
                shard, rows = some_rows(shard, new), rows[new]
        columns = self._columns
        columns["kinds"][rows] = shard.kinds
        columns["digest_urls"][rows] = shard.url_forms != UrlForm.TAG
        columns["own_digest_urls"][rows] = shard.url_forms == UrlForm.OWN_DIGEST
        columns["url_lengths"][rows] = shard.url_lengths
        columns["url_starts"][rows] = len(self._url_pool) + starts_of(shard.url_lengths)
        self._url_pool.append(shard.url_bytes)
        columns["file_sizes"][rows] = shard.file_sizes
        columns["created"][rows] = shard.created
        columns["pulled"][rows] = shard.pulled
        if self._keeps_declared:
            columns["declared"][rows] = shard.declared
        if self._pattern_sets:
            columns["url_matches"][rows] = shard.url_matches
        for row, which, written in shard.odd_times:
            created, pulled = self._odd_times.get(at := int(rows[row]), ("", ""))
            self._odd_times[at] = (created, written) if which else (written, pulled)
        self._mismatches |= {int(rows[row]): reason for row, reason in shard.mismatches}
        if self._edges:
            columns["blob_starts"][rows] = self._blobs.starts(shard.blob_counts)
            columns["blob_counts"][rows] = shard.blob_counts
            self._blobs.add(shard.blob_refs, shard.blob_digests, shard.blob_sizes, shard.odd_sized)
            self._children.add(rows[shard.parents], shard.children)
        if self._remember:
            columns["identities"][rows] = shard.identities
            self._read[rows] = True

    def set_matches(
        self, rows: NDArray[np.int32], read: Sequence[int], matches: array[int]
    ) -> None:
        """Takes which pattern sets match the URLs of rows that were not read again.

        `read` are the positions of those that were read again. `matches` is uint32 for each of the
        others: see `ShardIndex.url_matches`.
        """
        if self._pattern_sets:
            rest = np.delete(rows, read) if len(read) else rows
            # A name that is listed twice may have been read again by the other chunk.
            still = ~self._read[rest]
            found = np.frombuffer(matches, dtype=np.uint32)
            self._columns["url_matches"][rest[still]] = found[still]

    def add_remembered(self, recalled: Recalled) -> None:
        """Takes the rows of a remembered scan that were not read again, after all others."""
        scan = recalled.scan
        rows = recalled.rows_in(self._listed.positions)
        kept = np.flatnonzero(rows >= 0)
        self._gone = len(rows) - len(kept)
        kept = kept[~self._read[rows[kept]]]
        known = RememberedRows(scan, kept)
        # Then the columns are taken as they are mapped: to copy them would take memory and time.
        whole = recalled.has_same_names and known.are_all
        if not whole:
            # The workers have what they compare. What is copied below is not needed again.
            scan.forget(*COLUMNS)
        at, columns = rows[kept], self._columns

        def put(name: str, values: NDArray[Any]) -> None:
            if whole:
                columns[name] = values.astype(columns[name].dtype, copy=False)
            else:
                columns[name][at] = values

        for name in ("kinds", "created", "pulled", "identities", "url_lengths"):
            put(name, known.column(name))
        forms = known.column("url_forms")
        put("digest_urls", forms != UrlForm.TAG)
        put("own_digest_urls", forms == UrlForm.OWN_DIGEST)
        put("file_sizes", known.file_sizes())
        put("url_starts", len(self._url_pool) + starts_of(known.column("url_lengths")))
        if whole:
            self._url_pool.adopt(scan.column("url_pool"))
        else:
            for piece in known.urls():
                self._url_pool.append(piece)
            scan.forget("identities", "created", "pulled", "url_pool")
        self._odd_times |= {int(rows[row]): odd for row, odd in known.odd_times()}
        counts = known.blob_counts()
        put("blob_starts", self._blobs.starts(counts))
        put("blob_counts", counts)
        if self._keeps_declared:
            sizes = scan.column("blob_sizes")
            for some, ids in known.references():
                columns["declared"][at[some]] = sums_of(sizes[ids], counts[some])
        self._add_remembered_edges(recalled, known, rows)

    def _add_remembered_edges(
        self, recalled: Recalled, known: RememberedRows, rows: NDArray[np.int64]
    ) -> None:
        scan = recalled.scan
        sizes, digests = scan.column("blob_sizes"), scan.column("blob_digests")
        whole = recalled.has_same_names and known.are_all
        if whole and recalled.is_same[-1]:
            self._blobs.adopt(scan.column("blob_ids"), sizes, digests)
        else:
            new_ids = recalled.blob_ids(self._blobs.table)
            pieces = (ids for _, ids in known.references())
            self._blobs.take_remembered(pieces, new_ids, sizes, digests)
        parents, children = known.children()
        if whole:
            self._children.adopt(parents, children)
        elif recalled.has_same_names:
            self._children.add_rows(rows[parents], rows[children])
        else:
            # A child may have gone, or have come to the other folder.
            self._children.add(rows[parents], scan.column("digests")[children])
        if not whole:
            scan.forget("blob_ids", "blob_digests", "blob_sizes", "digests")
        self._children.add_strangers_later(lambda: known.strangers(rows))

    def _first_reads(self, shard: MergedShard, rows: NDArray[np.int32]) -> NDArray[np.intp]:
        """Positions of the rows that were not read before, each once.

        A manifest that was merged twice would count its references twice. Of two readings in
        one shard, one that succeeded counts.
        """
        failed = shard.kinds == ABSENT
        order = np.argsort(failed, kind="stable")
        _, first = np.unique(rows[order], return_index=True)
        first = order[first]
        return np.sort(first[self._columns["kinds"][rows[first]] == ABSENT])

    def unsized_blobs(self) -> bytes:
        """The names of the present blobs whose size no descriptor gives, raw."""
        return self._blobs.unsized()

    def set_sizes(self, parts: Iterable[FileSizes]) -> None:
        """Takes the sizes of the files that `unsized_blobs` names."""
        self._blobs.set_sizes(parts)

    def finish(
        self,
        faults: Iterable[tuple[str, str]],
        foreign: Iterable[str],
        vanished: int,
        *,
        unknown: Iterable[str] = (),
    ) -> CacheIndex:
        """Makes the index; the arguments become its attributes. The builder is used up then."""
        foreign = tuple(sorted(foreign))
        blobs = self._blobs.finish(_blobs_among(foreign, self._layout.blob_folder))
        parents, children = self._children.pairs()
        digests = self._listed.digests
        renumbered: NDArray[np.int32] | None = None
        twins = self._listed.twins() if self._edges else np.empty(0, dtype=np.int32)
        keep = self._columns["kinds"] != ABSENT
        starts = tuple(self._listed.starts)
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
                lost = heads(self._listed.digests[children[~present]])
                self._children.add_strangers(parents[~present], lost)
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
            blob_ids=blobs.ids,
            blob_digests=blobs.digests,
            blobs_present=blobs.present,
            blob_sizes=blobs.sizes,
            faults=tuple(sorted(faults)),
            foreign=foreign,
            foreign_blobs=blobs.foreign,
            unknown=frozenset(unknown),
            vanished=vanished,
            mismatches=mismatches,
            known=None,
            **self._columns,
        )
        if self._remember:
            identities = without_odd_sized(index, blobs.odd_sized)
            self._outcome = Outcome(
                index=replace(index, identities=identities),
                strangers=partial(self._children.strangers, renumbered),
                unread=tuple(
                    self._listed.digests[first:last][~keep[first:last]]
                    for first, last in pairwise(self._listed.starts)
                ),
                newly_known=int(identities[self._read[keep]].any(axis=1).sum()),
                gone=self._gone,
            )
        if self._strip:
            return without_edges(index)
        return with_attached(index) if self._edges else index

    def outcome(self) -> Outcome:
        """What is to be remembered, after `finish`."""
        return self._outcome


def _blobs_among(foreign: Iterable[str], blob_folder: str) -> Digests:
    """The names of blobs that have a link or the like instead of a file."""
    split = (path.split("/", 1) for path in foreign)
    names = [name for folder, name in split if folder == blob_folder]
    return as_digests(b"".join(bytes.fromhex(name) for name in names if is_hex_name(name)))
