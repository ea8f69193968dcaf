"""What the steps of a prune beside a running server share.

Stage: apply. Input: a `PrunePlan`. Output: what became of it so far. I/O: none of its own but
through `Phases`, `Look` and `Aside`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from fastprune.deletion.accounts import Account, blob_files, manifest_files
from fastprune.deletion.aside import Aside
from fastprune.deletion.deleter import BatchResult, Deleter, Outcome, Unlinker
from fastprune.deletion.looking import Look
from fastprune.deletion.pace import RequestSizes
from fastprune.deletion.phases import Files, Phases
from fastprune.errors import UsageError
from fastprune.index.cache_index import Rows
from fastprune.index.refcounts import Mask
from fastprune.index.server_urls import KnownUrls
from fastprune.plan.prune_plan import PrunePlan
from fastprune.server.asked import Server

MOVED = "trash"
"""What the journal is told of files that fastprune moves itself; see `JournalEntry.action`."""


@dataclass(slots=True, eq=False)
class LiveRun:
    """A plan that is being carried out while a server runs.

    Attributes:
        plan: What still goes; it gets smaller as files turn out to stay.
        mover: Moves files to the live run.
        clock: Seconds, for how long requests take.
        grace: Blobs that were written in the last so many seconds are not moved.
        requests: How many were sent that ask the server to remove something.
        put_back: How many files were put back because something needs them.
        shared: Paths of images that were left out, as a manifest that has come since the scan
            needs one of their blobs.
        disturbed: Paths of manifests that have come since the scan and whose blobs were away for
            a moment.
        held_by_pulls: Ids of blobs that would go but for pulls that the scan has seen under way.
        miscounted: bool (m,): blobs that the server counts fewer references to than it should.
        counted: How many blobs were left because the server counts references to them.
    """

    plan: PrunePlan
    server: Server
    mover: Deleter
    phases: Phases
    account: Account
    look: Look
    aside: Aside
    clock: Callable[[], float]
    grace: float
    sizes: RequestSizes = field(default_factory=RequestSizes)
    requests: int = 0
    put_back: int = 0
    shared: list[str] = field(default_factory=list)
    disturbed: set[str] = field(default_factory=set)
    held_by_pulls: Rows = field(default_factory=lambda: np.empty(0, dtype=np.intp))
    miscounted: Mask = field(default_factory=lambda: np.empty(0, dtype=np.bool_))
    counted: int = 0

    @property
    def known(self) -> KnownUrls:
        """By which URLs the server knew the manifests when they were scanned.

        Raises:
            UsageError: The cache was scanned without the server's list.
        """
        known = self.plan.index.known
        if known is None:
            raise UsageError("the plan must be made with the list of the server: scan with it")
        return known

    def names(self, blobs: Rows) -> list[str]:
        """The names of the files of some blobs."""
        return list(self.plan.index.blob_names(blobs))

    def sizes_of(self, blobs: Rows) -> NDArray[np.int64]:
        """Bytes of some blobs of the plan."""
        return self.plan.blob_bytes[np.searchsorted(self.plan.blobs, blobs)]

    def goes(self, blobs: Rows) -> Mask:
        """Which of some blobs the plan removes, as it is now; bool, one for each id."""
        return np.isin(blobs, self.plan.blobs)

    async def note_manifests(
        self,
        kind: str,
        folder: str,
        rows: Rows,
        result: BatchResult,
        *,
        action: str | None = None,
    ) -> None:
        """Notes what became of manifests; those that stay narrow the plan."""
        files = manifest_files(self.plan, kind, folder, rows, action=action)
        await self.phases.note(self.account.add(rows, files), result)
        self.plan = self.plan.without(rows[~files.are(Outcome.REMOVED, Outcome.GONE)])

    def files_of_blobs(self, blobs: Rows, *, action: str | None = None) -> Files:
        """The files of some blobs of the plan; see `blob_files`."""
        return blob_files(self.plan, np.searchsorted(self.plan.blobs, blobs), action=action)

    async def note_blobs(
        self, blobs: Rows, result: BatchResult, *, action: str | None = None
    ) -> None:
        """Notes what became of some blobs of the plan."""
        files = self.files_of_blobs(blobs, action=action)
        await self.phases.note(self.account.add(blobs, files), result)

    async def settle(self, folder: str) -> bool:
        """Makes durable what the journal was told and what went from a folder of the cache."""
        opened = self.aside.cache.get(folder)
        if opened is None:
            return True
        return await self.phases.settle(folder, Unlinker().settle, opened)

    def stop_if_unknown(self) -> None:
        """Ends the run if a new manifest can't be understood: it may need any blob."""
        if self.look.unknown:
            named = ", ".join(self.look.unknown[:3])
            self.phases.crew.stop(f"manifests that have come and can't be read: {named}")

    def back(self, names: list[str], folder: str | None = None) -> bool:
        """Puts files back as `Aside.put_back` does; if that fails, the run ends. Blocking.

        Returns:
            Whether all are back.
        """
        failed = self.aside.put_back(names, folder)
        self.put_back += len(names) - len(failed)
        if failed:
            self.phases.crew.stop(f"files that can't be put back: {failed[0]}")
        return not failed


def part_of(result: BatchResult, positions: Sequence[int]) -> BatchResult:
    """What became of the files at some positions of a batch."""
    errors = {to: result.errors[at] for to, at in enumerate(positions) if at in result.errors}
    said = {to: result.message(at) for to, at in enumerate(positions) if at in result.errors}
    return BatchResult(
        bytearray(result.outcomes[at] for at in positions),
        [result.freed[at] for at in positions],
        errors,
        said,
    )
