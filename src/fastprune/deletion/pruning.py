"""Carries out a plan: in which order, how fast, and until when.

Stage: apply. Input: a `PrunePlan` and a `Deleter`. Output: a `PruneReport`. I/O: looks for
manifests that have come since; what goes, goes by `fastprune.deletion.phases`.

The order is the safety: lists, then image manifests, then blobs, and each phase is on
disk before the next begins. A crash leaves at worst blobs that nothing refers to, which
the next prune removes; never a manifest without its blobs.
"""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np

from fastprune.deletion.accounts import Account, blob_files, manifest_files
from fastprune.deletion.deleter import Batch, BatchResult, Deleter, Outcome
from fastprune.deletion.phases import Phases, RunContext
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

    The caller holds the lock on the cache.

    Returns:
        What was removed, and what was not and why. If a file can't be removed, the run goes
        on, and what a manifest that stays still needs, stays too. If a folder can't be opened,
        listed or made durable, the run ends between two batches, before anything that relies
        on it.
    """
    phases = Phases(context or RunContext(), batch_size=deleter.batch_size)
    return await _Run(plan, deleter, phases).carry_out()


class _Run:
    """One plan being carried out.

    Attributes:
        appeared: Paths of manifests that have come since the scan.
    """

    def __init__(self, plan: PrunePlan, deleter: Deleter, phases: Phases) -> None:
        self.appeared: tuple[str, ...] = ()
        self._plan, self._deleter, self._phases = plan, deleter, phases
        self._account = Account(plan)
        self._looked_at: tuple[int, ...] = ()

    async def carry_out(self) -> PruneReport:
        started = time.monotonic()
        planned = self._plan
        with self._phases.under_way("removing", self._account.total):
            for level in list_levels(planned.index, planned.lists):
                await self._remove_manifests("list", level[self._plan.removed[level]])
            await self._remove_manifests("image", self._plan.images)
            await self._remove_blobs()
        seconds = time.monotonic() - started
        report = self._account.report(self._plan, self._phases, seconds)
        return replace(report, appeared=self.appeared)

    async def _remove_manifests(self, kind: str, rows: Rows) -> None:
        """Removes lists or images; what they leave behind narrows the rest of the plan."""
        phases, index = self._phases, self._plan.index
        begun = []
        for folder, *ends in index.folder_rows:
            here = rows[slice(*np.searchsorted(rows, ends))]
            files = manifest_files(self._plan, kind, folder, here)
            begun.append((here, self._account.add(here, files)))
        if len(rows):
            await phases.crew.may_begin()
        for _, files in begun:
            await phases.remove(files, index.root, self._deleter)
        stay = [here[~files.are(Outcome.REMOVED, Outcome.GONE)] for here, files in begun]
        self._plan = self._plan.without(np.concatenate(stay))

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
        files, odd = (
            self._account.add(plan.blobs[which], blob_files(plan, which))
            for which in (order[~replaced[order]], order[replaced[order]])
        )
        await phases.remove(files, plan.index.root, self._deleter, self._remove_blobs_of)
        # What is no file any more stays.
        phases.leave_alone(odd)

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
