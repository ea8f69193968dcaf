"""The array kernels: reference counts of blobs, children of lists, protection.

Stage: select, plan. Input and output: a `CacheIndex` and arrays. Pure, no I/O.

They work as in any reference-counting store. The roots are the manifests that stay: what
they refer to stays, and blobs with a count of zero go.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fastprune.index.arrays import (
    distinct,
    marked,
    paired,
    pieces,
    positions_in,
    starts_of,
    sums_of,
    unpaired,
)
from fastprune.index.cache_index import CacheIndex, Rows
from fastprune.index.server_urls import OtherTags

Mask = NDArray[np.bool_]
RefCounts = NDArray[np.uint32]
"""How many references each blob has: uint32 (m,), by position in `blob_digests`."""

NOBODY = -1

MOST_LEVELS = 32
"""Lists in lists are told apart to this depth. Real caches have fewer levels and no cycles."""

_PIECE = 1 << 16


def count_references(index: CacheIndex) -> RefCounts:
    """Counts the references of all image manifests; a layer named twice counts twice."""
    counts = np.zeros(len(index.blob_digests), dtype=np.uint32)
    # In pieces, because numpy counts with a copy of the ids as 64-bit numbers.
    for ids in pieces(index.blob_ids, _PIECE):
        np.add.at(counts, ids, np.uint32(1))
    return counts


def references_of(index: CacheIndex, rows: Rows) -> NDArray[np.uint32]:
    """The blob ids that some manifests refer to, with repetitions; lists refer to none."""
    return index.blob_ids[positions_in(index.blob_starts[rows], index.blob_counts[rows])]


def drop_references(index: CacheIndex, counts: RefCounts, rows: Rows) -> RefCounts:
    """Takes the references of some manifests, each there once, away from the counts."""
    left = counts.copy()
    for some in pieces(rows, _PIECE):
        np.subtract.at(left, references_of(index, some), np.uint32(1))
    return left


def image_bytes(index: CacheIndex, rows: Rows) -> NDArray[np.int64]:
    """Bytes of the blobs that manifests name, by their descriptors, int64; 0 for lists.

    A layer named twice counts twice.
    """
    if not index.has_edges:
        return index.declared[rows]
    sums = np.empty(len(rows), dtype=np.int64)
    for first in range(0, len(rows), _PIECE):
        some = rows[first : first + _PIECE]
        named = index.known_sizes(references_of(index, some))
        sums[first : first + _PIECE] = sums_of(named, index.blob_counts[some])
    return sums


def unreferenced(index: CacheIndex, counts: RefCounts) -> Rows:
    """The ids of the present blobs that nothing refers to."""
    return np.flatnonzero(counts[: index.blobs_present] == 0)


def owned_children(index: CacheIndex, parents: Rows) -> tuple[Rows, Rows]:
    """The parts that go when the manifest that owns them goes.

    A list owns a child if the child's URL is a digest URL or equals the list's own. A child
    with another tag was pulled for itself, be it a tag that only a server knows. A manifest also
    owns those whose tags belong to it, such as its signature.

    Returns:
        The parts, distinct, and for each the manifest that owns it.
    """
    heads, children = owned_edges(index, parents)
    rows, first = np.unique(children, return_index=True)
    return rows, heads[first]


def owned_edges(index: CacheIndex, parents: Rows) -> tuple[Rows, Rows]:
    """Manifests with the parts that go with them; see `owned_children`.

    Returns:
        Rows of manifests and rows of parts, as pairs; a part may belong to several.
    """
    edges = _edges_from(index.part_parents, parents, len(index))
    heads = index.part_parents[edges].astype(np.intp)
    children = index.part_rows[edges].astype(np.intp)
    owned = index.digest_urls[children] | index.attached[children]
    # In a cache that was loaded from a list of images, these are all children.
    for piece in pieces(np.flatnonzero(~owned), _PIECE):
        both = zip(index.urls(children[piece]), index.urls(heads[piece]), strict=True)
        owned[piece] = [url == url_of_list for url, url_of_list in both]
    if index.others is not None:
        owned = _owned_by_all_tags(index, index.others, heads, children, owned)
    return heads[owned], children[owned]


def _owned_by_all_tags(
    index: CacheIndex, others: OtherTags, heads: Rows, children: Rows, owned: Mask
) -> Mask:
    """Which parts are owned whatever tag they are known by: see `owned_children`.

    `owned` says whether a part, in `children`, is owned by the URLs that the files show.
    """
    named, owned = others.named(len(index)), owned.copy()
    # The URL of the child may be one by which only the server knows the list.
    edges = np.flatnonzero(~owned & named[heads])
    tags_of_lists = others.urls_of(heads[edges])
    both = zip(index.urls(children[edges]), tags_of_lists, strict=True)
    owned[edges] = [url in tags for url, tags in both]
    edges = np.flatnonzero(owned & named[children])
    columns = (
        index.urls(heads[edges]),
        others.urls_of(heads[edges]),
        others.urls_of(children[edges], of_their_own=True),
    )
    owned[edges] = [
        all(tag == url or tag in tags for tag in own)
        for url, tags, own in zip(*columns, strict=True)
    ]
    return owned


def lost_edges(index: CacheIndex, removed: Mask) -> tuple[Rows, Rows]:
    """The parts that manifests that stay would lose: no file of them would be left.

    `removed` is bool (n,): the manifests that are to go.

    Returns:
        Rows of manifests that stay, and for each the row of a part that goes.
    """
    parents, children = index.part_parents, index.part_rows
    edges = np.flatnonzero(removed[children] & ~removed[parents])
    twins = index.twins[children[edges]]
    edges = edges[(twins < 0) | removed[twins]]
    return parents[edges].astype(np.intp), children[edges].astype(np.intp)


def referrers(index: CacheIndex, blobs: Rows) -> tuple[Rows, Rows]:
    """Which images refer to some blobs.

    Returns:
        Ids of these blobs and rows of images, as pairs, each once, ascending.
    """
    hits = np.flatnonzero(marked(blobs, len(index.blob_digests))[index.blob_ids])
    # References are in the order in which shards arrived, not in that of the rows.
    images = np.flatnonzero(index.blob_counts)
    images = images[np.argsort(index.blob_starts[images], kind="stable")]
    at = np.searchsorted(index.blob_starts[images], hits, side="right") - 1
    return unpaired(distinct(paired(index.blob_ids[hits], images[at])))


def needing(index: CacheIndex, wanted: Mask) -> Mask:
    """Which images refer to some blobs at all: bool (m,) to bool (n,)."""
    need = np.zeros(len(index), dtype=bool)
    if not wanted.any():
        return need
    for rows in pieces(np.flatnonzero(index.blob_counts), _PIECE):
        hits = wanted[references_of(index, rows)]
        need[rows] = np.logical_or.reduceat(hits, starts_of(index.blob_counts[rows]))
    return need


def expand(index: CacheIndex, selected: Mask, kept: Mask) -> tuple[Mask, NDArray[np.int32]]:
    """Adds the owned parts of the selected manifests, the parts of those, and so on.

    All masks are bool (n,). What is kept stays, whatever refers to it.

    Returns:
        The selected manifests and what goes with them; and int32 (n,): the manifest
        that took one along, `NOBODY` for the others.
    """
    removed = selected & ~kept
    taken_by = np.full(len(index), NOBODY, dtype=np.int32)
    frontier = np.flatnonzero(removed)
    while len(frontier):
        children, owners = owned_children(index, frontier)
        new = ~removed[children] & ~kept[children]
        children, owners = children[new], owners[new]
        removed[children] = True
        taken_by[children] = owners
        frontier = children
    return removed, taken_by


def protect(index: CacheIndex, removed: Mask) -> tuple[Mask, NDArray[np.int32]]:
    """Takes parts of manifests that stay out of what is removed: keep beats delete.

    One file per digest is enough. If one of its files was not to be removed, the other may go;
    if all were to be removed, all of them that something needs stay. So the answer does not
    depend on the order in which manifests are given back.

    Returns:
        bool (n,): the manifests that go after all; and int32 (n,): the manifest that keeps
        one that was to go, `NOBODY` for the others.
    """
    last_files = removed & ((index.twins < 0) | removed[index.twins])
    removed = removed.copy()
    kept_by = np.full(len(index), NOBODY, dtype=np.int32)
    frontier = np.flatnonzero(~removed)
    while len(frontier):
        edges = _edges_from(index.part_parents, frontier, len(index))
        # A digest with files in both folders gives two edges, one to each of them.
        children, keepers = index.part_rows[edges], index.part_parents[edges]
        lost = removed[children] & last_files[children]
        rows, first = np.unique(children[lost], return_index=True)
        removed[rows] = False
        kept_by[rows] = keepers[lost][first]
        frontier = rows.astype(np.intp)
    return removed, kept_by


def edges_of(index: CacheIndex, parents: Rows) -> NDArray[np.int64]:
    """Positions in `child_parents` and `child_rows` of the edges of some lists."""
    return _edges_from(index.child_parents, parents, len(index))


def _edges_from(
    sorted_parents: NDArray[np.int32], parents: Rows, manifests: int
) -> NDArray[np.int64]:
    if len(parents) * 8 > manifests:
        return np.flatnonzero(marked(parents, manifests)[sorted_parents])
    first = np.searchsorted(sorted_parents, parents, side="left")
    counts = np.searchsorted(sorted_parents, parents, side="right") - first
    return positions_in(first, counts)


def list_levels(index: CacheIndex, lists: Rows) -> list[Rows]:
    """Cuts lists into levels, outer before inner: a list comes before those it holds.

    Nearly always there is one level: lists that hold lists are rare. A chain deeper than
    `MOST_LEVELS`, or a cycle (only made-up digests have one), counts as one level. The rows of each
    level ascend.
    """
    levels: list[Rows] = []
    pending = marked(lists, len(index))
    while pending.any():
        inner = pending[index.child_parents] & pending[index.child_rows]
        outermost = pending.copy()
        outermost[index.child_rows[inner]] = False
        if len(levels) == MOST_LEVELS or not outermost.any():
            outermost = pending
        levels.append(np.flatnonzero(outermost))
        pending = pending & ~outermost
    return levels
