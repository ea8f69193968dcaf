"""Ages: how long ago the bytes of a cache were last pulled, and what pruning by age frees.

Stage: report. Input: a `CacheIndex`, `Units`, sizes of files. Output: `Ages`. Pure, no I/O.

A file is as old as the newest pull of any image that needs it: then a prune by age, which
takes shared blobs with their last user only, is a sum over all younger files. So one pass
over the references answers for every threshold at once.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fastprune.index import CacheIndex
from fastprune.placing import Bytes
from fastprune.refcounts import Mask, references_of
from fastprune.rules.ages import newest_pulls
from fastprune.times import NO_TIME, Times
from fastprune.units import Units

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
        ends: int64: the newest pulls of files and images, ascending and distinct. Behind
            all times stand for what has none, and for what was not asked for.
        bytes_until: int64: for each of these, bytes of all files that are no younger.
        images_until: int64: the same for images.
        orphan_bytes: Bytes of the blobs that nothing refers to: any prune takes them.
        total: Bytes of all files.
        images: All images.
    """

    ends: Times
    bytes_until: Bytes
    images_until: NDArray[np.int64]
    orphan_bytes: int
    total: int
    images: int

    def pulled_before(self, cutoff: int) -> tuple[int, int]:
        """Bytes and images that were last pulled before a time; orphans not counted.

        Args:
            cutoff: Seconds on the server's clock, as of `fastprune.times`.
        """
        at = int(np.searchsorted(self.ends, cutoff))
        return (int(self.bytes_until[at - 1]), int(self.images_until[at - 1])) if at else (0, 0)

    @property
    def known(self) -> tuple[int, int]:
        """Bytes and images with a known time that were asked for."""
        return self.pulled_before(UNKNOWN)

    @property
    def asked_for(self) -> tuple[int, int]:
        """Bytes and images that were asked for, and that nothing else needs."""
        return self.pulled_before(_STAYS)


def file_pulls(index: CacheIndex, selected: Mask | None = None) -> tuple[Times, Times]:
    """The newest pull of any image that needs a file.

    Args:
        index: The cache, scanned with edges.
        selected: bool (n,): the manifests that may go; None for all.

    Returns:
        int64: of each present blob, `NO_TIME` if nothing needs it; and int64 (n,): of each
        manifest. Above all times are `UNKNOWN`, where an image has no time, and then what
        an image needs that may not go.
    """
    pulls = newest_pulls(index)
    # An age says nothing about an image without any time: a prune by age leaves it.
    pulls = np.where(pulls == NO_TIME, UNKNOWN, pulls)
    if selected is not None:
        pulls[~selected] = _STAYS
    last = np.full(len(index.blob_digests), _NEVER_NEEDED, dtype=np.int64)
    for first in range(0, len(index), _PIECE):
        rows = np.arange(first, min(first + _PIECE, len(index)))
        users = np.repeat(pulls[rows], index.blob_counts[rows])
        np.maximum.at(last, references_of(index, rows), users)
    return last[: index.blobs_present], pulls


def measure_ages(
    index: CacheIndex,
    units: Units,
    blob_bytes: Bytes,
    *,
    selected: Mask | None = None,
) -> Ages:
    """Works out the ages of all files.

    Args:
        index: The cache, scanned with edges.
        units: Its units.
        blob_bytes: int64: the size of the file of each present blob.
        selected: bool (n,): the manifests that may go; None for all.
    """
    last, pulls = file_pulls(index, selected)
    needed = last != _NEVER_NEEDED
    sizes = np.concatenate([blob_bytes[needed], index.file_sizes.astype(np.int64)])
    times = np.concatenate([last[needed], pulls])
    # A unit goes when its head does; a child that another one keeps may be younger.
    image_times = np.concatenate([times, pulls[units.heads]])
    ends, at = np.unique(image_times, return_inverse=True)
    bytes_at, images_at = np.zeros((2, len(ends)), dtype=np.int64)
    np.add.at(bytes_at, at[: len(times)], sizes)
    np.add.at(images_at, at[len(times) :], 1)
    return Ages(
        ends=ends,
        bytes_until=np.cumsum(bytes_at),
        images_until=np.cumsum(images_at),
        orphan_bytes=int(blob_bytes[~needed].sum()),
        total=int(blob_bytes.sum()) + int(index.file_sizes.sum(dtype=np.int64)),
        images=len(units),
    )
