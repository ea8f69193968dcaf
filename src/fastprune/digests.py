"""DigestTable: sorted 32-byte digests, a digest's position is its id.

Stage: index. Input and output: numpy arrays. Pure, no I/O.

The design is git's lookup of object ids (pack-format.txt: a sorted table under a fan-out
by the first bits), done for many digests at once. A lookup goes by the first eight bytes
and is decided by all 32.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fastprune.model import DIGEST_BYTES

Digests = NDArray[np.uint8]
"""Raw digests: uint8, shape (n, 32). Never numpy's S32, which drops trailing NULs."""

_WORDS = DIGEST_BYTES // 8
_CROWDED = 64


def as_digests(raw: bytes | bytearray | memoryview) -> Digests:
    """Views raw bytes, 32 a digest, as an array of shape (n, 32)."""
    return np.frombuffer(raw, dtype=np.uint8).reshape(-1, DIGEST_BYTES)


def _words(digests: Digests) -> NDArray[np.uint64]:
    """Views digests as four native words each; equal words mean equal digests."""
    return np.ascontiguousarray(digests).view(np.uint64).reshape(-1, _WORDS)


def _keys(digests: Digests) -> NDArray[np.uint64]:
    """The first eight bytes as numbers that sort like the digests."""
    keys: NDArray[np.uint64] = _words(digests)[:, 0].byteswap()
    return keys


def sort_order(digests: Digests) -> NDArray[np.intp]:
    """The permutation that sorts digests, shape (n,)."""
    order = np.argsort(_keys(digests), kind="stable")
    keys = _keys(digests)[order]
    if bool((keys[1:] == keys[:-1]).any()):
        columns = _words(digests).byteswap()
        order = np.lexsort(columns[:, ::-1].T)
    return order


class DigestTable:
    """An immutable set of digests with ids from 0 in sorted order."""

    __slots__ = ("_crowded", "_fanout", "_keys", "_shift", "digests")

    def __init__(self, digests: Digests) -> None:
        """Makes a table.

        Args:
            digests: uint8 (n, 32), sorted and distinct, as `sorted_table` makes them.
        """
        self.digests = digests
        self._keys = _keys(digests)
        bits = max(1, min(24, len(digests).bit_length()))
        self._shift = np.uint64(64 - bits)
        buckets = np.bincount((self._keys >> self._shift).astype(np.intp), minlength=1 << bits)
        self._crowded = bool(len(digests)) and int(buckets.max()) > _CROWDED
        self._fanout = np.zeros((1 << bits) + 1, dtype=np.uint32)
        np.cumsum(buckets, out=self._fanout[1:])

    @classmethod
    def from_unsorted(cls, digests: Digests) -> DigestTable:
        """Makes a table of digests in any order, each of which may occur more than once."""
        ordered = np.ascontiguousarray(digests[sort_order(digests)])
        words = _words(ordered)
        repeated = np.zeros(len(ordered), dtype=bool)
        repeated[1:] = (words[1:] == words[:-1]).all(axis=1)
        if repeated.any():
            ordered = np.ascontiguousarray(ordered[~repeated])
        return cls(ordered)

    def __len__(self) -> int:
        return len(self.digests)

    def find(self, wanted: Digests) -> NDArray[np.int64]:
        """Looks digests up.

        Args:
            wanted: uint8 (m, 32), in any order.

        Returns:
            int64 (m,): the id of each, -1 where the table does not hold it.
        """
        if not len(wanted) or not len(self.digests):
            return np.full(len(wanted), -1, dtype=np.int64)
        keys = _keys(wanted)
        at = self._first_at_least(keys)
        # `at` is the first entry whose key is not smaller. Entries that share the first
        # eight bytes stand side by side: step on while they differ from what is wanted.
        words, table = _words(wanted), _words(self.digests)
        ids = np.full(len(wanted), -1, dtype=np.int64)
        rows = np.arange(len(wanted))
        while len(rows):
            inside = at < len(table)
            rows, at = rows[inside], at[inside]
            inside = self._keys[at] == keys[rows]
            rows, at = rows[inside], at[inside]
            same = (table[at] == words[rows]).all(axis=1)
            ids[rows[same]] = at[same]
            rows, at = rows[~same], at[~same] + 1
        return ids

    def _first_at_least(self, keys: NDArray[np.uint64]) -> NDArray[np.int64]:
        if self._crowded:
            return np.searchsorted(self._keys, keys).astype(np.int64)
        bucket = (keys >> self._shift).astype(np.intp)
        at = self._fanout[bucket].astype(np.int64)
        end = self._fanout[bucket + 1]
        # A bucket holds about one entry, so a few rounds are enough for all.
        behind = np.flatnonzero((at < end) & (self._keys[np.minimum(at, len(self) - 1)] < keys))
        while len(behind):
            at[behind] += 1
            here = at[behind]
            more = (here < end[behind]) & (
                self._keys[np.minimum(here, len(self) - 1)] < keys[behind]
            )
            behind = behind[more]
        return at
