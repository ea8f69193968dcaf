"""CacheIndex: what is in a cache, as columns; and the builder that merges shards into it.

Stage: index. Input: names of files, `ShardIndex`es in any order. Output: `CacheIndex`.
Pure: no I/O.

Rows of manifests are ordered by folder (img, then lts) and digest, blobs by digest with
the present ones first. So the index is the same whatever shards it was merged from; only
the pools, which rows point into, are in order of arrival.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import accumulate, pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastprune.digests import Digests, DigestTable, as_digests, sort_order
from fastprune.layouts import ociregistry
from fastprune.model import DIGEST_BYTES, DIGEST_PREFIX
from fastprune.pools import Pool
from fastprune.shards import ABSENT, TIME_CHARS, ShardIndex, UrlForm
from fastprune.tasks import FileSizes, file_names
from fastprune.times import BAD_TIME, Times, format_times, parse_times

Rows = NDArray[np.intp]
"""Positions of manifests or blobs."""

_EXPECTED_URL_BYTES = 100
_BEFORE_DIGEST = "@" + DIGEST_PREFIX
_EXPECTED_BLOBS = 16
_PIECE = 1 << 16
_PARENT_SHIFT = 32
_BITS_IN_BYTE = 8

UNKNOWN_SIZE = -1
"""Stands for the size of a blob that no descriptor gives."""


@dataclass(frozen=True, slots=True, eq=False)
class CacheIndex:
    """What was in a cache when it was scanned. Immutable; n manifests, m blobs.

    Attributes:
        root: Path of the cache.
        scanned_at: Seconds since the epoch when the scan began.
        folder_starts: First row of each manifest folder, and n.
        digests: uint8 (n, 32): the file names.
        kinds: uint8 (n,): values of `ManifestKind`.
        digest_urls: bool (n,): whether the URL is a digest URL.
        own_digest_urls: bool (n,): whether the digest in it is that of the row. It isn't in
            the pool then, nor is the `@` before it: in most caches that halves the pool.
        url_pool: uint8: all URLs in UTF-8, in no particular order.
        url_starts: int64 (n,): where a row's URL begins in the pool.
        url_lengths: uint32 (n,): bytes of it there.
        created: int64 (n,): see `fastprune.times`.
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
        blob_starts: uint32 (n,): where a row's blobs begin in `blob_ids`.
        blob_counts: uint32 (n,): how many there are.
        blob_ids: uint32 (e,): positions in `blob_digests`, with repetitions.
        blob_digests: uint8 (m, 32): first the present blobs, sorted, then the missing.
        blobs_present: How many blobs have a file.
        blob_sizes: int64 (m,): bytes: the largest size that a descriptor gives, or for
            an orphan that of its file.
        faults: Manifest files that can't be read or understood: path and reason, sorted.
            They have no row.
        foreign: Paths in the three folders that are not cached files, sorted.
        vanished: How many manifest files were gone when they were to be read.
        mismatches: Rows whose files are not what their names stand for, and why; empty
            unless that was asked for.
    """

    root: str
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
        own = np.flatnonzero(self.own_digest_urls[rows])
        for first in range(0, len(own), _PIECE):
            piece = own[first : first + _PIECE]
            names = file_names(self.digests[rows[piece]].tobytes())
            for at, name in zip(piece.tolist(), names, strict=True):
                urls[at] += _BEFORE_DIGEST + name
        return urls

    def folder(self, row: int) -> str:
        """The folder that a row's file is in."""
        return ociregistry.manifest_folders[0 if row < self.folder_starts[1] else 1]

    def path(self, row: int) -> str:
        """The path of a row's file, relative to the cache."""
        return f"{self.folder(row)}/{self.digests[row].tobytes().hex()}"

    @property
    def present_digests(self) -> Digests:
        """The names of the blobs that have a file: uint8 (`blobs_present`, 32), sorted."""
        return self.blob_digests[: self.blobs_present]

    def blob_name(self, blob: int) -> str:
        """The name of a blob's file: its digest in hex."""
        name: str = self.blob_digests[blob].tobytes().hex()
        return name

    def blob_names(self, blobs: Rows) -> Iterator[str]:
        """The names of the files of many blobs, one after the other."""
        for first in range(0, len(blobs), _PIECE):
            yield from file_names(self.blob_digests[blobs[first : first + _PIECE]].tobytes())

    def known_sizes(self, blobs: NDArray[np.integer] | slice) -> NDArray[np.int64]:
        """Bytes of some blobs, as of `blob_sizes`; 0 where the size is not known."""
        return np.maximum(self.blob_sizes[blobs], 0)

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


