"""ShardGatherer: many small shards become few large ones before they are merged.

Stage: index. Input: `ShardIndex`es and their rows. Output: calls of `IndexBuilder.add`. Pure: no
I/O.

Merging costs about as much for a small shard as for one of some thousand rows: it is a hundred
steps on arrays. How many rows a shard has depends on the number of workers. What is joined here
is a few megabytes.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray

from fastprune.index.builder import IndexBuilder
from fastprune.reading.shards import ShardIndex

_ENOUGH_ROWS = 4_096
"""Larger shards are hardly cheaper, and their columns no longer fit the processor's cache."""


class ShardGatherer:
    """Collects shards in front of a builder, and hands them on when there are enough rows."""

    def __init__(self, builder: IndexBuilder, *, enough: int = _ENOUGH_ROWS) -> None:
        """Holds nothing yet.

        Args:
            builder: What merges them.
            enough: So many rows are handed on.
        """
        self._builder, self._enough = builder, enough
        self._shards: list[ShardIndex] = []
        self._rows: list[NDArray[np.int32]] = []
        self._count = 0

    def add(self, shard: ShardIndex, rows: NDArray[np.int32]) -> None:
        """Takes a shard.

        Args:
            shard: The shard.
            rows: int32: the row of each of its files.
        """
        self._shards.append(shard)
        self._rows.append(rows)
        self._count += len(rows)
        if self._count >= self._enough:
            self.flush()

    def flush(self) -> None:
        """Hands on all that it holds. To be called when the last shard has come."""
        if not self._shards:
            return
        shard, rows = joined_shards(self._shards), np.concatenate(self._rows)
        self._shards.clear()
        self._rows.clear()
        self._count = 0
        self._builder.add(shard, rows)


def joined_shards(shards: Sequence[ShardIndex]) -> ShardIndex:
    """Shards one after the other, as one shard: the opposite of `rows_of_shard`.

    Args:
        shards: At least one; all with edges or all without, and of the same pattern sets. Which
            files of their chunks have a row is not told any more.

    Returns:
        Their rows in order, with the chunk number of the first.
    """
    if len(shards) == 1:
        return shards[0]
    starts = list(accumulate((len(shard.kinds) for shard in shards), initial=0))
    placed = list(zip(starts, shards, strict=False))

    def pool(name: str) -> bytes:
        return b"".join([getattr(shard, name) for shard in shards])

    def column(name: str) -> array[int]:
        whole: array[int] = array(getattr(shards[0], name).typecode)
        whole.frombytes(pool(name))
        return whole

    return ShardIndex(
        chunk=shards[0].chunk,
        kinds=pool("kinds"),
        url_forms=pool("url_forms"),
        url_bytes=pool("url_bytes"),
        url_lengths=column("url_lengths"),
        created=pool("created"),
        pulled=pool("pulled"),
        odd_times=tuple(
            (start + row, which, text)
            for start, shard in placed
            for row, which, text in shard.odd_times
        ),
        url_matches=column("url_matches"),
        file_sizes=column("file_sizes"),
        declared=column("declared"),
        digest_counts=column("digest_counts"),
        digests=pool("digests"),
        sizes=column("sizes"),
        faults=tuple(
            fault._replace(row=start + fault.row)
            for start, shard in placed
            for fault in shard.faults
        ),
        mismatches=tuple(
            odd._replace(row=start + odd.row) for start, shard in placed for odd in shard.mismatches
        ),
        identities=pool("identities"),
    )
