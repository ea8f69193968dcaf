"""Ages: how long ago the bytes of a cache were last pulled, and what pruning by age frees.

Stage: report. Input: a `CacheIndex`, `Units`, sizes of files. Output: `Ages`. Pure, no I/O.

A file is as old as the newest pull of any image that needs it. A prune by age removes a
shared blob only with its last user, so it frees the sum of all older files. One pass over the
references is enough for every threshold.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fastprune.index.arrays import pieces
from fastprune.index.cache_index import CacheIndex, Rows
from fastprune.index.refcounts import Mask, references_of
from fastprune.index.times import NO_TIME, Times
from fastprune.selection.rules.ages import newest_pulls
from fastprune.usage.placing import Bytes
from fastprune.usage.units import Units

AGES = (7, 30, 90, 180, 365)
"""Days that reports tell apart."""

UNKNOWN = 2**62
"""Stands for the pull of an image without any time: it is as good as new."""

_PIECE = 1 << 16
_NEVER_NEEDED = NO_TIME
_STAYS = UNKNOWN + 1


@dataclass(frozen=True, slots=True, eq=False)
class Ages:
    """How old the files of a cache are, by their newest pull. Immutable.

    Attributes:
        blob_pulls: int64: the pulls of the present blobs, as in `file_pulls`.
        blob_bytes: int64: the size of the file of each.
        manifest_pulls: int64 (n,): the pulls of the manifests, in the same way.
        manifest_bytes: uint32 (n,): the size of the file of each.
        image_pulls: int64 (u,): the pulls of the heads of the units. A unit goes when its
            head does; a child that another one keeps may be younger.
        linked_blobs: Ids of blobs with other hard links: removing them frees nothing.
    """

    blob_pulls: Times
    blob_bytes: Bytes
    manifest_pulls: Times
    manifest_bytes: NDArray[np.uint32]
    image_pulls: Times
    linked_blobs: Rows

    def pulled_before(self, cutoff: int) -> tuple[int, int]:
        """Bytes and images that were last pulled before a time; orphans not counted.

        Args:
            cutoff: Seconds on the server's clock, as in `fastprune.index.times`.
        """
        needed = (self.blob_pulls != _NEVER_NEEDED) & (self.blob_pulls < cutoff)
        size = int(self.blob_bytes[needed].sum())
        size += int(self.manifest_bytes[self.manifest_pulls < cutoff].sum(dtype=np.int64))
        return size, int(np.count_nonzero(self.image_pulls < cutoff))

    def linked_before(self, cutoff: int) -> int:
        """Bytes of older blobs, and of orphans, that have other hard links."""
        pulls = self.blob_pulls[self.linked_blobs]
        gone = self.linked_blobs[(pulls == _NEVER_NEEDED) | (pulls < cutoff)]
        return int(self.blob_bytes[gone].sum())

    @property
    def known(self) -> tuple[int, int]:
        """Bytes and images with a known time that were asked for."""
        return self.pulled_before(UNKNOWN)

    @property
    def asked_for(self) -> tuple[int, int]:
        """Bytes and images that were asked for, and that nothing else needs."""
        return self.pulled_before(_STAYS)

    @property
    def orphan_bytes(self) -> int:
        """Bytes of the blobs that nothing refers to: any prune takes them."""
        return int(self.blob_bytes[self.blob_pulls == _NEVER_NEEDED].sum())

    @property
    def total(self) -> int:
        """Bytes of all files."""
        return int(self.blob_bytes.sum()) + int(self.manifest_bytes.sum(dtype=np.int64))

    @property
    def images(self) -> int:
        """How many images there are."""
        return len(self.image_pulls)


def file_pulls(index: CacheIndex, selected: Mask | None = None) -> tuple[Times, Times]:
    """The newest pull of any image that needs a file.

    Args:
        index: The cache, scanned with edges.
        selected: bool (n,): the manifests that may go; None for all.

    Returns:
        int64: of each present blob, `NO_TIME` if nothing needs it; and int64 (n,): of each
        manifest. Two values lie above all times: `UNKNOWN` for an image without a time, and
        a larger one for the files of an image that may not go.
    """
    pulls = newest_pulls(index)
    # An age says nothing about an image without any time: a prune by age leaves it.
    pulls = np.where(pulls == NO_TIME, UNKNOWN, pulls)
    if selected is not None:
        pulls[~selected] = _STAYS
    last = np.full(len(index.blob_digests), _NEVER_NEEDED, dtype=np.int64)
    for rows in pieces(np.arange(len(index)), _PIECE):
        users = np.repeat(pulls[rows], index.blob_counts[rows])
        np.maximum.at(last, references_of(index, rows), users)
    return last[: index.blobs_present], pulls


def measure_ages(
    index: CacheIndex, units: Units, blob_bytes: Bytes, *, selected: Mask | None = None
) -> Ages:
    """Works out the ages of all files of a cache that was scanned with edges; see `file_pulls`."""
    blob_pulls, pulls = file_pulls(index, selected)
    heads = pulls[units.heads]
    return Ages(blob_pulls, blob_bytes, pulls, index.file_sizes, heads, index.linked_blobs)
