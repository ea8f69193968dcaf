"""The rows of a remembered scan that still hold, as the builder of an index takes them.

Stage: index. Input: a `RememberedScan`, rows. Output: pieces of its columns. Pure, no I/O.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastprune.index.arrays import marked, positions_in, starts_of
from fastprune.index.remembered import RememberedScan

# The positions of so many rows stay in the processor's cache.
_ROWS_IN_PIECE = 1 << 13
_DENSE = 2
"""If at least one row in so many is kept, the others are left out; else those are picked."""

_UINT32_BYTES = 4
_NO_HEADS = np.empty(0, dtype=np.uint64)


class RememberedRows:
    """Some rows of a remembered scan, in their order."""

    def __init__(self, scan: RememberedScan, kept: NDArray[np.intp]) -> None:
        """Copies nothing yet; the rows that are kept ascend."""
        self._scan, self._kept = scan, kept
        self.are_all = len(kept) == len(scan)
        self._is_list = scan.column("kinds") & 1 == 0

    def column(self, name: str) -> NDArray[Any]:
        """A column of these rows."""
        column = self._scan.column(name)
        return column if self.are_all else column[self._kept]

    def file_sizes(self) -> NDArray[np.uint32]:
        """uint32: bytes of each file."""
        sizes = self.column("identities")[:, -_UINT32_BYTES:]
        return np.ascontiguousarray(sizes).view("<u4").reshape(-1).astype(np.uint32)

    def odd_times(self) -> Iterator[tuple[int, tuple[str, str]]]:
        """The row of each malformed time, and its texts."""
        kept = set(self._kept.tolist()) if self._scan.header.odd_times else ()
        for row, created, pulled in self._scan.header.odd_times:
            if row in kept:
                yield row, (created, pulled)

    def blob_counts(self) -> NDArray[np.uint32]:
        """uint32: how many blobs each refers to."""
        return np.where(self._is_list[self._kept], np.uint32(0), self.column("counts"))

    def urls(self) -> Iterator[NDArray[np.uint8]]:
        """The pieces of the pool with their URLs, in order."""
        for _, piece in self._pieces("url_pool", self._scan.column("url_lengths")):
            yield piece

    def references(self) -> Iterator[tuple[slice, NDArray[np.uint32]]]:
        """Some of these rows after the other, with the blobs that they refer to."""
        counts = np.where(self._is_list, np.uint32(0), self._scan.column("counts"))
        return self._pieces("blob_ids", counts)

    def strangers(self, rows: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.uint64]]:
        """Lists among these rows, each with the head of a child that is no row.

        `rows` tells what each remembered row is called now.
        """
        counts = np.where(self._is_list, self._scan.column("counts"), np.uint32(0))
        pieces = [piece for _, piece in self._pieces("strangers", counts)]
        parents = np.repeat(rows[self._kept], counts[self._kept])
        return parents, np.concatenate([_NO_HEADS, *pieces])

    def children(self) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """Lists among these rows, each with a child that is a row, kept or not."""
        parents, children = self._scan.column("child_parents"), self._scan.column("child_rows")
        if self.are_all:
            return parents, children
        is_kept = marked(self._kept, len(self._scan))
        return parents[is_kept[parents]], children[is_kept[parents]]

    def _pieces(
        self, name: str, lengths: NDArray[np.uint32]
    ) -> Iterator[tuple[slice, NDArray[Any]]]:
        """Parts of a column whose rows have these lengths, for some of our rows after the other."""
        column, starts = self._scan.column(name), starts_of(lengths)
        for first in range(0, len(self._kept), _ROWS_IN_PIECE):
            some = slice(first, min(first + _ROWS_IN_PIECE, len(self._kept)))
            rows = self._kept[some]
            begin, end = int(rows[0]), int(rows[-1]) + 1
            if len(rows) * _DENSE < end - begin:
                yield some, column.take(positions_in(starts[rows], lengths[rows]))
                continue
            piece = column[int(starts[begin]) : int(starts[end - 1]) + int(lengths[end - 1])]
            if len(rows) < end - begin:
                # To leave out a few takes a fraction of the time that picking the others takes.
                is_kept = marked(rows - begin, end - begin)
                piece = piece.compress(np.repeat(is_kept, lengths[begin:end]))
            yield some, piece


def heads(digests: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """The first eight bytes of digests, uint8 (n, 32), as numbers."""
    first = np.ascontiguousarray(digests[:, :8])
    return first.view(">u8").reshape(-1).astype(np.uint64)
