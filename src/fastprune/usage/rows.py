"""Usage: where the space of a cache goes, group by group.

Stage: report. Input: a `CacheIndex`, `Units`, the sizes of the files. Output: `Usage`.
Pure, no I/O.

A group is a set of manifests: those of a registry, a repository or an image. What only one
group needs is its own: it comes free if the group goes. What several need is in none of
them, but in a row of its own, so that all rows together are the bytes on disk.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastprune.index.arrays import distinct, paired, unpaired
from fastprune.index.cache_index import CacheIndex, Rows
from fastprune.index.refcounts import NOBODY, Mask, references_of
from fastprune.index.times import NO_TIME, Times
from fastprune.selection.rules.ages import newest_pulls
from fastprune.usage.placing import Bytes, Extra, Members, Places, members, place
from fastprune.usage.repositories import cut_to_segments, number_names, repository_lengths
from fastprune.usage.units import Units

_LATER_THAN_ALL = 2**62
_UNITS_AT_ONCE = 1 << 15


class By(StrEnum):
    """What makes a group."""

    registry = "registry"
    repository = "repository"
    image = "image"
    layer = "layer"


class Columns(NamedTuple):
    """The figures of g groups, followed by those of every `Extra`.

    Attributes:
        unique: int64: bytes that only the group needs. The sum over all is the disk usage.
        shared: int64: bytes that it needs and others need, too.
        images: int64: units of it.
        manifests: int64: files of it.
        blobs: int64: present blobs that it needs.
        oldest: int64: the earliest pull of its images, as in `newest_pulls`.
        newest: int64: the latest one.
    """

    unique: Bytes
    shared: Bytes
    images: NDArray[np.int64]
    manifests: NDArray[np.int64]
    blobs: NDArray[np.int64]
    oldest: Times
    newest: Times

    @property
    def total(self) -> Bytes:
        """Bytes that a group needs."""
        return self.unique + self.shared

    def take(self, rows: Rows) -> Columns:
        """The same of some rows only."""
        return Columns(*(column[rows] for column in self))


@dataclass(frozen=True, slots=True, eq=False)
class Usage:
    """Where the space goes. Immutable.

    Attributes:
        index: The cache.
        by: What makes a group.
        columns: Of each group, then of each `Extra`.
        name_rows: (g,): a row whose URL begins with a group's name; of a layer, one of an
            image that needs it.
        name_lengths: int64 (g,): how many bytes of the URL are the name.
        layers: (g,): ids of the blobs, by layer; else empty.
        of_unit: int64 (u,): the group of each unit, or behind all groups its `Extra`; by
            layer empty.
        places: In which row each file is counted; by layer None.
        selects: Whether only some of the manifests were asked for.
    """

    index: CacheIndex
    by: By
    columns: Columns
    name_rows: Rows
    name_lengths: NDArray[np.int64]
    layers: Rows
    of_unit: NDArray[np.int64]
    places: Places | None = None
    selects: bool = False

    def __len__(self) -> int:
        return len(self.name_rows)

    @property
    def total(self) -> int:
        """Bytes of all files of the cache: blobs and manifests."""
        return int(self.columns.unique.sum())

    def names(self, groups: Rows) -> list[str]:
        """The names of some groups; of a layer, its digest without `sha256:`."""
        if self.by is By.layer:
            return list(self.index.blob_names(self.layers[groups]))
        if self.by is By.image:
            return self.index.urls(self.name_rows[groups])
        pool = self.index.url_pool.data
        starts = self.index.url_starts[self.name_rows[groups]]
        ends = starts + self.name_lengths[groups]
        # Names end before an ASCII character, so no character is cut in two.
        return [
            str(pool[start:end], "utf-8")
            for start, end in zip(starts.tolist(), ends.tolist(), strict=True)
        ]


def measure(
    index: CacheIndex,
    units: Units,
    blob_bytes: Bytes,
    by: By,
    *,
    selected: Mask | None = None,
    depth: int | None = None,
    apart: bool = True,
    unreadable_bytes: int = 0,
) -> Usage:
    """Works out where the space goes; see `Survey`, which has the arguments, and its `usage`.

    A file that is needed by a manifest which is not selected is unique to no group.
    """
    chosen = np.ones(len(index), dtype=bool) if selected is None else selected
    count, of_unit, lengths, name_rows = _grouped(index, units, by, depth)
    if apart:
        of_unit = np.where(units.dangling, count + Extra.DANGLING, of_unit)
        of_unit = np.where(units.broken, count + Extra.BROKEN, of_unit)
    among = members(units, count, of_unit, chosen)
    places = place(index, among)
    unique = places.sums(blob_bytes, index.file_sizes)
    columns = _columns(index, units, among, places, unique, blob_bytes)
    if by is By.layer:
        usage = _by_layer(index, units, among, places, columns, blob_bytes)
    else:
        there = np.flatnonzero(columns.manifests[:count])
        kept = np.concatenate([there, count + np.arange(len(Extra))])
        # Nothing is placed in a group without a manifest; its units are outside.
        renumbered = np.full(count + len(Extra), len(there) + Extra.OUTSIDE, dtype=np.int32)
        renumbered[kept] = np.arange(len(kept))
        usage = Usage(
            index=index,
            by=by,
            columns=columns.take(kept),
            name_rows=name_rows[there],
            name_lengths=lengths[there],
            layers=np.empty(0, dtype=np.intp),
            of_unit=renumbered[of_unit].astype(np.int64),
            places=Places(
                len(there),
                renumbered[places.blobs],
                renumbered[places.manifests],
            ),
        )
    usage.columns.unique[len(usage) + Extra.UNREADABLE] = unreadable_bytes
    usage.columns.manifests[len(usage) + Extra.UNREADABLE] = len(index.faults)
    return replace(usage, selects=selected is not None)


def _grouped(
    index: CacheIndex, units: Units, by: By, depth: int | None
) -> tuple[int, NDArray[np.int64], NDArray[np.int64], Rows]:
    """How many groups there are, the one of each unit, and the lengths and rows of names."""
    if by is By.image:
        lengths = index.url_lengths[units.heads].astype(np.int64)
        return len(units), np.arange(len(units)), lengths, units.heads
    if by is By.layer:
        return 1, np.zeros(len(units), dtype=np.int64), np.zeros(1, dtype=np.int64), units.heads[:1]
    lengths = repository_lengths(index)
    segments = 1 if by is By.registry else depth
    if segments is not None:
        lengths = cut_to_segments(index, lengths, segments)
    names = number_names(index, lengths)
    return len(names.rows), names.ids[units.heads].astype(np.int64), names.lengths, names.rows


def _columns(
    index: CacheIndex,
    units: Units,
    among: Members,
    places: Places,
    unique: Bytes,
    blob_bytes: Bytes,
) -> Columns:
    """The columns of all groups, of those without a manifest as well."""
    many = places.groups + len(Extra)
    is_shared = np.zeros(len(index.blob_digests), dtype=bool)
    rows_shared = (places.groups + Extra.SHARED, places.groups + Extra.SHARED_OUTSIDE)
    for row in rows_shared:
        is_shared[: index.blobs_present] |= places.blobs == row
    shared, blobs = np.zeros((2, many), dtype=np.int64)
    # Groups come in their order, so a group has counted a blob if it is the last one that has.
    last = np.full(len(index.blob_digests), NOBODY, dtype=np.int32)
    for needed, of in among.references(index):
        among_several = is_shared[needed]
        sharing, of_several = unpaired(distinct(paired(of[among_several], needed[among_several])))
        new = last[of_several] != sharing
        np.add.at(shared, sharing[new], blob_bytes[of_several[new]])
        np.add.at(blobs, sharing[new], 1)
        last[of_several] = sharing
    in_several = places.manifests[among.pair_rows] == rows_shared[0]
    np.add.at(
        shared,
        among.pair_groups[in_several],
        index.file_sizes[among.pair_rows[in_several]].astype(np.int64),
    )
    images, oldest, newest = _images_and_pulls(index, units, among, many)
    blobs += np.bincount(places.blobs, minlength=many)
    manifests = np.bincount(among.pair_groups, minlength=many)
    manifests[rows_shared[0]] = np.count_nonzero(places.manifests == rows_shared[0])
    return Columns(unique, shared, images, manifests, blobs, oldest, newest)


def _images_and_pulls(
    index: CacheIndex, units: Units, among: Members, many: int
) -> tuple[NDArray[np.int64], Times, Times]:
    """How many units each group has, and their first and last pulls."""
    outside = np.zeros(len(index), dtype=bool)
    outside[among.pair_rows[among.pair_groups == among.groups + Extra.OUTSIDE]] = True
    asked_for = np.zeros(len(units), dtype=bool)
    asked_for[units.pair_units[~outside[units.pair_rows]]] = True
    groups = np.where(asked_for, among.of_unit, among.groups + Extra.OUTSIDE)
    pulls = newest_pulls(index)[units.heads]
    known = pulls > NO_TIME
    oldest = np.full(many, _LATER_THAN_ALL, dtype=np.int64)
    newest = np.full(many, NO_TIME, dtype=np.int64)
    np.minimum.at(oldest, groups[known], pulls[known])
    np.maximum.at(newest, groups[known], pulls[known])
    oldest[oldest == _LATER_THAN_ALL] = NO_TIME
    return np.bincount(groups, minlength=many), oldest, newest


def _by_layer(
    index: CacheIndex,
    units: Units,
    among: Members,
    places: Places,
    columns: Columns,
    blob_bytes: Bytes,
) -> Usage:
    """A row for every blob that an ordinary image needs: these are all in group 0."""
    needed_by_some = np.zeros(len(index.blob_digests), dtype=bool)
    for needed, of in among.references(index):
        needed_by_some[needed[of == 0]] = True
    layers = np.flatnonzero(needed_by_some[: index.blobs_present])
    extra = columns.take(places.groups + np.arange(len(Extra)))
    free = places.blobs[layers] != places.groups + Extra.SHARED_OUTSIDE
    sizes = blob_bytes[layers]
    own = np.where(free, sizes, 0)
    company = layers[places.blobs[layers] == places.groups + Extra.SHARED]
    extra.unique[Extra.SHARED] -= blob_bytes[company].sum()
    extra.blobs[Extra.SHARED] -= len(company)
    manifests = places.manifests == 0
    extra.unique[Extra.MANIFESTS] = index.file_sizes[manifests].sum(dtype=np.int64)
    extra.manifests[Extra.MANIFESTS] = np.count_nonzero(manifests)
    selected = np.ones(len(index), dtype=bool)
    selected[among.pair_rows[among.pair_groups == places.groups + Extra.OUTSIDE]] = False
    images, oldest, newest, first = _users(index, units, selected)
    ones = np.ones(len(layers), dtype=np.int64)
    rows = Columns(
        unique=own,
        shared=sizes - own,
        images=images[layers],
        manifests=0 * ones,
        blobs=ones,
        oldest=oldest[layers],
        newest=newest[layers],
    )
    heads = units.heads[first[layers]]
    return Usage(
        index,
        By.layer,
        Columns(*map(np.concatenate, zip(rows, extra, strict=True))),
        heads,
        index.url_lengths[heads].astype(np.int64),
        layers,
        np.empty(0, dtype=np.int64),
    )


def _users(
    index: CacheIndex, units: Units, selected: Mask
) -> tuple[NDArray[np.int64], Times, Times, Rows]:
    """Of each blob: how many units need it, their first and last pulls, and the first unit."""
    many = len(index.blob_digests)
    images = np.zeros(many, dtype=np.int64)
    oldest = np.full(many, _LATER_THAN_ALL, dtype=np.int64)
    newest = np.full(many, NO_TIME, dtype=np.int64)
    first = np.full(many, len(units), dtype=np.intp)
    asked_for = selected[units.pair_rows]
    pair_units, pair_rows = units.pair_units[asked_for], units.pair_rows[asked_for]
    pulls = newest_pulls(index)[units.heads]
    for some in range(0, len(units), _UNITS_AT_ONCE):
        begin, end = np.searchsorted(pair_units, (some, some + _UNITS_AT_ONCE))
        rows = pair_rows[begin:end].astype(np.intp)
        naming = np.repeat(pair_units[begin:end], index.blob_counts[rows])
        # An image may name a layer twice, and a list hold two images with the same one.
        of, needed = unpaired(distinct(paired(naming, references_of(index, rows))))
        np.add.at(images, needed, 1)
        np.minimum.at(first, needed, of)
        known = pulls[of] > NO_TIME
        np.minimum.at(oldest, needed[known], pulls[of[known]])
        np.maximum.at(newest, needed[known], pulls[of[known]])
    oldest[oldest == _LATER_THAN_ALL] = NO_TIME
    return images, oldest, newest, first
