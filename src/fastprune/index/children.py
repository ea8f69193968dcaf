"""Children: what lists refer to, as pairs of rows.

Stage: index. Input: rows of lists and digests. Output: pairs, strangers. Pure: no I/O.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from fastprune.index.arrays import Pool, begins_run, paired, unpaired
from fastprune.index.digests import Digests, DigestTable
from fastprune.index.remembered_rows import heads

_STRANGERS_A_ROW = 8
_FILTER_BITS = 2
"""With four to eight places for each manifest, one digest in eight to four passes by chance."""


class Children:
    """Collects what lists refer to.

    Attributes:
        keeps_strangers: Whether children that are not listed are kept as well: see
            `fastprune.index.remembered`.
    """

    def __init__(
        self,
        tables: Sequence[DigestTable],
        starts: Sequence[int],
        *,
        expected: int,
        keeps_strangers: bool,
    ) -> None:
        self.keeps_strangers = keeps_strangers
        self._tables, self._starts = tables, starts
        self._later: list[Callable[[], tuple[NDArray[np.integer], NDArray[np.uint64]]]] = []
        self._pairs = Pool(np.int64, expected)
        # For each value of the first bits of a digest, whether one of a manifest begins so.
        self._filter: NDArray[np.bool_] | None = None
        self._ready: tuple[NDArray[np.int32], NDArray[np.int32]] | None = None
        # Room costs nothing until it is filled.
        strangers = expected * _STRANGERS_A_ROW if keeps_strangers else 0
        self._strangers = (Pool(np.int32, strangers), Pool(np.uint64, strangers))

    def add(self, parents: NDArray[np.integer], children: Digests) -> None:
        """Takes rows of lists, each with the digest of a child: uint8 (k, 32)."""
        firsts = heads(children)
        listed = np.zeros(len(children), dtype=np.bool_)
        perhaps = np.flatnonzero(self._may_be_listed(firsts))
        some = children.take(perhaps, axis=0)
        for table, first in zip(self._tables, self._starts, strict=True):
            found = table.find(some)
            cached = np.flatnonzero(found >= 0)
            listed[perhaps[cached]] = True
            self.add_rows(parents[perhaps[cached]], found[cached] + first)
        if self.keeps_strangers:
            strangers = np.flatnonzero(~listed)
            self.add_strangers(parents[strangers], firsts[strangers])

    def _may_be_listed(self, firsts: NDArray[np.uint64]) -> NDArray[np.bool_]:
        """Which digests with these heads may be those of listed manifests.

        Of a list for many platforms, most children are not cached. To look them all up would take
        several times as long.
        """
        if self._filter is None:
            bits = max(3, sum(map(len, self._tables)).bit_length() + _FILTER_BITS)
            self._shift = np.uint64(64 - bits)
            self._filter = np.zeros(1 << bits, dtype=np.bool_)
            for table in self._tables:
                self._filter[heads(table.digests) >> self._shift] = True
        return self._filter.take((firsts >> self._shift).astype(np.intp))

    def add_rows(self, parents: NDArray[np.integer], children: NDArray[np.integer]) -> None:
        """Takes rows of lists, each with the row of a child."""
        self._pairs.append(paired(parents, children))

    def adopt(self, parents: NDArray[np.int32], children: NDArray[np.int32]) -> None:
        """Takes all pairs at once: what `pairs` gave for the same manifests."""
        self._ready = parents, children

    def add_strangers(self, parents: NDArray[np.integer], strangers: NDArray[np.uint64]) -> None:
        """Takes rows of lists, each with the head of a child that has no row."""
        self._strangers[0].append(parents.astype(np.int32))
        self._strangers[1].append(strangers)

    def pairs(self) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """Rows of lists, and of a child of each; sorted, each pair once."""
        if self._ready is not None:
            return self._ready
        pairs = self._pairs.array()
        pairs.sort()
        # A list may name a child twice, for two platforms; once is enough here.
        parents, children = unpaired(pairs[begins_run(pairs)])
        return parents.astype(np.int32), children.astype(np.int32)

    def add_strangers_later(
        self, strangers: Callable[[], tuple[NDArray[np.integer], NDArray[np.uint64]]]
    ) -> None:
        """The same, asked for only if `strangers` is: most scans need none."""
        self._later.append(strangers)

    def strangers(
        self, renumbered: NDArray[np.int32] | None
    ) -> tuple[NDArray[np.int32], NDArray[np.uint64]]:
        """Rows of lists, and the head of a child of each that has no row; in no order.

        `renumbered` is the final row of each row; None if that is the same.
        """
        while self._later:
            self.add_strangers(*self._later.pop()())
        parents = self._strangers[0].array()
        return parents if renumbered is None else renumbered[parents], self._strangers[1].array()
