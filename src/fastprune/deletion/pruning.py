"""Carries out a plan: in which order, how fast, and until when.

Stage: apply. Input: a `PrunePlan` and a `Deleter`. Output: a `PruneReport`. I/O: looks for
manifests that have come since; what goes, goes by `fastprune.deletion.phases`.

The order is the safety: lists, then image manifests, then blobs, and each phase is on
disk before the next begins. A crash leaves at worst blobs that nothing refers to, which
the next prune removes; never a manifest without its blobs.
"""

from __future__ import annotations

import time

import numpy as np
from numpy.typing import NDArray

from fastprune.deletion.checks import manifest_checks
from fastprune.deletion.deleter import Batch, BatchResult, Deleter, Outcome
from fastprune.deletion.journal import blob_facts, manifest_facts
from fastprune.deletion.phases import Files, Phases, RunContext, batch_of
from fastprune.executors.threads import in_thread
from fastprune.guard.drift import manifests_changed_at, new_manifests, replaced_blobs
from fastprune.index.cache_index import Rows
from fastprune.index.refcounts import list_levels
from fastprune.plan.prune_plan import PrunePlan
from fastprune.report.prune_report import PruneReport


async def carry_out(
    plan: PrunePlan, deleter: Deleter, context: RunContext | None = None
) -> PruneReport:
    """Carries out a plan, once.

    Args:
        plan: What to remove. The caller holds the lock on the cache.
        deleter: How to remove it.
        context: The pace, and who is told.

    Returns:
        What was removed, and what was not and why. If a file can't be removed, the run goes
        on, and what a manifest that stays still needs, stays too. If a folder can't be opened,
        listed or made durable, the run ends between two batches, before anything that relies
        on it.
    """
    phases = Phases(context or RunContext(), batch_size=deleter.batch_size)
    return await _Run(plan, deleter, phases).carry_out()


_NOTHING = np.empty(0, dtype=np.intp)
_NO_BYTES = np.empty(0, dtype=np.int64)
_NONE = np.empty(0, dtype=np.bool_)


