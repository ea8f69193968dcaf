"""Which images must go so that the cache shrinks by a number of bytes, and no more of them.

Stage: select. Input: a `CacheIndex` with edges, candidates in order. Output: how many of them.
Pure, no I/O.

Images go in a given order. For each number k of them, how many bytes come free if the first
k go? A manifest goes with the first image that takes it along (its rank), unless a list that
stays still needs it: then with the last of these. A blob goes when the last image that uses
it has gone. So each file comes free at one k, which a maximum over those that hold it tells,
and a cumulative sum has the bytes for all k at once. No image is ever removed one at a time.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from fastprune.index.cache_index import CacheIndex, Rows
from fastprune.index.refcounts import MOST_LEVELS, Mask, expand, owned_edges, protect, references_of
from fastprune.index.times import NO_TIME, Times

_NEVER = 2**31 - 1
_PIECE = 1 << 16

Ranks = NDArray[np.int32]
"""How many images must go before something does: int32; `_NEVER` if it stays anyway."""


@dataclass(frozen=True, slots=True)
class SizeTarget:
    """How a size target was met.

    A file that has other names (hard links) makes the cache smaller when it goes, but frees
    nothing: so the two are counted apart.

    Attributes:
        to_free: Bytes that must come free.
        to_remove: Bytes of files that must go, so that the cache is small enough.
        frees: Bytes that come free.
        removes: Bytes of the files that go.
    """

    to_free: int
    to_remove: int
    frees: int = 0
    removes: int = 0

    @property
    def need(self) -> int:
        """The larger need."""
        return max(self.to_free, self.to_remove)

    @property
    def is_met(self) -> bool:
        """Whether both needs are met."""
        return not self.shortfall(self.frees, self.removes)

    def shortfall(self, freed: int, removed: int) -> int:
        """How many bytes are missing if so many come free, and the files that go have so many."""
        return max(0, self.to_free - freed, self.to_remove - removed)


def able_to_go(index: CacheIndex, selected: Mask, spared: Mask, *, allow_broken: bool) -> Mask:
    """Which of the selected manifests go if all of them do, bool (n,).

    The others would be counted in vain: a list that stays needs them in any case.

    Args:
        index: The cache.
        selected: bool (n,).
        spared: bool (n,): see `expand`.
        allow_broken: Whether lists that stay may lose what they refer to.
    """
    going, _ = expand(index, selected, spared)
    if not allow_broken:
        going, _ = protect(index, going)
    return selected & going


def oldest_first(index: CacheIndex, selected: Mask, pulls: Times) -> Rows:
    """The selected images, those pulled longest ago first; children count as part of theirs.

    What has a tag of its own goes after the lists that refer to it, so that it can go: they
    were pulled no later than it was, and if at the same time, they come first.

    Args:
        index: The cache.
        selected: bool (n,).
        pulls: int64 (n,): see `newest_pulls`.
    """
    _, children = owned_edges(index, np.flatnonzero(selected))
    units = selected.copy()
    units[children] = False
    rows = np.flatnonzero(units)
    # Without any time they come last: unknown is not old. Ties go by row in the end.
    times = pulls[rows]
    ages: Times = np.where(times == NO_TIME, np.iinfo(np.int64).max, times)
    return rows[np.lexsort((_levels(index)[rows], ages))]


def _levels(index: CacheIndex) -> NDArray[np.int32]:
    """How many manifests each is a part of, one through the other: int32 (n,), at most 32."""
    levels = np.zeros(len(index), dtype=np.int32)
    parents, children = index.part_parents, index.part_rows
    for _ in range(MOST_LEVELS):
        if not bool((levels[children] <= levels[parents]).any()):
            break
        np.maximum.at(levels, children, levels[parents] + 1)
    return levels


def size_target(index: CacheIndex, max_bytes: int | None, free_bytes: int | None) -> SizeTarget:
    """What must go; nothing does so far.

    Args:
        index: The cache.
        max_bytes: Bytes of manifests and blobs that may stay, by file and descriptor sizes.
        free_bytes: Bytes that must come free.
    """
    excess = 0 if max_bytes is None else max(0, total_bytes(index) - max_bytes)
    return SizeTarget(free_bytes or 0, excess)


def total_bytes(index: CacheIndex) -> int:
    """Bytes of all manifests and present blobs; of blobs as their descriptors say."""
    blobs = index.known_sizes(slice(index.blobs_present))
    # Descriptors may say what they like: the sum may be more than 64 bits hold.
    high, low = int((blobs >> 32).sum()), int((blobs & 0xFFFF_FFFF).sum())
    return int(index.file_sizes.sum(dtype=np.int64)) + (high << 32) + low


def shortest_prefix(
    index: CacheIndex,
    images: Rows,
    spared: Mask,
    target: SizeTarget,
    *,
    allow_broken: bool,
    held_blobs: Rows | None = None,
    at_least: int = 0,
) -> tuple[Rows, SizeTarget]:
    """The fewest of the first images that are enough.

    If that is never enough, all of them. For bytes that must come free, those at the end
    whose files all have other names are left out.

    Args:
        index: The cache.
        images: Rows, in the order in which they go.
        spared: bool (n,): the manifests that stay, whatever takes them along.
        target: What must go.
        allow_broken: Whether lists that stay may lose what they refer to.
        held_blobs: Ids of blobs that stay in any case.
        at_least: So many images go, even if fewer would be enough.

    Returns:
        These images; what they come to, with what they take along and all orphans.
    """
    by_prefix = partial(
        bytes_by_prefix,
        images=images,
        spared=spared,
        allow_broken=allow_broken,
        held_blobs=held_blobs,
    )
    removed = by_prefix(index)
    freed, of_use = removed, len(images)
    if index.has_links:
        freed = by_prefix(index.as_freed())
        # The last images may free nothing any more, and would go in vain.
        of_use = int(np.max(np.flatnonzero(np.diff(freed)) + 1, initial=0))
    count = max(
        at_least,
        _enough(freed, target.to_free, of_use),
        _enough(removed, target.to_remove, len(images)),
    )
    return images[:count], replace(target, frees=int(freed[count]), removes=int(removed[count]))


def _enough(by_prefix: NDArray[np.int64], need: int, most: int) -> int:
    """The first position with so many bytes; `most` if there is none."""
    enough = np.flatnonzero(by_prefix >= need)
    return int(enough[0]) if len(enough) else most


def bytes_by_prefix(
    index: CacheIndex,
    images: Rows,
    spared: Mask,
    *,
    allow_broken: bool,
    held_blobs: Rows | None = None,
) -> NDArray[np.int64]:
    """Bytes of the files that go if none, one, two ... of the images go, int64 (k + 1,).

    Args:
        index: The cache.
        images: k rows, in the order in which they go.
        spared: See `shortest_prefix`.
        allow_broken: See `shortest_prefix`.
        held_blobs: See `shortest_prefix`.
    """
    taken = _taken(index, images, spared)
    gone_by = taken
    freed = np.zeros(len(images) + 1, dtype=np.int64)

    def add(at: Ranks, sizes: NDArray[np.integer], sign: int = 1) -> None:
        counts = at < _NEVER
        np.add.at(freed, at[counts], sign * sizes[counts].astype(np.int64))

    sizes = index.file_sizes
    if allow_broken:
        add(taken, sizes)
    else:
        every_copy = _of_every_copy(index, taken)
        needed = _needed_until(index, every_copy)
        held = needed > every_copy
        # As long as a copy of it stays for other reasons, a list does not hold this one.
        early = held & (taken < every_copy)
        add(taken[~held | early], sizes[~held | early])
        add(every_copy[early], sizes[early], -1)
        add(needed[held], sizes[held])
        gone_by = np.where(held, needed, taken)
    blobs = _last_user(index, gone_by)
    if held_blobs is not None:
        blobs[held_blobs] = _NEVER
    add(blobs, index.known_sizes(slice(len(blobs))))
    return np.cumsum(freed)


def _taken(index: CacheIndex, images: Rows, spared: Mask) -> Ranks:
    """After how many images each manifest goes, itself or with a list: see `expand`."""
    ranks = np.full(len(index), _NEVER, dtype=np.int32)
    ranks[images] = np.arange(1, len(images) + 1, dtype=np.int32)
    frontier = images
    while len(frontier):
        parents, children = owned_edges(index, frontier)
        sooner = ~spared[children] & (ranks[parents] < ranks[children])
        parents, children = parents[sooner], children[sooner]
        np.minimum.at(ranks, children, ranks[parents])
        frontier = np.unique(children).astype(np.intp)
    return ranks


def _of_every_copy(index: CacheIndex, ranks: Ranks) -> Ranks:
    """The rank at which the last file of the same digest goes."""
    twins = index.twins
    return np.where(twins < 0, ranks, np.maximum(ranks, ranks[twins]))


def _needed_until(index: CacheIndex, every_copy: Ranks) -> Ranks:
    """After how many images no list that stays refers to a manifest any more; see `protect`.

    A list stays as long as a copy of it does, and then as long as another list needs it.
    """
    needed = np.zeros(len(index), dtype=np.int32)
    stays = every_copy.copy()
    parents, children = index.part_parents, index.part_rows
    while bool((needed[children] < stays[parents]).any()):
        np.maximum.at(needed, children, stays[parents])
        stays = np.maximum(every_copy, needed)
    return needed


def _last_user(index: CacheIndex, gone_by: Ranks) -> Ranks:
    """After how many images nothing refers to each of the present blobs; orphans: 0."""
    last = np.zeros(len(index.blob_digests), dtype=np.int32)
    images = np.flatnonzero(index.blob_counts)
    for first in range(0, len(images), _PIECE):
        rows = images[first : first + _PIECE]
        users = np.repeat(gone_by[rows], index.blob_counts[rows])
        np.maximum.at(last, references_of(index, rows), users)
    return last[: index.blobs_present]
