"""Images as people know them: a tag with all that belongs to it.

Stage: report. Input: a `CacheIndex`. Output: `Units`. Pure, no I/O.

A unit is a manifest that no list owns, with the children that go when it goes: a list and
its images, or a single image.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fastprune.index.arrays import begins_run, distinct, paired, positions_in, unpaired
from fastprune.index.cache_index import CacheIndex, Rows
from fastprune.index.refcounts import Mask, owned_edges
from fastprune.selection.rules.defects import broken, dangling


@dataclass(frozen=True, slots=True, eq=False)
class Units:
    """The units of a cache, u of them, in the order of their heads.

    Attributes:
        heads: (u,): the row that gives a unit its name.
        pair_units: int32 (p,): units, ascending, each with ...
        pair_rows: int32 (p,): ... a manifest of it, itself included. A child that two tags
            share is in both of their units; every manifest is in one at least.
        dangling: bool (u,): an image without a tag that no list refers to.
        broken: bool (u,): it lacks blobs, or is a list that leads to such images only.
    """

    heads: Rows
    pair_units: NDArray[np.int32]
    pair_rows: NDArray[np.int32]
    dangling: Mask
    broken: Mask

    def __len__(self) -> int:
        return len(self.heads)


def find_units(index: CacheIndex) -> Units:
    """Finds the units of a cache that was scanned with edges."""
    # The edges are in the order of the lists, because all rows are given.
    parents, children = owned_edges(index, np.arange(len(index)))
    owned = np.zeros(len(index), dtype=bool)
    owned[children[children != parents]] = True
    pairs = _with_children(index, np.flatnonzero(~owned), parents, children)
    # Lists that own each other are units of their own. Only made-up digests can do that.
    reached = np.zeros(len(index), dtype=bool)
    reached[unpaired(pairs)[1]] = True
    stray = np.flatnonzero(~reached)
    heads, rows = unpaired(np.sort(np.concatenate([pairs, paired(stray, stray)])))
    first = begins_run(heads)
    unit_heads = heads[first]
    pair_units = np.cumsum(first, dtype=np.int32) - np.int32(1)
    pair_rows = rows.astype(np.int32)
    return Units(
        unit_heads, pair_units, pair_rows, dangling(index)[unit_heads], broken(index)[unit_heads]
    )


def _with_children(
    index: CacheIndex, heads: Rows, parents: Rows, children: Rows
) -> NDArray[np.int64]:
    """Pairs of a head and a row below it, as in `paired`."""
    pairs = paired(heads, heads)
    newest = pairs
    # One round per level of lists in lists; a cycle ends when nothing new is found.
    while len(newest):
        above, rows = unpaired(newest)
        first = np.searchsorted(parents, rows, side="left")
        counts = np.searchsorted(parents, rows, side="right") - first
        found = paired(np.repeat(above, counts), children[positions_in(first, counts)])
        found = distinct(found)
        newest = found[~np.isin(found, pairs, assume_unique=True)]
        pairs = np.concatenate([pairs, newest])
    return pairs
