"""ShardGatherer: many small shards become few large ones before they are merged.

Stage: index. Input: `ShardIndex`es and their rows. Output: calls of `IndexBuilder.add`. Pure: no
I/O.

Merging costs about as much for a small shard as for one of some thousand rows: it is a hundred
steps on arrays. How many rows a shard has depends on the number of workers. What is joined here
is a few megabytes. In a large cache, workers merge instead: see `fastprune.scanning.pieces`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fastprune.index.builder import IndexBuilder
from fastprune.index.merging import merge_shards
from fastprune.reading.shards import ShardIndex

_ENOUGH_ROWS = 4_096
"""Larger shards are hardly cheaper, and their columns no longer fit the processor's cache."""


class ShardGatherer:
    """Collects shards in front of a builder, and hands them on when there are enough rows."""

    def __init__(self, builder: IndexBuilder, *, enough: int = _ENOUGH_ROWS) -> None:
        """Holds nothing yet; at `enough` rows it hands them on."""
        self._builder, self._enough = builder, enough
        self._shards: list[ShardIndex] = []
        self._rows: list[NDArray[np.int32]] = []
        self._count = 0

    def add(self, shard: ShardIndex, rows: NDArray[np.int32]) -> None:
        """Takes a shard; `rows` is int32: the row of each of its files."""
        if not len(rows):
            return
        self._shards.append(shard)
        self._rows.append(rows)
        self._count += len(rows)
        if self._count >= self._enough:
            self.flush()

    def flush(self) -> None:
        """Hands on all that it holds. To be called when the last shard has come."""
        if not self._shards:
            return
        shard, rows = merge_shards(self._shards), np.concatenate(self._rows)
        self._shards.clear()
        self._rows.clear()
        self._count = 0
        self._builder.add(shard, rows)
