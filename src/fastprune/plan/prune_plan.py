"""PrunePlan: what a prune will remove, and why.

Stage: plan. Input: a `CacheIndex` and a `Policy`. Output: `PrunePlan`. Pure, no I/O.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import Enum
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastprune.errors import UnreadableManifestsError, UsageError
from fastprune.index.arrays import pieces
from fastprune.index.cache_index import CacheIndex, Rows
from fastprune.index.refcounts import (
    NOBODY,
    Mask,
    count_references,
    drop_references,
    expand,
    protect,
    unreferenced,
)
from fastprune.policy.policy import NO_NAME, Policy
from fastprune.selection.rules.sizing import SizeTarget
from fastprune.selection.selecting import Selection, select

_NO_ROWS: Rows = np.empty(0, dtype=np.intp)


class Reason(Enum):
    """Why something goes."""

    SELECTED = "selected"
    CHILD = "child-of-selected-list"
    LAST_REFERENCE = "last-reference-removed"
    ORPHAN = "orphan"
    ATTACHED = "belongs-to-removed-image"

    @property
    def text(self) -> str:
        """The reason as reports and the audit log write it."""
        return self.value


class LeftOut(NamedTuple):
    """What a saved plan names and what stays after all.

    Attributes:
        path: Relative to the cache.
        url: Of a manifest; of a blob it is empty.
        reason: Why it stays, in words.
        needed_by: The URL of the manifest that is the cause, or a tag of the manifest that only
            the server knows; empty if it is itself.
    """

    path: str
    url: str
    reason: str
    needed_by: str


@dataclass(frozen=True, slots=True, eq=False)
class PrunePlan:
    """What goes and what stays. Immutable; holds no descriptors or other resources.

    Attributes:
        index: The cache that it speaks of.
        policy: What asked for it.
        allow_broken: Whether lists may lose children that they still refer to.
        removed: bool (n,): the manifests that go.
        taken_by: int32 (n,): the list that a child goes with, or the image that a tag belongs
            to; `NOBODY` if it was selected itself.
        kept_by: int32 (n,): the list that still needs a manifest that was to go, or the image
            that its tag belongs to; `NOBODY` for all others.
        blobs: The ids of the blobs that go, ascending.
        blob_bytes: int64: the size of each of these: of its file if it was measured, else
            by the descriptors.
        orphans: The ids of the blobs that nothing referred to before, ascending.
        spared_blobs: The ids of blobs that nothing refers to and that stay all the same,
            because they are too young.
        selection: What the policy selected and kept; None if a saved plan was asked instead.
        by_rule: int16 (n,): for each manifest that goes the position, in the policy's
            `rule_names`, of what selected it or the list that takes it along. None if the
            policy has no rules.
        left_out: What the saved plan that this one was made of names besides; None if
            there was none.
        gone: How many files of that plan were gone.
    """

    index: CacheIndex
    policy: Policy
    allow_broken: bool
    removed: Mask
    taken_by: NDArray[np.int32]
    kept_by: NDArray[np.int32]
    blobs: Rows
    blob_bytes: NDArray[np.int64]
    orphans: Rows
    spared_blobs: Rows
    selection: Selection | None = None
    by_rule: NDArray[np.int16] | None = None
    left_out: tuple[LeftOut, ...] | None = None
    gone: int = 0

    @property
    def manifests(self) -> Rows:
        """Rows of all manifests that go."""
        return np.flatnonzero(self.removed)

    @property
    def lists(self) -> Rows:
        """Rows of the lists that go."""
        return np.flatnonzero(self.removed & self.index.is_list)

    @property
    def images(self) -> Rows:
        """Rows of the image manifests that go."""
        return np.flatnonzero(self.removed & ~self.index.is_list)

    @property
    def protected(self) -> Rows:
        """Rows of the manifests that were to go and are still needed by a list."""
        return np.flatnonzero(self.kept_by != NOBODY)

    @property
    def met_but_kept(self) -> Rows:
        """Rows of the manifests that meet every criterion and that a rule of the policy keeps."""
        return _NO_ROWS if self.selection is None else self.selection.met_but_kept

    @property
    def bytes_removed(self) -> int:
        """Bytes of all files that go: manifests and blobs."""
        manifests = self.index.file_sizes[self.removed].sum(dtype=np.int64)
        return int(manifests) + int(self.blob_bytes.sum())

    @property
    def bytes_linked(self) -> int:
        """Bytes of those of these files that free nothing, because they have other hard links."""
        if not self.index.has_links:
            return 0
        linked = self.index.linked_manifests
        manifests = self.index.file_sizes[linked[self.removed[linked]]].sum(dtype=np.int64)
        blobs = self.blob_bytes[np.isin(self.blobs, self.index.linked_blobs)].sum()
        return int(manifests) + int(blobs)

    @property
    def bytes_freed(self) -> int:
        """Bytes that come free."""
        return self.bytes_removed - self.bytes_linked

    @property
    def target(self) -> SizeTarget | None:
        """How the size target was met; None if there was none."""
        return None if self.selection is None else self.selection.target

    @property
    def shortfall(self) -> int:
        """How many bytes more would have to go for the size target; 0 if it is met."""
        target = self.target
        return 0 if target is None else target.shortfall(self.bytes_freed, self.bytes_removed)

    @property
    def is_empty(self) -> bool:
        """Whether nothing goes."""
        return not len(self.blobs) and not bool(self.removed.any())

    def manifest_reason(self, row: int) -> Reason:
        """Why a manifest goes."""
        if self.taken_by[row] == NOBODY:
            return Reason.SELECTED
        return Reason.ATTACHED if self.index.belongs(row) else Reason.CHILD

    def rule_of(self, row: int) -> str | None:
        """The name of the rule by which a manifest goes; None if the policy has no rules."""
        return self.rules_of(np.array([row]))[0]

    def rules_of(self, rows: Rows) -> list[str | None]:
        """The same for some manifests."""
        if self.by_rule is None:
            return [None] * len(rows)
        # `NO_NAME` is -1, so it finds the last one.
        names = (*self.policy.rule_names, None)
        return [names[number] for number in self.by_rule[rows].tolist()]

    def keeper_of(self, row: int) -> str | None:
        """The name of the rule that keeps a manifest; None if it is the policy, or nothing."""
        kept_for = None if self.selection is None else self.selection.kept_for
        if kept_for is None or kept_for[row] == NO_NAME:
            return None
        return self.policy.rules[int(kept_for[row])].name

    def blob_reasons(self, blobs: Rows) -> list[Reason]:
        """Why each of some blobs goes."""
        # Asked for a batch at a time, so it must not go through all orphans.
        before = np.searchsorted(self.orphans, blobs, side="left")
        orphaned = np.searchsorted(self.orphans, blobs, side="right") > before
        return [Reason.ORPHAN if orphan else Reason.LAST_REFERENCE for orphan in orphaned.tolist()]

    def blob_items(
        self, blobs: Rows, sizes: NDArray[np.int64]
    ) -> Iterator[tuple[str, int, Reason]]:
        """Some blobs one by one: the name of each, its size (of int64 `sizes`), and why it goes."""
        for some, bytes_of_some in zip(pieces(blobs), pieces(sizes), strict=True):
            names = self.index.blob_names(some)
            yield from zip(names, bytes_of_some.tolist(), self.blob_reasons(some), strict=True)

    def sparing(self, blobs: Rows) -> PrunePlan:
        """The plan without some of the blobs that would go: these ids stay."""
        return replace(self._with_blobs(~np.isin(self.blobs, blobs)), spared_blobs=blobs)

    def measured(
        self,
        sizes: NDArray[np.int64],
        linked_manifests: Rows = _NO_ROWS,
        linked_blobs: Rows = _NO_ROWS,
    ) -> PrunePlan:
        """The plan with what the file system says of what goes.

        Args:
            sizes: int64: bytes of the file of each of its blobs.
            linked_manifests: Rows of those manifests that have other names.
            linked_blobs: Ids of such blobs.
        """
        index = self.index.with_links(linked_manifests, linked_blobs)
        return replace(self, index=index, blob_bytes=sizes)

    def without(self, rows: Rows) -> PrunePlan:
        """The plan if some manifests, which could not be removed, stay after all.

        What they still need stays with them: the children of a list, and the blobs of
        every image that stays.
        """
        if not len(rows):
            return self
        removed = self.removed.copy()
        removed[rows] = False
        kept_by = self.kept_by
        if not self.allow_broken:
            removed, newly_kept_by = protect(self.index, removed)
            kept_by = np.where(kept_by != NOBODY, kept_by, newly_kept_by)
        # Fewer manifests go, so fewer blobs do: those that still do are among the old ones.
        go = np.isin(self.blobs, freed(self.index, removed), assume_unique=True)
        return replace(self._with_blobs(go), removed=removed, kept_by=kept_by)

    def _with_blobs(self, go: Mask) -> PrunePlan:
        return replace(self, blobs=self.blobs[go], blob_bytes=self.blob_bytes[go])


def make_plan(
    index: CacheIndex,
    policy: Policy,
    *,
    allow_broken: bool = False,
    skip_corrupt: bool = False,
    young_blobs: Rows | None = None,
) -> PrunePlan:
    """Works out what a prune removes.

    Args:
        index: The cache, scanned with edges.
        policy: What to select.
        allow_broken: Remove selected manifests although a list that stays refers to them.
        skip_corrupt: Treat manifests whose content is broken as absent, instead of refusing.
        young_blobs: Ids of blobs that are known to stay, because they are too young: a size
            target counts without them. `PrunePlan.sparing` takes them out of the plan.

    Raises:
        UsageError: The policy has no criterion, or the index was made without edges.
        UnreadableManifestsError: There are unreadable manifests, whose references are
            unknown, and `skip_corrupt` is not set; or some could not be read at all.
    """
    policy.check()
    if not index.has_edges:
        raise UsageError("this index was scanned without references; scan with edges=True")
    faults = index.faults
    if skip_corrupt:
        faults = tuple(fault for fault in faults if fault[0] in index.unknown)
    if faults:
        raise UnreadableManifestsError(faults, index.unknown)
    selection = select(index, policy, allow_broken=allow_broken, young_blobs=young_blobs)
    removed, taken_by = expand(index, selection.selected, selection.kept)
    kept_by = np.full(len(index), NOBODY, dtype=np.int32)
    if not allow_broken:
        removed, kept_by = protect(index, removed)
    blobs = freed(index, removed)
    return PrunePlan(
        index=index,
        policy=policy,
        allow_broken=allow_broken,
        removed=removed,
        taken_by=taken_by,
        kept_by=kept_by,
        blobs=blobs,
        blob_bytes=index.known_sizes(blobs),
        orphans=unreferenced(index, count_references(index)),
        spared_blobs=_NO_ROWS,
        selection=selection,
        by_rule=_inherited(selection.by_rule, taken_by),
    )


def _inherited(
    by_rule: NDArray[np.int16] | None, taken_by: NDArray[np.int32]
) -> NDArray[np.int16] | None:
    """By which rule each manifest goes: children go by that of the list that takes them."""
    if by_rule is None:
        return None
    inherited = by_rule.copy()
    children = np.flatnonzero(taken_by != NOBODY)
    # Lists may hold lists: once per level.
    while bool((inherited[children] != inherited[taken_by[children]]).any()):
        inherited[children] = inherited[taken_by[children]]
    return inherited


def freed(index: CacheIndex, removed: Mask) -> Rows:
    """The present blobs that nothing refers to once some manifests, bool (n,), are gone."""
    counts = count_references(index)
    return unreferenced(index, drop_references(index, counts, np.flatnonzero(removed)))
