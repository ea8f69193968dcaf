"""In which row of a usage every file is counted, so that the rows add up.

Stage: report. Input: a `CacheIndex`, `Units` and a group for each of these. Output:
`Places`. Pure, no I/O.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from fastprune.index.arrays import distinct, paired, unpaired
from fastprune.index.cache_index import CacheIndex, Rows
from fastprune.index.refcounts import NOBODY, Mask, references_of
from fastprune.usage.units import Units

Bytes = NDArray[np.int64]
"""Sizes in bytes."""

_PIECE = 1 << 16


class Extra(IntEnum):
    """The rows besides the groups; the value is their order, behind all groups."""

    SHARED = 0
    DANGLING = 1
    BROKEN = 2
    SHARED_OUTSIDE = 3
    OUTSIDE = 4
    MANIFESTS = 5
    ORPHANS = 6
    UNREADABLE = 7


@dataclass(frozen=True, slots=True, eq=False)
class Places:
    """In which row every file is counted.

    Attributes:
        groups: How many groups there are; numbers from there on are an `Extra`.
        blobs: int32: of each present blob.
        manifests: int32 (n,): of each manifest.
    """

    groups: int
    blobs: NDArray[np.int32]
    manifests: NDArray[np.int32]

    def sums(self, blob_bytes: Bytes, manifest_bytes: NDArray[np.integer]) -> Bytes:
        """Bytes of the files in each row, from those of each present blob and each manifest."""
        sums = np.zeros(self.groups + len(Extra), dtype=np.int64)
        np.add.at(sums, self.blobs, blob_bytes)
        np.add.at(sums, self.manifests, manifest_bytes.astype(np.int64))
        return sums


@dataclass(frozen=True, slots=True, eq=False)
class Members:
    """Which manifests are in which groups.

    Attributes:
        groups: How many groups there are; numbers from there on are an `Extra`.
        of_unit: int64 (u,): the group of each unit.
        pair_groups: int32 (p,): groups, ascending, each with ...
        pair_rows: int32 (p,): ... a manifest of it; no pair comes twice.
    """

    groups: int
    of_unit: NDArray[np.int64]
    pair_groups: NDArray[np.int32]
    pair_rows: NDArray[np.int32]

    def references(self, index: CacheIndex) -> Iterator[tuple[Rows, NDArray[np.int32]]]:
        """The blobs that the groups need, with repetitions: pieces of blobs and groups."""
        for first in range(0, len(self.pair_rows), _PIECE):
            rows = self.pair_rows[first : first + _PIECE].astype(np.intp)
            groups = self.pair_groups[first : first + _PIECE]
            yield (
                references_of(index, rows).astype(np.intp),
                np.repeat(groups, index.blob_counts[rows]),
            )


def members(units: Units, groups: int, of_unit: NDArray[np.int64], selected: Mask) -> Members:
    """Puts the selected manifests into the groups of their units, the others outside."""
    pair_groups = of_unit[units.pair_units]
    pair_groups = np.where(selected[units.pair_rows], pair_groups, groups + Extra.OUTSIDE)
    pair_groups, pair_rows = unpaired(distinct(paired(pair_groups, units.pair_rows)))
    return Members(groups, of_unit, pair_groups.astype(np.int32), pair_rows.astype(np.int32))


def place(index: CacheIndex, among: Members) -> Places:
    """Finds the row of every file: that of the one group that needs it, or an `Extra`."""
    groups = among.groups
    blobs = np.full(len(index.blob_digests), NOBODY, dtype=np.int32)
    for needed, of in among.references(index):
        blobs[needed] = of
    # Each blob now has the last group that needs it: a group that finds another one shares it.
    several, outside = np.zeros((2, len(blobs)), dtype=bool)
    for needed, of in among.references(index):
        several[needed[blobs[needed] != of]] = True
        outside[needed[of == groups + Extra.OUTSIDE]] = True
    blobs[blobs == NOBODY] = groups + Extra.ORPHANS
    blobs[several] = groups + Extra.SHARED
    blobs[several & outside] = groups + Extra.SHARED_OUTSIDE
    manifests = np.empty(len(index), dtype=np.int32)
    manifests[among.pair_rows] = among.pair_groups
    manifests[np.bincount(among.pair_rows, minlength=len(index)) > 1] = groups + Extra.SHARED
    return Places(groups, blobs[: index.blobs_present], manifests)
