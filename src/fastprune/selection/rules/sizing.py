"""The fewest images that must go so that the cache shrinks by a number of bytes.

Stage: select. Input: a `CacheIndex` with edges, candidates in order. Output: how many of them.
Pure, no I/O.

Images go in a given order. For each number k of them, how many bytes come free if the first
k go? A manifest goes with the first image that takes it along (its rank), unless a list that
stays still needs it: then with the last of these. A blob goes when the last image that uses
it has gone. So each file comes free at one k: the maximum over the manifests that need it. A
cumulative sum gives the bytes for all k at once, without removing images one by one.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from fastprune.index.arrays import distinct, pieces
from fastprune.index.cache_index import CacheIndex, Rows
from fastprune.index.refcounts import MOST_LEVELS, Mask, expand, owned_edges, protect, references_of
from fastprune.index.times import NO_TIME, Times

_NEVER = 2**31 - 1
_PIECE = 1 << 16

Ranks = NDArray[np.int32]
"""How many images must go before each file goes: int32; `_NEVER` if it stays anyway."""


@dataclass(frozen=True, slots=True)
class SizeTarget:
    """How a size target was met.

    Removing a file with other hard links makes the cache smaller, but frees nothing. So bytes that
    must come free (`to_free`), and do (`frees`), are counted apart from those of files that must go
    (`to_remove`), and do (`removes`).
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
        """Bytes that are still missing, given those that come free and those of files that go."""
        return max(0, self.to_free - freed, self.to_remove - removed)


def able_to_go(index: CacheIndex, selected: Mask, kept: Mask, *, allow_broken: bool) -> Mask:
    """Which of the selected manifests go if all of them do, bool (n,).

    The others can't go, because a list that stays needs them: they must not be counted. All masks
    are bool (n,); `kept` is that of `expand`.
    """
    going, _ = expand(index, selected, kept)
    if not allow_broken:
        going, _ = protect(index, going)
    return selected & going


def oldest_first(index: CacheIndex, selected: Mask, pulls: Times) -> Rows:
    """The selected images, those pulled longest ago first; children count as part of their list.

    An image with a tag of its own comes after the lists that refer to it, because they keep it
    while they stay. They were pulled no later than the image; at equal times they come first.
    `selected` is bool (n,), and `pulls` that of `newest_pulls`.
    """
    _, children = owned_edges(index, np.flatnonzero(selected))
    units = selected.copy()
    units[children] = False
    rows = np.flatnonzero(units)
    # Images without any time come last: unknown is not old. The last criterion is the row.
    times = pulls[rows]
    ages: Times = np.where(times == NO_TIME, np.iinfo(np.int64).max, times)
    return rows[np.lexsort((_levels(index)[rows], ages))]


def _levels(index: CacheIndex) -> NDArray[np.int32]:
    """How deep each manifest is nested as a part of others: int32 (n,), at most 32."""
    levels = np.zeros(len(index), dtype=np.int32)
    parents, children = index.part_parents, index.part_rows
    for _ in range(MOST_LEVELS):
        if not bool((levels[children] <= levels[parents]).any()):
            break
        np.maximum.at(levels, children, levels[parents] + 1)
    return levels


def size_target(index: CacheIndex, max_bytes: int | None, free_bytes: int | None) -> SizeTarget:
    """The size target, before anything goes.

    `max_bytes` may stay, by the sizes of files and descriptors; `free_bytes` must come free.
    """
    excess = 0 if max_bytes is None else max(0, total_bytes(index) - max_bytes)
    return SizeTarget(free_bytes or 0, excess)


def total_bytes(index: CacheIndex) -> int:
    """Bytes of all manifests and present blobs; of blobs as their descriptors say."""
    total = int(index.file_sizes.sum(dtype=np.int64))
    for first in range(0, index.blobs_present, _PIECE):
        blobs = index.known_sizes(slice(first, min(first + _PIECE, index.blobs_present)))
        # Descriptors may claim any size: the sum may not fit into 64 bits.
        total += (int((blobs >> 32).sum()) << 32) + int((blobs & 0xFFFF_FFFF).sum())
    return total


