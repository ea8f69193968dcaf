"""What becomes of the files of a plan, however it is carried out.

Stage: apply. Input: a `PrunePlan`, and `Files` with what became of each. Output: a `PruneReport`.
No I/O of its own.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fastprune.deletion.checks import manifest_checks
from fastprune.deletion.deleter import Batch, Outcome
from fastprune.deletion.journal import blob_facts, manifest_facts
from fastprune.deletion.phases import Files, Phases, batch_of
from fastprune.index.cache_index import CacheIndex, Rows
from fastprune.plan.prune_plan import PrunePlan
from fastprune.report.prune_report import PruneReport


def manifest_files(
    plan: PrunePlan, kind: str, folder: str, rows: Rows, *, action: str | None = None
) -> Files:
    """The files of some manifests of a plan, all of a kind and in a folder."""
    return Files(
        kind,
        folder,
        len(rows),
        lambda positions: manifest_batch(plan.index, rows[positions]),
        lambda positions: manifest_facts(plan, rows[positions]),
        action=action,
    )


def manifest_batch(index: CacheIndex, rows: Rows) -> Batch:
    """A batch of some manifests of a folder, which go only if they are still what they were."""
    return batch_of(index.digests[rows], index.file_sizes[rows], manifest_checks(index, rows))


def blob_files(plan: PrunePlan, which: Rows, *, action: str | None = None) -> Files:
    """The files of some blobs that a plan removes: `which` are positions among its `blobs`."""
    index, ids, sizes = plan.index, plan.blobs[which], plan.blob_bytes[which]
    return Files(
        "blob",
        index.layout.blob_folder,
        len(ids),
        lambda positions: batch_of(index.blob_digests[ids[positions]], sizes[positions]),
        lambda positions: blob_facts(plan, ids[positions]),
        action=action,
    )


class Account:
    """Which files of a plan were begun, and what became of each.

    Attributes:
        total: How many files were to go at first.
    """

    def __init__(self, plan: PrunePlan) -> None:
        """Nothing was begun yet."""
        self.total = int(plan.removed.sum()) + len(plan.blobs)
        self._begun: list[tuple[Rows, Files]] = []

    def add(self, items: Rows, files: Files) -> Files:
        """Adds files that are begun, by their rows or ids, and gives them back."""
        self._begun.append((items, files))
        return files

    def removed(self, kind: str) -> tuple[Rows, NDArray[np.int64]]:
        """What went of a kind, ascending, and the bytes of each."""
        went = [np.empty(0, dtype=np.intp)]
        freed = [np.empty(0, dtype=np.int64)]
        for items, files in self._begun:
            if files.kind == kind:
                removed = files.are(Outcome.REMOVED)
                went.append(items[removed])
                freed.append(files.freed[removed])
        ids = np.concatenate(went)
        order = np.argsort(ids, kind="stable")
        return ids[order], np.concatenate(freed)[order]

    def moved(self) -> tuple[int, int]:
        """How many files were moved to the trash although the others were deleted; their bytes."""
        moved = [files for _, files in self._begun if files.action is not None]
        count = sum(files.count(Outcome.REMOVED) for files in moved)
        return count, sum(int(files.freed.sum()) for files in moved)

    def report(self, plan: PrunePlan, phases: Phases, seconds: float) -> PruneReport:
        """What was done by `phases`, in so many seconds; `plan` is what the plan came to."""
        index = plan.index
        bytes_linked = 0
        for items, files in self._begun if index.has_links else ():
            linked = index.linked_blobs if files.kind == "blob" else index.linked_manifests
            if files.action is None:
                bytes_linked += int(files.freed[np.isin(items, linked)].sum())
        blob_ids, blob_bytes = self.removed("blob")
        return PruneReport(
            plan=plan,
            dry_run=False,
            lists=self.removed("list")[0],
            images=self.removed("image")[0],
            blobs=blob_ids,
            blob_bytes=blob_bytes,
            bytes_freed=phases.freed - self.moved()[1] - bytes_linked,
            bytes_linked=bytes_linked,
            already_gone=phases.count(Outcome.GONE),
            changed=phases.changed,
            left=self.total - phases.tried if phases.crew.stopped else 0,
            seconds={"apply": seconds},
            **phases.account,
        )
