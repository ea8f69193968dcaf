"""DigestTable: sorted 32-byte digests. The position of a digest is its id.

Stage: index. Input and output: numpy arrays. Pure, no I/O.

The design is git's lookup of object ids (pack-format.txt: a sorted table under a fan-out
by the first bits), done for many digests at once. A lookup searches by the first eight bytes
and then compares all 32.
"""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastprune.index.arrays import begins_run
from fastprune.model import DIGEST_BYTES

Digests = NDArray[np.uint8]
"""Raw digests: uint8, shape (n, 32). Never numpy's S32, which drops trailing NULs."""

_WORDS = DIGEST_BYTES // 8
_CROWDED = 64
_BUCKETS = 16
_BUCKET_SHIFT = 4


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
    keys = _keys(digests)
    if bool((keys[1:] > keys[:-1]).all()):
        # They are sorted, as those of a remembered scan are.
        return np.arange(len(keys))
    # Not stable, which is several times as fast: keys that are the same are sorted again below.
    order = np.argsort(keys)
    keys = keys[order]
    if bool((keys[1:] == keys[:-1]).any()):
        columns = _words(digests).byteswap()
        order = np.lexsort(columns[:, ::-1].T)
    return order


class DigestTable:
    """An immutable set of digests with ids from 0 in sorted order."""

    __slots__ = ("_crowded", "_fanout", "_shift", "digests")

    def __init__(self, digests: Digests) -> None:
        """Makes a table of digests, uint8 (n, 32), that are contiguous, sorted and distinct."""
        self.digests = digests
        self._fanout: NDArray[np.uint32] | None = None

    def _make_fanout(self) -> NDArray[np.uint32]:
        """Makes the fan-out when something is looked up for the first time."""
        # About one digest has an entry of the fan-out. So a search takes few steps, and the fan-out
        # two bytes per digest.
        bits = max(1, min(24, len(self.digests).bit_length() - 1))
        self._shift = np.uint64(64 - bits)
        prefixes = _keys(self.digests)
        prefixes >>= self._shift
        fanout = np.zeros((1 << bits) + 1, dtype=np.uint32)
        np.cumsum(np.bincount(prefixes.view(np.int64), minlength=1 << bits), out=fanout[1:])
        self._crowded = int(np.diff(fanout).max()) > _CROWDED
        self._fanout = fanout
        return fanout

    @classmethod
    def from_unsorted(cls, digests: Digests) -> DigestTable:
        """Makes a table of digests in any order, each of which may occur more than once."""
        sorter = DigestSorter()
        sorter.add(digests)
        return sorter.table()

    def __len__(self) -> int:
        return len(self.digests)

    def find(self, wanted: Digests) -> NDArray[np.int64]:
        """Looks digests up, uint8 (m, 32), in any order.

        Returns:
            int64 (m,): the id of each, -1 where the table does not hold it.
        """
        if not len(wanted) or not len(self.digests):
            return np.full(len(wanted), -1, dtype=np.int64)
        fanout = self._make_fanout() if self._fanout is None else self._fanout
        words, table = _words(wanted), _words(self.digests)
        firsts = np.ascontiguousarray(words[:, 0])
        at, end = self._range(firsts.byteswap(), fanout)
        flat, last = table.reshape(-1), len(table) - 1
        # A range may be empty: it is the comparison of all 32 bytes that decides.
        np.minimum(at, last, out=at)
        # Each round compares one entry of the table with every digest that is still
        # looked for, until the first eight bytes are there or its range is over. `take` is several
        # times as fast as an index.
        left = np.flatnonzero(flat.take(at * _WORDS) != firsts)
        while len(left):
            following = at.take(left) + 1
            more = np.flatnonzero(following < end.take(left))
            left, following = left.take(more), following.take(more)
            at[left] = following
            left = left.compress(flat.take(following * _WORDS) != firsts.take(left))
        other = np.flatnonzero(~_are_same(table, at, words))
        if len(other):
            # Several entries may share these eight bytes.
            starts, at[other] = at.take(other), -1
            alike = np.flatnonzero(flat.take(starts * _WORDS) == firsts.take(other))
            some = other.take(alike)
            sought = words.take(some, axis=0)
            found = _narrowed(table, sought, starts.take(alike), end.take(some))
            np.minimum(found, last, out=found)
            good = _are_same(table, found, sought)
            at[some.compress(good)] = found.compress(good)
        return at

    def _range(
        self, keys: NDArray[np.uint64], fanout: NDArray[np.uint32]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Where digests with these first eight bytes can stand: from, and to (exclusive)."""
        if self._crowded:
            table = _keys(self.digests)
            return (
                np.searchsorted(table, keys, side="left").astype(np.int64),
                np.searchsorted(table, keys, side="right").astype(np.int64),
            )
        prefixes = (keys >> self._shift).astype(np.intp)
        at = fanout.take(prefixes).astype(np.int64)
        prefixes += 1
        return at, fanout.take(prefixes).astype(np.int64)


def _narrowed(
    table: NDArray[np.uint64],
    wanted: NDArray[np.uint64],
    at: NDArray[np.int64],
    end: NDArray[np.int64],
) -> NDArray[np.int64]:
    """Where each wanted digest stands in its range, if it does, by halving the range.

    Real digests hardly ever share their first eight bytes. Made-up ones may, and a manifest can
    name any digest.
    """
    low, high = at.copy(), end.copy()
    rows = np.flatnonzero(high - low > 1)
    while len(rows):
        middle = (low[rows] + high[rows]) // 2
        less = _are_less(table[middle].byteswap(), wanted[rows].byteswap())
        low[rows[less]] = middle[less] + 1
        high[rows[~less]] = middle[~less]
        rows = rows[low[rows] < high[rows]]
    return low


def _are_same(
    table: NDArray[np.uint64], at: NDArray[np.int64], wanted: NDArray[np.uint64]
) -> NDArray[np.bool_]:
    """Which of these digests of the table are the same as those that are wanted."""
    differ = np.take(table, at, axis=0)
    differ ^= wanted
    first, second, third, fourth = differ.T
    same: NDArray[np.bool_] = (first | second | third | fourth) == 0
    return same


def _are_less(these: NDArray[np.uint64], those: NDArray[np.uint64]) -> NDArray[np.bool_]:
    """Which of these digests sort before those, each given as words that sort alike."""
    less = np.zeros(len(these), dtype=bool)
    for column in reversed(range(_WORDS)):
        mine, other = these[:, column], those[:, column]
        less = (mine < other) | ((mine == other) & less)
    return less


class DigestSorter:
    """Collects digests, and makes a table of them in hardly more memory than they take.

    They are put into buckets by their first bits as they come. In the end each bucket is
    sorted by itself, copied into the table and freed.
    """

    __slots__ = ("_buckets",)

    def __init__(self) -> None:
        self._buckets = [bytearray() for _ in range(_BUCKETS)]

    def add(self, digests: Digests) -> None:
        """Takes digests, uint8 (n, 32), in any order and with repetitions."""
        heads = digests[:, 0] >> _BUCKET_SHIFT
        if bool((heads[1:] < heads[:-1]).any()):
            order = np.argsort(heads, kind="stable")
            digests, heads = np.take(digests, order, axis=0), heads[order]
        bounds = np.searchsorted(heads, np.arange(_BUCKETS + 1)).tolist()
        for bucket, (first, last) in zip(self._buckets, pairwise(bounds), strict=True):
            bucket.extend(digests[first:last].tobytes())

    def table(self) -> DigestTable:
        """Makes the table, once; the sorter is empty afterwards."""
        ordered = np.empty(sum(map(len, self._buckets)), dtype=np.uint8).reshape(-1, DIGEST_BYTES)
        count = 0
        for number, bucket in enumerate(self._buckets):
            self._buckets[number] = bytearray()
            digests = as_digests(bucket)
            some = np.take(digests, sort_order(digests), axis=0)
            again = repeated(some)
            some = np.delete(some, again, axis=0) if len(again) else some
            ordered[count : count + len(some)] = some
            count += len(some)
            del bucket, digests, some
        return DigestTable(ordered[:count])


class ToldApart(NamedTuple):
    """Digests that may be repeated, as the different ones among them.

    Attributes:
        digests: uint8 (m, 32): the different ones, sorted.
        places: uint32 (n,): the position in `digests` of each.
        order: intp (n,): a permutation that sorts the n digests.
        starts: intp (m,): where those of each different one begin in this order.
    """

    digests: Digests
    places: NDArray[np.uint32]
    order: NDArray[np.intp]
    starts: NDArray[np.intp]


def told_apart(digests: Digests) -> ToldApart:
    """Finds the different ones among digests, uint8 (n, 32), in any order."""
    keys, words = _keys(digests), _words(digests)
    order = np.argsort(keys)
    begins = begins_run(keys.take(order))
    found = _numbered(words, order, begins)
    if bool((np.take(_words(found.digests), found.places, axis=0) != words).any()):
        # Some that differ share their first eight bytes.
        order = np.lexsort(words.byteswap()[:, ::-1].T)
        ordered = np.take(words, order, axis=0)
        begins[1:] = (ordered[1:] != ordered[:-1]).any(axis=1)
        found = _numbered(words, order, begins)
    return found


def _numbered(
    words: NDArray[np.uint64], order: NDArray[np.intp], begins: NDArray[np.bool_]
) -> ToldApart:
    starts = np.flatnonzero(begins)
    places = np.empty(len(order), dtype=np.uint32)
    places[order] = np.cumsum(begins, dtype=np.uint32) - np.uint32(1)
    digests = np.take(words, order[starts], axis=0).view(np.uint8)
    return ToldApart(digests, places, order, starts)


def repeated(ordered: Digests) -> NDArray[np.intp]:
    """Positions of sorted digests that are the same as the one before, ascending."""
    words = _words(ordered)
    alike = np.flatnonzero(words[1:, 0] == words[:-1, 0])
    again: NDArray[np.intp] = alike[(words[alike] == words[alike + 1]).all(axis=1)] + 1
    return again


def find_sorted(table: Digests, wanted: Digests) -> NDArray[np.int64]:
    """Looks sorted digests up among sorted ones: where most are there, faster than a `DigestTable`.

    The table is uint8 (n, 32), contiguous and distinct. Those that are wanted may be repeated.

    Returns:
        int64 (m,): the position of each in the table, -1 where the table does not hold it.
    """
    if not len(table):
        return np.full(len(wanted), -1, dtype=np.int64)
    keys, sought = _keys(table), _keys(wanted)
    # Each search begins where the one before has ended.
    at = np.minimum(np.searchsorted(keys, sought), len(table) - 1).astype(np.int64, copy=False)
    others = np.flatnonzero((np.take(_words(table), at, axis=0) != _words(wanted)).any(axis=1))
    # Several of the table may share these eight bytes.
    alike = others[keys[at[others]] == sought[others]]
    at[others] = -1
    if len(alike):
        at[alike] = DigestTable(table).find(wanted[alike])
    return at