class _Run:
    """One plan being carried out.

    Attributes:
        appeared: Paths of manifests that have come since the scan.
    """

    def __init__(self, plan: PrunePlan, deleter: Deleter, phases: Phases) -> None:
        self.appeared: tuple[str, ...] = ()
        self._plan, self._deleter, self._phases = plan, deleter, phases
        # Rows or ids of what was begun, with what became of each.
        self._begun: list[tuple[Rows, Files]] = []
        self._looked_at: tuple[int, ...] = ()

    async def carry_out(self) -> PruneReport:
        started = time.monotonic()
        planned = self._plan
        total = int(planned.removed.sum()) + len(planned.blobs)
        with self._phases.under_way("removing", total):
            for level in list_levels(planned.index, planned.lists):
                await self._remove_manifests("list", level[self._plan.removed[level]])
            await self._remove_manifests("image", self._plan.images)
            await self._remove_blobs()
        return self._report(total, time.monotonic() - started)

    def _report(self, total: int, seconds: float) -> PruneReport:
        """What was done of so many files that were to go."""
        index, phases = self._plan.index, self._phases
        bytes_linked = 0
        for items, files in self._begun if index.has_links else ():
            linked = index.linked_blobs if files.kind == "blob" else index.linked_manifests
            bytes_linked += int(files.freed[np.isin(items, linked)].sum())
        blob_ids, blob_bytes = self._removed("blob")
        return PruneReport(
            plan=self._plan,
            dry_run=False,
            lists=self._removed("list")[0],
            images=self._removed("image")[0],
            blobs=blob_ids,
            blob_bytes=blob_bytes,
            bytes_freed=phases.freed - bytes_linked,
            bytes_linked=bytes_linked,
            already_gone=phases.count(Outcome.GONE),
            changed=phases.changed,
            left=total - phases.tried if phases.crew.stopped else 0,
            appeared=self.appeared,
            seconds={"apply": seconds},
            **phases.account,
        )

    def _removed(self, kind: str) -> tuple[Rows, NDArray[np.int64]]:
        """What went of a kind, ascending, and the bytes of each."""
        begun = [(items, files) for items, files in self._begun if files.kind == kind]
        went = np.concatenate([_NONE, *(files.are(Outcome.REMOVED) for _, files in begun)])
        items = np.concatenate([_NOTHING, *(items for items, _ in begun)])[went]
        freed = np.concatenate([_NO_BYTES, *(files.freed for _, files in begun)])[went]
        order = np.argsort(items, kind="stable")
        return items[order], freed[order]

    async def _remove_manifests(self, kind: str, rows: Rows) -> None:
        """Removes lists or images; what they leave behind narrows the rest of the plan."""
        phases, index = self._phases, self._plan.index
        begun = []
        for folder, *ends in index.folder_rows:
            here = rows[slice(*np.searchsorted(rows, ends))]
            begun.append((here, self._manifests(kind, folder, here)))
        self._begun += begun
        if len(rows):
            await phases.crew.may_begin()
        for _, files in begun:
            await phases.remove(files, index.root, self._deleter)
        stay = [here[~files.are(Outcome.REMOVED, Outcome.GONE)] for here, files in begun]
        self._plan = self._plan.without(np.concatenate(stay))

    def _manifests(self, kind: str, folder: str, rows: Rows) -> Files:
        plan, index = self._plan, self._plan.index

        def batch(positions: slice) -> Batch:
            some = rows[positions]
            checks = manifest_checks(index, some)
            return batch_of(index.digests[some], index.file_sizes[some], checks)

        return Files(kind, folder, len(rows), batch, lambda at: manifest_facts(plan, rows[at]))

    async def _remove_blobs(self) -> None:
        """Removes the blobs that still go, unless new manifests may need them."""
        phases, plan = self._phases, self._plan
        if not len(plan.blobs):
            return
        if not phases.crew.must_stop():
            await in_thread(self.nothing_appeared)
        if not await phases.crew.may_begin():
            return
        replaced = np.zeros(len(plan.blobs), dtype=np.bool_)
        with phases.crew.stopping("the blobs can't be looked at once more"):
            replaced = await in_thread(replaced_blobs, plan.index, plan.blobs)
        # The largest first: a run that is stopped has freed the most that it could.
        order = np.argsort(-plan.blob_bytes, kind="stable")
        for which in (order[~replaced[order]], order[replaced[order]]):
            ids = plan.blobs[which]
            self._begun.append((ids, self._blobs(ids, plan.blob_bytes[which])))
        (_, files), (_, odd) = self._begun[-2:]
        await phases.remove(files, plan.index.root, self._deleter, self._remove_blobs_of)
        # What is no file any more stays.
        phases.leave_alone(odd)

    def _blobs(self, ids: Rows, sizes: NDArray[np.int64]) -> Files:
        plan, index = self._plan, self._plan.index
        return Files(
            "blob",
            index.layout.blob_folder,
            len(ids),
            lambda at: batch_of(index.blob_digests[ids[at]], sizes[at]),
            lambda at: blob_facts(plan, ids[at]),
        )

    def _remove_blobs_of(self, folder: int, batch: Batch) -> BatchResult | None:
        """Removes a batch of blobs, unless a new manifest may need them. On a thread."""
        return self._deleter.remove(folder, batch) if self.nothing_appeared() else None

    def nothing_appeared(self) -> bool:
        """Whether there are no new manifests; else the run ends. Blocking.

        It is asked right before blobs go. The folders of manifests are listed when one of
        them has changed, which is cheap to ask.
        """
        crew, plan = self._phases.crew, self._plan
        with crew.stopping("the manifests can't be listed once more"):
            changed_at = manifests_changed_at(plan.index)
            if changed_at != self._looked_at:
                # Another thread may look as well: what one has seen, the other must not clear.
                appeared = new_manifests(plan.index, plan.removed)
                if appeared:
                    self.appeared = appeared
                    crew.stop("manifests that appeared during the prune")
                self._looked_at = changed_at
        return not crew.stopped
