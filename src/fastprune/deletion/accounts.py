"""What becomes of the files of a plan, however it is carried out.

Stage: apply. Input: a `PrunePlan`, and `Files` with what became of each. Output: a `PruneReport`.
No I/O of its own.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from fastprune.deletion.checks import manifest_checks
from fastprune.deletion.deleter import Batch, Outcome
from fastprune.deletion.journal import Fact, blob_facts, manifest_facts
from fastprune.deletion.phases import Files, Phases, batch_of
from fastprune.index.cache_index import Rows
from fastprune.plan.prune_plan import PrunePlan
from fastprune.report.prune_report import PruneReport

_NOTHING = np.empty(0, dtype=np.intp)
_NO_BYTES = np.empty(0, dtype=np.int64)
_NONE = np.empty(0, dtype=np.bool_)


def manifest_files(
    plan: PrunePlan, kind: str, folder: str, rows: Rows, *, action: str | None = None
) -> Files:
    """The files of some manifests of a folder, which go only if they are still what they were.

    Args:
        plan: What they are a part of.
        kind: list or image.
        folder: The folder that they are in.
        rows: Which ones.
        action: See `Files.action`.
    """
    index = plan.index

    def batch(positions: slice) -> Batch:
        some = rows[positions]
        checks = manifest_checks(index, some)
        return batch_of(index.digests[some], index.file_sizes[some], checks)

    def facts(positions: slice) -> Iterator[Fact]:
        return manifest_facts(plan, rows[positions])

    return Files(kind, folder, len(rows), batch, facts, action=action)


def blob_files(plan: PrunePlan, which: Rows, *, action: str | None = None) -> Files:
    """The files of some blobs that a plan removes.

    Args:
        plan: The plan.
        which: Positions among its `blobs`.
        action: See `Files.action`.
    """
    index, ids, sizes = plan.index, plan.blobs[which], plan.blob_bytes[which]

    def batch(positions: slice) -> Batch:
        return batch_of(index.blob_digests[ids[positions]], sizes[positions])

    def facts(positions: slice) -> Iterator[Fact]:
        return blob_facts(plan, ids[positions])

    return Files("blob", index.layout.blob_folder, len(ids), batch, facts, action=action)


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
        """Adds files that are begun, and gives them back.

        Args:
            items: Their rows or ids.
            files: The files.
        """
        self._begun.append((items, files))
        return files

    def removed(self, kind: str) -> tuple[Rows, NDArray[np.int64]]:
        """What went of a kind, ascending, and the bytes of each."""
        begun = [(items, files) for items, files in self._begun if files.kind == kind]
        went = np.concatenate([_NONE, *(files.are(Outcome.REMOVED) for _, files in begun)])
        items = np.concatenate([_NOTHING, *(items for items, _ in begun)])[went]
        freed = np.concatenate([_NO_BYTES, *(files.freed for _, files in begun)])[went]
        order = np.argsort(items, kind="stable")
        return items[order], freed[order]

    def moved(self) -> tuple[int, int]:
        """How many files were moved to the trash although the others were deleted; their bytes."""
        moved = [files for _, files in self._begun if files.action is not None]
        count = sum(files.count(Outcome.REMOVED) for files in moved)
        return count, sum(int(files.freed.sum()) for files in moved)

    def report(self, plan: PrunePlan, phases: Phases, seconds: float) -> PruneReport:
        """What was done.

        Args:
            plan: The plan as carried out.
            phases: What has carried it out.
            seconds: How long that took.
        """
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