class IndexBuilder:
    """Merges shards, in any order, into a `CacheIndex`."""

    def __init__(
        self,
        root: str,
        scanned_at: float,
        names: Sequence[bytes],
        pattern_sets: tuple[tuple[str, ...], ...],
        *,
        edges: bool,
    ) -> None:
        """Makes room for all manifests.

        Args:
            root: Path of the cache.
            scanned_at: When the scan began.
            names: For each manifest folder, its file names as raw digests.
            pattern_sets: What the shards' `url_matches` mean.
            edges: Whether references between manifests and blobs are kept.
        """
        self._root, self._scanned_at = root, scanned_at
        self._pattern_sets, self._edges = pattern_sets, edges
        self._tables: list[DigestTable] = []
        self._positions: list[NDArray[np.int32]] = []
        starts = list(accumulate((len(raw) // DIGEST_BYTES for raw in names), initial=0))
        self._starts = starts
        self._digests = np.empty((starts[-1], DIGEST_BYTES), dtype=np.uint8)
        for raw, (first, last) in zip(names, pairwise(starts), strict=True):
            listed = as_digests(raw)
            order = sort_order(listed)
            positions = np.empty(len(order), dtype=np.int32)
            positions[order] = np.arange(first, last, dtype=np.int32)
            self._positions.append(positions)
            np.take(listed, order, axis=0, out=self._digests[first:last])
            self._tables.append(DigestTable(self._digests[first:last]))
        self._blobs: DigestTable | None = None
        # Blobs that were referred to before the listing of blobs/ was whole. On a cold disk
        # that may be most of them: as pools, their memory goes back when they are resolved.
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
            "blob_starts": np.zeros(rows if edges else 0, dtype=np.uint32),
            "blob_counts": np.zeros(rows if edges else 0, dtype=np.uint32),
        }
        self._url_pool = Pool(np.uint8, rows * _EXPECTED_URL_BYTES)
        self._blob_ids = Pool(np.uint32, rows * _EXPECTED_BLOBS if edges else 0)
        self._missing = bytearray()
        self._missing_at: list[NDArray[np.int64]] = []
        self._missing_sizes: list[NDArray[np.int64]] = []
        # Parent and child in one number each, which sorts as the pair does.
        self._child_pairs = Pool(np.int64, rows if edges else 0)
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
        digests = self._unresolved[0].array().reshape(-1, DIGEST_BYTES)
        sizes = self._unresolved[1].array()
        for first in range(0, len(sizes), _PIECE):
            piece = slice(first, first + _PIECE)
            self._resolve(self._blobs, digests[piece], sizes[piece])
        self._unresolved = (Pool(np.uint8, 0), Pool(np.int64, 0))

    def add(self, shard: ShardIndex, rows: NDArray[np.int32]) -> None:
        """Merges a shard.

        Args:
            shard: What was read.
            rows: int32: the row of each of its files.
        """
        columns = self._columns
        lengths = np.frombuffer(shard.url_lengths, dtype=np.uint32)
        columns["kinds"][rows] = np.frombuffer(shard.kinds, dtype=np.uint8)
        forms = np.frombuffer(shard.url_forms, dtype=np.uint8)
        columns["digest_urls"][rows] = forms != UrlForm.TAG
        columns["own_digest_urls"][rows] = forms == UrlForm.OWN_DIGEST
        columns["url_lengths"][rows] = lengths
        columns["url_starts"][rows] = len(self._url_pool) + _starts(lengths)
        self._url_pool.append(np.frombuffer(shard.url_bytes, dtype=np.uint8))
        columns["file_sizes"][rows] = np.frombuffer(shard.file_sizes, dtype=np.uint32)
        if not self._edges:
            columns["declared"][rows] = np.frombuffer(shard.declared, dtype=np.int64)
        if self._pattern_sets:
            columns["url_matches"][rows] = np.frombuffer(shard.url_matches, dtype=np.uint32)
        self._add_times(shard, rows)
        self._mismatches |= {int(rows[row]): reason for row, reason in shard.mismatches}
        if self._edges:
            self._add_edges(shard, rows)

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
        self._columns["blob_starts"][image_rows] = self._references + _starts(image_counts)
        self._columns["blob_counts"][image_rows] = image_counts
        self._references += int(image_counts.sum())
        blobs, sizes = digests[of_image], np.frombuffer(shard.sizes, dtype=np.int64)
        if self._blobs is None:
            self._unresolved[0].append(blobs.reshape(-1))
            self._unresolved[1].append(sizes)
        else:
            self._resolve(self._blobs, blobs, sizes)
        parents = np.repeat(rows[~is_image], counts[~is_image])
        children = digests[~of_image]
        for table, first in zip(self._tables, self._starts[:-1], strict=True):
            found = table.find(children)
            cached = found >= 0
            heads = parents[cached].astype(np.int64)
            self._child_pairs.append((heads << _PARENT_SHIFT) | (found[cached] + first))

    def _resolve(self, blobs: DigestTable, digests: Digests, sizes: NDArray[np.int64]) -> None:
        """Turns references into ids; those of missing blobs are left for the end."""
        ids = blobs.find(digests)
        missing = np.flatnonzero(ids < 0)
        if len(missing):
            self._missing_at.append(missing + len(self._blob_ids))
            self._missing += digests[missing].tobytes()
            self._missing_sizes.append(sizes[missing])
            present = ids >= 0
            _raise_to(self._blob_sizes, ids[present], sizes[present])
        else:
            _raise_to(self._blob_sizes, ids, sizes)
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
        for first, sizes in parts:
            self._blob_sizes[unsized[first : first + len(sizes)]] = sizes

    def finish(
        self, faults: Iterable[tuple[str, str]], foreign: Iterable[str], vanished: int
    ) -> CacheIndex:
        """Makes the index; the builder is of no use afterwards.

        Args:
            faults: Path and reason of every file that can't be read or understood.
            foreign: Paths of what is no cached file.
            vanished: How many files were gone when they were to be read.
        """
        if self._blobs is None:
            self.set_blobs(DigestTable.from_unsorted(as_digests(b"")))
        assert self._blobs is not None
        blob_ids = self._blob_ids.array()
        blob_digests, blob_sizes = self._blobs.digests, self._blob_sizes
        if self._missing_at:
            table = DigestTable.from_unsorted(as_digests(self._missing))
            ids = table.find(as_digests(self._missing))
            missing_sizes = np.full(len(table), UNKNOWN_SIZE, dtype=np.int64)
            _raise_to(missing_sizes, ids, np.concatenate(self._missing_sizes))
            blob_ids[np.concatenate(self._missing_at)] = len(blob_digests) + ids
            blob_digests = np.concatenate([blob_digests, table.digests])
            blob_sizes = np.concatenate([blob_sizes, missing_sizes])
        parents, children = self._sorted_children()
        digests = self._digests
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
            # A row without a manifest is no parent: nothing was read of it.
            present = keep[children]
            parents, children = renumbered[parents[present]], renumbered[children[present]]
            if self._edges:
                twins = twins[keep]
                twins = np.where(twins >= 0, renumbered[twins], twins).astype(np.int32)
            odd_times = {int(renumbered[row]): odd for row, odd in odd_times.items()}
            mismatches = {int(renumbered[row]): why for row, why in mismatches.items()}
        return CacheIndex(
            root=self._root,
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
            blob_ids=blob_ids,
            blob_digests=blob_digests,
            blobs_present=len(self._blobs),
            blob_sizes=blob_sizes,
            faults=tuple(sorted(faults)),
            foreign=tuple(sorted(foreign)),
            vanished=vanished,
            mismatches=mismatches,
            **self._columns,
        )

    def _sorted_children(self) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        pairs = self._child_pairs.array()
        pairs.sort()
        # A list may name a child twice, for two platforms; once is enough here.
        first = np.ones(len(pairs), dtype=bool)
        first[1:] = pairs[1:] != pairs[:-1]
        pairs = pairs[first]
        parents = (pairs >> _PARENT_SHIFT).astype(np.int32)
        return parents, (pairs & ((1 << _PARENT_SHIFT) - 1)).astype(np.int32)

    def _twins(self) -> NDArray[np.int32]:
        first, second = self._tables
        twins = np.full(self._starts[-1], -1, dtype=np.int32)
        found = first.find(second.digests)
        here = np.flatnonzero(found >= 0)
        twins[here + self._starts[1]] = found[here]
        twins[found[here]] = here + self._starts[1]
        return twins


def _bits(pattern_sets: Sequence[object]) -> type[np.uint8 | np.uint32]:
    """The smallest type with a bit for each pattern set."""
    return np.uint8 if len(pattern_sets) <= _BITS_IN_BYTE else np.uint32


def _starts(lengths: NDArray[np.uint32]) -> NDArray[np.int64]:
    """Where pieces of these lengths begin if they are laid end to end."""
    ends = np.cumsum(lengths, dtype=np.int64)
    return ends - lengths


def _raise_to(
    sizes: NDArray[np.int64], ids: NDArray[np.int64], declared: NDArray[np.int64]
) -> None:
    """Raises sizes[ids] to the declared ones where these are larger."""
    sizes[ids] = np.maximum(sizes[ids], declared)
    # Where one id has several sizes, the assignment kept any one of them.
    if bool((sizes[ids] < declared).any()):
        np.maximum.at(sizes, ids, declared)
