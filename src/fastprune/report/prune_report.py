"""PruneReport: what a prune did.

Stage: report. Input: a `PrunePlan`, and what became of it. Output: a `PruneReport`, which
`fastprune.report.prune_rendering` shows. Pure, no I/O.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from fastprune.errors import Exceeded, ServerRunningError
from fastprune.index.cache_index import Rows
from fastprune.plan.prune_plan import PrunePlan
from fastprune.report.estimates import RunEstimate
from fastprune.report.run_report import RunReport


@dataclass(frozen=True, slots=True)
class AskedServer:
    """What was done beside a running server, besides what was removed.

    Attributes:
        requests: How many requests to remove something were sent.
        put_back: How many files were put back, because something needs them.
        moved: How many of the removed files were moved to the live run, as the server could not
            remove them. The next run with the server deletes them.
        bytes_moved: Bytes of these, which are not free yet.
        emptied: How many files of earlier live runs were deleted.
        bytes_emptied: Bytes that came free by that.
        counted: Blobs that nothing on disk needs and that stay, as the server still counts
            references to them. After its restart they can go.
        shared: Paths of images that stay in this run: one of their blobs is needed by a manifest
            that has come since the scan.
        disturbed: Paths of manifests that were pulled during a request, while their blobs were
            away or their files went: clients may get errors until the server is started again.
    """

    requests: int = 0
    put_back: int = 0
    moved: int = 0
    bytes_moved: int = 0
    emptied: int = 0
    bytes_emptied: int = 0
    counted: int = 0
    shared: tuple[str, ...] = ()
    disturbed: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class PruneReport(RunReport):
    """What a prune removed, or in a dry run would remove.

    The `servers` of a dry run are those that would make the prune refuse.

    Attributes:
        plan: The plan as carried out: without files that had to stay after all.
        lists: Rows of the lists that were removed, ascending.
        images: Rows of the image manifests that were removed, ascending.
        blobs: Ids of the blobs that were removed, ascending.
        blob_bytes: int64: bytes of each of these, by their descriptors or, for orphans,
            by the scan.
        bytes_freed: Bytes of the removed files that came free.
        bytes_linked: Bytes of the removed files with other hard links, which freed nothing.
        already_gone: Files that someone else had removed.
        changed: Paths of files that had changed since the scan and were left alone.
        appeared: Paths of manifests that appeared during the prune: a server is at work,
            and no blob was removed since.
        seconds: How long each step took: scan, plan, apply.
        trash: Whether files were moved into the trash instead of being deleted.
        trash_run: The run that they are in; empty if nothing was moved.
        exceeded: Of a dry run: the delete limits that the plan goes beyond, so that it
            would be refused.
        estimate: Of a dry run: how long the real run will take; None if nobody asked.
        asked: What a running server was asked, and what went with it; None without one.
    """

    plan: PrunePlan
    lists: Rows
    images: Rows
    blobs: Rows
    blob_bytes: NDArray[np.int64]
    bytes_freed: int
    bytes_linked: int = 0
    already_gone: int = 0
    changed: tuple[str, ...] = ()
    appeared: tuple[str, ...] = ()
    seconds: dict[str, float] = field(default_factory=dict)
    trash: bool = False
    trash_run: str = ""
    exceeded: tuple[Exceeded, ...] = ()
    estimate: RunEstimate | None = None
    asked: AskedServer | None = None

    @property
    def manifests(self) -> Rows:
        """Rows of all manifests that were removed, ascending."""
        return np.sort(np.concatenate([self.lists, self.images]))

    @property
    def removed_any(self) -> bool:
        """Whether a file was removed."""
        return bool(len(self.manifests) or len(self.blobs))

    @property
    def shortfall(self) -> int:
        """How many bytes more would have had to go for the size target."""
        target, freed = self.plan.target, self.bytes_freed
        return 0 if target is None else target.shortfall(freed, freed + self.bytes_linked)

    @property
    def exit_code(self) -> int:
        """0; 3 if something is left that should have gone; 4 if that was for safety.

        11 if a server was found before anything went, as if it had been found at the start.
        """
        if self.appeared or self.exceeded:
            return 4
        if self.servers and not self.dry_run and not self.removed_any:
            return ServerRunningError.exit_code
        partial = self.failures or self.changed or self.left or self.stopped or self.plan.left_out
        shared = self.asked is not None and self.asked.shared
        return 3 if partial or shared else 0


def planned_report(plan: PrunePlan, *, trash: bool = False) -> PruneReport:
    """What a prune that removes everything it plans to would report: a dry run.

    Args:
        plan: What would be removed.
        trash: Whether it would be moved into the trash.
    """
    return PruneReport(
        plan=plan,
        dry_run=True,
        lists=plan.lists,
        images=plan.images,
        blobs=plan.blobs,
        blob_bytes=plan.blob_bytes,
        bytes_freed=plan.bytes_freed,
        bytes_linked=plan.bytes_linked,
        trash=trash,
    )
