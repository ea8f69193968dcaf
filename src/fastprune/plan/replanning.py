"""What of a saved plan still holds: the cache may have changed since.

Stage: plan. Input: a `SavedPlan` and a fresh `CacheIndex`. Output: `PrunePlan`. Pure, no I/O.

Never more than the saved plan names. A manifest goes if it is where it was and says what it
said; a list and the images that it takes along go together or not at all. A blob goes if
nothing that stays refers to it. If a running server was asked, a manifest that it knows by a tag
which the policy does not select stays as well.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from fastprune.errors import UnreadableManifestsError, UsageError
from fastprune.index.arrays import marked
from fastprune.index.cache_index import CacheIndex, Rows
from fastprune.index.digests import Digests, DigestTable, as_digests
from fastprune.index.refcounts import (
    NOBODY,
    Mask,
    count_references,
    lost_edges,
    protect,
    referrers,
    unreferenced,
)
from fastprune.plan.manifest_states import pull_digest, said_digest, states
from fastprune.plan.prune_plan import LeftOut, PrunePlan, freed
from fastprune.plan.saved_plan import NO_FOLDER, SavedPlan
from fastprune.plan.unseen_tags import held_by_unseen_tags
from fastprune.policy.policy import NO_NAME

CHANGED = "changed since the plan was made"
PULLED = "pulled since the plan was made"
PART_CHANGED = "an image of it changed or was pulled"
NEEDED = "still needed"
UNSEEN = "the server knows it by a tag that the plan does not select"

_Number = TypeVar("_Number", np.int16, np.int32)


def replan(saved: SavedPlan, index: CacheIndex) -> PrunePlan:
    """Finds out what of a saved plan still holds.

    Args:
        saved: The plan.
        index: The cache as it is now, scanned with edges.

    Returns:
        A plan that removes nothing that the saved one does not name.

    Raises:
        UsageError: The index was made without edges.
        UnreadableManifestsError: There are unreadable manifests that were not there, or
            not skipped, when the plan was made; or some could not be read at all.
    """
    if not index.has_edges:
        raise UsageError("this index was scanned without references; scan with edges=True")
    known = set(saved.header.corrupt)
    faults = [fault for fault in index.faults if fault[0] not in known - index.unknown]
    if faults:
        raise UnreadableManifestsError(faults, index.unknown, or_else="make a new plan")
    rows = index.rows_of(*saved.manifests)
    changed, pulled = _compare(saved, index, rows)
    removed = marked(rows[rows >= 0], len(index)) & ~changed & ~pulled
    held_by = _hold_together(index, removed, changed | pulled)
    removed &= held_by == NOBODY
    owners = index.rows_of(*saved.owners)
    going = np.isin(rows, np.flatnonzero(removed))
    unseen = held_by_unseen_tags(
        index,
        saved.header.policy,
        rows[going],
        owners[going],
        taken=saved.owners.folders[going] != NO_FOLDER,
    )
    removed[list(unseen)] = False
    if saved.header.allow_broken:
        removed, kept_by = _protect_unbroken(saved, index, rows, removed)
    else:
        removed, kept_by = protect(index, removed)
    blobs = DigestTable(index.present_digests).find(saved.blobs)
    gone = int((rows < 0).sum() + (blobs < 0).sum())
    blobs = blobs[blobs >= 0].astype(np.intp)
    go = np.isin(blobs, freed(index, removed), assume_unique=True)
    left_out = (
        *_left_manifests(index, np.flatnonzero(changed), CHANGED),
        *_left_manifests(index, np.flatnonzero(pulled), PULLED),
        *_left_manifests(index, np.flatnonzero(held_by != NOBODY), PART_CHANGED, held_by),
        *(LeftOut(index.path(row), index.url(row), UNSEEN, url) for row, url in unseen.items()),
        *_left_manifests(index, np.flatnonzero(kept_by != NOBODY), NEEDED, kept_by),
        *_left_blobs(index, blobs[~go], removed),
    )
    return PrunePlan(
        index=index,
        policy=saved.header.policy,
        allow_broken=saved.header.allow_broken,
        removed=removed,
        taken_by=_by_row(index, rows, owners.astype(np.int32), NOBODY),
        kept_by=kept_by,
        blobs=blobs[go],
        blob_bytes=index.known_sizes(blobs[go]),
        orphans=unreferenced(index, count_references(index)),
        spared_blobs=np.empty(0, dtype=np.intp),
        by_rule=None if saved.by_rule is None else _by_row(index, rows, saved.by_rule, NO_NAME),
        left_out=left_out,
        gone=gone,
    )


def _compare(saved: SavedPlan, index: CacheIndex, rows: Rows) -> tuple[Mask, Mask]:
    """Which manifests say something else now, and which only that they were pulled; bool (n,)."""
    there = np.flatnonzero(rows >= 0)
    said, pulls = bytearray(), bytearray()
    for record, references in states(index, rows[there]):
        said += said_digest(record, references)
        pulls += pull_digest(record)
    differs = _differ(saved.said[there], said)
    pulled = ~differs & _differ(saved.pulls[there], pulls)
    changed_rows, pulled_rows = rows[there[differs]], rows[there[pulled]]
    return marked(changed_rows, len(index)), marked(pulled_rows, len(index))


def _differ(before: Digests, now: bytearray) -> Mask:
    different: Mask = (before != as_digests(now)).any(axis=1)
    return different


def _hold_together(index: CacheIndex, removed: Mask, held: Mask) -> NDArray[np.int32]:
    """Which child makes each list that was to go stay: int32 (n,); `NOBODY` for the others."""
    held, held_by = held.copy(), np.full(len(index), NOBODY, dtype=np.int32)
    parents, children = index.part_parents, index.part_rows
    while True:
        edges = removed[parents] & ~held[parents] & held[children]
        if not edges.any():
            return held_by
        held_by[parents[edges]] = children[edges]
        held[parents[edges]] = True


def _protect_unbroken(
    saved: SavedPlan, index: CacheIndex, rows: Rows, removed: Mask
) -> tuple[Mask, NDArray[np.int32]]:
    """As `protect`, but lists may lose the children that the plan says they may lose."""
    lists = index.rows_of(*saved.broken_by)
    accepted = set(zip(lists.tolist(), rows[saved.broken].tolist(), strict=True))
    removed, kept_by = removed.copy(), np.full(len(index), NOBODY, dtype=np.int32)
    while True:
        lost = [
            edge
            for edge in zip(*(side.tolist() for side in lost_edges(index, removed)), strict=True)
            if edge not in accepted
        ]
        if not lost:
            return removed, kept_by
        for parent, child in lost:
            removed[child] = False
            kept_by[child] = parent


def _by_row(
    index: CacheIndex, rows: Rows, values: NDArray[_Number], other: int
) -> NDArray[_Number]:
    """The values of a saved plan's manifests, each at its row, and another for all other rows."""
    by_row = np.full(len(index), other, dtype=values.dtype)
    there = rows >= 0
    by_row[rows[there]] = values[there]
    return by_row


def _left_manifests(
    index: CacheIndex, rows: Rows, reason: str, because_of: NDArray[np.int32] | None = None
) -> Iterator[LeftOut]:
    for row in rows.tolist():
        cause = "" if because_of is None else index.url(int(because_of[row]))
        yield LeftOut(index.path(row), index.url(row), reason, cause)


def _left_blobs(index: CacheIndex, blobs: Rows, removed: Mask) -> Iterator[LeftOut]:
    ids, images = referrers(index, blobs)
    stay = ~removed[images]
    needed, first = np.unique(ids[stay], return_index=True)
    for blob, row in zip(needed.tolist(), images[stay][first].tolist(), strict=True):
        path = f"{index.layout.blob_folder}/{index.blob_name(blob)}"
        yield LeftOut(path, "", NEEDED, index.url(row))
