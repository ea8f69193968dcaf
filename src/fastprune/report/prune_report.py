"""PruneReport: what a prune did.

Stage: report. Input: a `PrunePlan`, and what became of it. Output: a `PruneReport`, which
`fastprune.report.prune_rendering` shows. Pure, no I/O.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastprune.errors import Exceeded, ServerRunningError
from fastprune.guard.server_findings import ServerFinding
from fastprune.index.cache_index import Rows
from fastprune.plan.prune_plan import PrunePlan
from fastprune.report.estimates import RunEstimate


class Failure(NamedTuple):
    """A file that could not be removed.

    Attributes:
        path: Relative to the cache.
        errno: The error number of the system.
        message: What it means.
    """

    path: str
    errno: int
    message: str


@dataclass(frozen=True, slots=True, eq=False)
class PruneReport:
    """What a prune removed, or in a dry run would remove.

    Attributes:
        plan: The plan as carried out: without files that had to stay after all.
        dry_run: Whether nothing was touched.
        lists: Rows of the lists that were removed, ascending.
        images: Rows of the image manifests that were removed, ascending.
        blobs: Ids of the blobs that were removed, ascending.
        blob_bytes: int64: bytes of each of these, by their descriptors or, for orphans,
            by the scan.
        bytes_freed: Bytes of the removed files that came free.
        bytes_linked: Bytes of the removed files with other hard links, which freed nothing.
        already_gone: Files that someone else had removed.
        changed: Paths of files that had changed since the scan and were left alone.
        failures: What could not be removed.
        left: Files of the plan that were not tried, because the run was stopped.
        stopped: Why the run was stopped; empty if it wasn't.
        appeared: Paths of manifests that appeared during the prune: a server is at work,
            and no blob was removed since.
        seconds: How long each step took: scan, plan, apply.
        trash: Whether files were moved into the trash instead of being deleted.
        trash_run: The run that they are in; empty if nothing was moved.
        exceeded: Of a dry run: the delete limits that the plan goes beyond, so that it
            would be refused.
        not_durable: Folders whose file system can't make anything durable.
        no_lock: Why the cache was not locked; empty if it was, and in a dry run.
        estimate: Of a dry run: how long the real run will take; None if nobody asked.
        servers: Servers that were found during the prune and stopped it; of a dry run: that
            would make it refuse.
        overridden: Servers that were found before, and that --force has overridden.
    """

    plan: PrunePlan
    dry_run: bool
    lists: Rows
    images: Rows
    blobs: Rows
    blob_bytes: NDArray[np.int64]
    bytes_freed: int
    already_gone: int = 0
    changed: tuple[str, ...] = ()
    failures: tuple[Failure, ...] = ()
    left: int = 0
    stopped: str = ""
    appeared: tuple[str, ...] = ()
    seconds: dict[str, float] = field(default_factory=dict)
    trash: bool = False
    trash_run: str = ""
    exceeded: tuple[Exceeded, ...] = ()
    not_durable: tuple[str, ...] = ()
    no_lock: str = ""
    estimate: RunEstimate | None = None
    servers: tuple[ServerFinding, ...] = ()
    overridden: tuple[ServerFinding, ...] = ()
    bytes_linked: int = 0

    @property
    def manifests(self) -> Rows:
        """Rows of all manifests that were removed, ascending."""
        return np.sort(np.concatenate([self.lists, self.images]))

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
        if self.servers and not self.dry_run and not (len(self.manifests) or len(self.blobs)):
            return ServerRunningError.exit_code
        partial = self.failures or self.changed or self.left or self.stopped or self.plan.left_out
        return 3 if partial else 0


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
