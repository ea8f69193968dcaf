"""MergedShard: what was read of many manifests, as the builder of an index takes it.

Stage: index. Input: `ShardIndex`es. Output: a `MergedShard`, cheap to send. Pure: no I/O.

This is the larger part of merging, and none of it needs to know the rest of the cache: times become
numbers, and each blob is named once, however many images refer to it. So a worker can do it, and
the process that builds the index looks up a fraction of the digests, in sorted order. Which shards
are merged together makes no difference to the index.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastprune.index.arrays import marked, positions_in, starts_of
from fastprune.index.digests import Digests, as_digests, told_apart
from fastprune.index.times import BAD_TIME, Times, parse_times
from fastprune.reading.marks import IDENTITY_BYTES
from fastprune.reading.shard_rows import joined_shards
from fastprune.reading.shards import TIME_CHARS, Fault, Mismatch, ShardIndex

OddTimes = tuple[tuple[int, int, str], ...]


@dataclass(frozen=True, slots=True, eq=False)
class MergedShard:
    """Flat columns of n manifest files, a row per file that was asked for.

    Attributes:
        chunk: The number of the piece of work.
        kinds: uint8 (n,): `ABSENT` where there is a fault.
        url_forms: uint8 (n,): values of `UrlForm`.
        url_bytes: uint8: see `ShardIndex`.
        url_lengths: uint32 (n,): bytes of these.
        created: int64 (n,): see `fastprune.index.times`.
        pulled: The same.
        odd_times: Triples of row, column (0 created, 1 pulled) and the text of each malformed time.
        url_matches: uint32 (n,): see `ShardIndex`; empty without patterns.
        file_sizes: uint32 (n,): bytes of the file.
        declared: int64 (n,): sum of the sizes of an image's descriptors, else 0.
        blob_counts: uint32 (n,): to how many blobs an image refers, else 0; empty without edges.
        blob_refs: uint32: which they are, row after row: positions in `blob_digests`.
        blob_digests: uint8 (m, 32): the blobs that are referred to, sorted, each once.
        blob_sizes: int64 (m,): the largest size that a descriptor gives.
        odd_sized: bool (m,): whether descriptors give several sizes.
        parents: uint32: the row of a list, for each of its children.
        children: uint8 (k, 32): the child.
        faults: What could not be read.
        mismatches: The files that do not match their names, if that was asked for.
        identities: uint8 (n, `IDENTITY_BYTES`): see `ShardIndex`; no rows if not asked for.
    """

    chunk: int
    kinds: NDArray[np.uint8]
    url_forms: NDArray[np.uint8]
    url_bytes: NDArray[np.uint8]
    url_lengths: NDArray[np.uint32]
    created: Times
    pulled: Times
    odd_times: OddTimes
    url_matches: NDArray[np.uint32]
    file_sizes: NDArray[np.uint32]
    declared: NDArray[np.int64]
    blob_counts: NDArray[np.uint32]
    blob_refs: NDArray[np.uint32]
    blob_digests: Digests
    blob_sizes: NDArray[np.int64]
    odd_sized: NDArray[np.bool_]
    parents: NDArray[np.uint32]
    children: Digests
    faults: tuple[Fault, ...]
    mismatches: tuple[Mismatch, ...]
    identities: NDArray[np.uint8]


def merge_shards(shards: Sequence[ShardIndex]) -> MergedShard:
    """Merges shards, in this order, to one with the chunk number of the first.

    There is at least one; all with edges or all without, and of the same pattern sets.
    """
    shard = joined_shards(shards)
    kinds = np.frombuffer(shard.kinds, dtype=np.uint8)
    counts = np.frombuffer(shard.digest_counts, dtype=np.uint32)
    digests = as_digests(shard.digests)
    is_image = (kinds[: len(counts)] & 1) == 1
    # `compress` copies rows several times as fast as an index does.
    of_image = np.repeat(is_image, counts)
    blobs, refs, order, starts = told_apart(digests.compress(of_image, axis=0))
    sizes = np.frombuffer(shard.sizes, dtype=np.int64).take(order)
    # `reduceat` gives an element for an empty piece as well.
    largest = np.maximum.reduceat(sizes, starts) if len(starts) else sizes
    smallest = np.minimum.reduceat(sizes, starts) if len(starts) else sizes
    lists = np.flatnonzero(~is_image).astype(np.uint32)
    created, pulled, odd_times = _times(shard)
    return MergedShard(
        chunk=shard.chunk,
        kinds=kinds,
        url_forms=np.frombuffer(shard.url_forms, dtype=np.uint8),
        url_bytes=np.frombuffer(shard.url_bytes, dtype=np.uint8),
        url_lengths=np.frombuffer(shard.url_lengths, dtype=np.uint32),
        created=created,
        pulled=pulled,
        odd_times=odd_times,
        url_matches=np.frombuffer(shard.url_matches, dtype=np.uint32),
        file_sizes=np.frombuffer(shard.file_sizes, dtype=np.uint32),
        declared=np.frombuffer(shard.declared, dtype=np.int64),
        blob_counts=np.where(is_image, counts, np.uint32(0)),
        blob_refs=refs,
        blob_digests=blobs,
        blob_sizes=largest,
        odd_sized=largest != smallest,
        parents=np.repeat(lists, counts[lists]),
        children=digests.compress(~of_image, axis=0),
        faults=shard.faults,
        mismatches=shard.mismatches,
        identities=np.frombuffer(shard.identities, dtype=np.uint8).reshape(-1, IDENTITY_BYTES),
    )


def _times(shard: ShardIndex) -> tuple[Times, Times, OddTimes]:
    """The times of a shard as numbers, and the texts of those that are malformed."""
    texts = shard.created, shard.pulled
    columns = tuple(map(parse_times, texts))
    odd = list(shard.odd_times)
    for row, which, _ in odd:
        columns[which][row] = BAD_TIME
    told = {(row, which) for row, which, _ in odd}
    for which, (text, times) in enumerate(zip(texts, columns, strict=True)):
        for row in np.flatnonzero(times == BAD_TIME).tolist():
            if (row, which) not in told:
                written = text[row * TIME_CHARS : (row + 1) * TIME_CHARS].decode("ascii")
                odd.append((row, which, written))
    created, pulled = columns
    return created, pulled, tuple(odd)


def some_rows(shard: MergedShard, rows: NDArray[np.integer]) -> MergedShard:
    """Some rows of a merged shard, ascending, without the faults.

    What it says of the size of a blob is what all rows say.
    """
    places = {row: place for place, row in enumerate(rows.tolist())}
    kept = marked(rows, len(shard.kinds))

    def column(values: NDArray[Any]) -> NDArray[Any]:
        return values[rows] if len(values) else values

    refs = shard.blob_refs.compress(np.repeat(kept[: len(shard.blob_counts)], shard.blob_counts))
    named, refs = np.unique(refs, return_inverse=True)
    children = kept[shard.parents]
    parents = np.cumsum(kept, dtype=np.uint32)[shard.parents[children]] - np.uint32(1)
    urls = positions_in(starts_of(shard.url_lengths)[rows], shard.url_lengths[rows])
    return MergedShard(
        chunk=shard.chunk,
        kinds=shard.kinds[rows],
        url_forms=shard.url_forms[rows],
        url_bytes=shard.url_bytes[urls],
        url_lengths=shard.url_lengths[rows],
        created=shard.created[rows],
        pulled=shard.pulled[rows],
        odd_times=tuple(
            (places[row], which, text) for row, which, text in shard.odd_times if row in places
        ),
        url_matches=column(shard.url_matches),
        file_sizes=shard.file_sizes[rows],
        declared=shard.declared[rows],
        blob_counts=column(shard.blob_counts),
        blob_refs=refs.astype(np.uint32),
        blob_digests=shard.blob_digests[named],
        blob_sizes=shard.blob_sizes[named],
        odd_sized=shard.odd_sized[named],
        parents=parents,
        children=shard.children[children],
        faults=(),
        mismatches=tuple(
            odd._replace(row=places[odd.row]) for odd in shard.mismatches if odd.row in places
        ),
        identities=column(shard.identities),
    )