def shortest_prefix(
    index: CacheIndex,
    images: Rows,
    kept: Mask,
    target: SizeTarget,
    *,
    allow_broken: bool,
    young_blobs: Rows | None = None,
    at_least: int = 0,
) -> tuple[Rows, SizeTarget]:
    """The fewest images, in their order, that meet a target; all if even those don't.

    If bytes must come free, images at the end whose files all have other hard links are left out.
    What is `kept`, bool (n,), stays whatever takes it along, and so do young blobs. At least so
    many images go, even if fewer would be enough.

    Returns:
        These images; the target with the bytes that go, those of parts and orphans included.
    """
    by_prefix = partial(
        _bytes_by_prefix,
        images=images,
        kept=kept,
        allow_broken=allow_broken,
        young_blobs=young_blobs,
    )
    removed = by_prefix(index)
    freed, of_use = removed, len(images)
    if index.has_links:
        freed = by_prefix(index.as_freed())
        # The last images may free nothing: then they need not go.
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


def _bytes_by_prefix(
    index: CacheIndex, images: Rows, kept: Mask, *, allow_broken: bool, young_blobs: Rows | None
) -> NDArray[np.int64]:
    """Bytes of the files that go if none, one, two ... of k images go, int64 (k + 1,)."""
    taken = _taken(index, images, kept)
    gone_by = taken
    freed = np.zeros(len(images) + 1, dtype=np.int64)

    def add(at: Ranks, sizes: NDArray[np.integer], sign: int = 1) -> None:
        # In pieces, as a selection of all blobs would take a quarter of the memory of the index.
        for some, bytes_of_some in zip(pieces(at, _PIECE), pieces(sizes, _PIECE), strict=True):
            counts = some < _NEVER
            np.add.at(freed, some[counts], sign * bytes_of_some[counts].astype(np.int64))

    sizes = index.file_sizes
    if allow_broken:
        add(taken, sizes)
    else:
        # The rank at which the last file of the same digest goes.
        every_copy = np.where(index.twins < 0, taken, np.maximum(taken, taken[index.twins]))
        needed = _needed_until(index, every_copy)
        held = needed > every_copy
        # A file can go while another copy stays. When the last copy would go, lists that stay
        # hold all copies: until then the first copies count as gone.
        early = held & (taken < every_copy)
        add(taken[~held | early], sizes[~held | early])
        add(every_copy[early], sizes[early], -1)
        add(needed[held], sizes[held])
        gone_by = np.where(held, needed, taken)
    blobs = _last_user(index, gone_by)
    if young_blobs is not None:
        blobs[young_blobs] = _NEVER
    for first in range(0, len(blobs), _PIECE):
        piece = slice(first, min(first + _PIECE, len(blobs)))
        add(blobs[piece], index.known_sizes(piece))
    return np.cumsum(freed)


def _taken(index: CacheIndex, images: Rows, kept: Mask) -> Ranks:
    """After how many images each manifest goes, itself or with a list: see `expand`."""
    ranks = np.full(len(index), _NEVER, dtype=np.int32)
    ranks[images] = np.arange(1, len(images) + 1, dtype=np.int32)
    frontier = images
    while len(frontier):
        parents, children = owned_edges(index, frontier)
        sooner = ~kept[children] & (ranks[parents] < ranks[children])
        parents, children = parents[sooner], children[sooner]
        np.minimum.at(ranks, children, ranks[parents])
        frontier = distinct(children)
    return ranks


def _needed_until(index: CacheIndex, every_copy: Ranks) -> Ranks:
    """After how many images no list that stays refers to a manifest any more; see `protect`.

    A list stays while any copy of it stays, and then while another list needs it.
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
    for rows in pieces(np.flatnonzero(index.blob_counts), _PIECE):
        users = np.repeat(gone_by[rows], index.blob_counts[rows])
        np.maximum.at(last, references_of(index, rows), users)
    return last[: index.blobs_present]
