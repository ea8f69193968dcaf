"""Carries out a plan: in which order, how fast, and until when.

Stage: apply. Input: a `PrunePlan` and a `Deleter`. Output: a `PruneReport`. I/O: opens
the three folders; all that changes one is done by the `Deleter`, in batches on threads,
and a `Journal` is told of each.

The order is the safety: lists, then image manifests, then blobs, and each phase is on
disk before the next begins. A crash leaves at worst blobs that nothing refers to, which
the next prune removes; never a manifest without its blobs.
"""

from __future__ import annotations

import os
import time
from collections.abc import Awaitable, Iterator
from contextlib import ExitStack
from functools import partial
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from fastprune.deletion.batches import Crew, Piece, slices
from fastprune.deletion.deleter import Batch, BatchResult, Deleter, Expected, Outcome
from fastprune.deletion.journal import Journal, JournalEntry, blob_entries, manifest_entries
from fastprune.deletion.pace import Limits
from fastprune.errors import JournalError
from fastprune.executors.threads import in_thread
from fastprune.guard.drift import manifests_changed_at, new_manifests, replaced_blobs
from fastprune.guard.server_findings import LookForServers
from fastprune.index.cache_index import CacheIndex, Rows
from fastprune.index.refcounts import list_levels
from fastprune.model import file_names
from fastprune.plan.prune_plan import PrunePlan
from fastprune.progress import NoProgress, Progress
from fastprune.reading.folders import open_folder
from fastprune.report.prune_report import Failure, PruneReport


async def carry_out(
    plan: PrunePlan,
    deleter: Deleter,
    *,
    limits: Limits | None = None,
    progress: Progress | None = None,
    journal: Journal | None = None,
    look: LookForServers | None = None,
) -> PruneReport:
    """Carries out a plan, once.

    Args:
        plan: What to remove. The caller holds the lock on the cache.
        deleter: How to remove it.
        limits: Pace and end.
        progress: Is told about files and bytes that went.
        journal: Is told what became of every file.
        look: Looks for servers before each phase; what it finds ends the run.

    Returns:
        What was removed, and what was not and why. A failed deletion does not end the
        run; what a manifest that stays still needs, stays too.

    Nor does a folder that can't be opened, listed or made durable: it ends the run between
    two batches, before anything that relies on it, and the report says so.
    """
    run = _Run(plan, deleter, limits or Limits(), progress or NoProgress(), journal, look)
    return await run.carry_out()


_PENDING = 255
_NOTHING = np.empty(0, dtype=np.intp)
_NO_BYTES = np.empty(0, dtype=np.int64)


class _Phase:
    """The files of one kind that are to go, and what became of each.

    Attributes:
        kind: list, image or blob.
        items: Rows of manifests or ids of blobs.
        outcomes: uint8: values of `Outcome`, `_PENDING` where nothing was tried.
        freed: int64: bytes of what went.
    """

    __slots__ = ("freed", "items", "kind", "outcomes")

    def __init__(self, kind: str, items: Rows) -> None:
        self.kind = kind
        self.items = items
        self.outcomes = np.full(len(items), _PENDING, dtype=np.uint8)
        self.freed = np.zeros(len(items), dtype=np.int64)

    def count(self, outcome: int) -> int:
        return int((self.outcomes == outcome).sum())

    def items_with(self, *outcomes: int) -> Rows:
        return self.items[np.isin(self.outcomes, outcomes)]

    def bytes_of(self, items: Rows) -> int:
        """Bytes of those of some items that went."""
        return int(self.freed[np.isin(self.items, items)].sum()) if len(items) else 0


class _Run:
    """One plan being carried out."""

    def __init__(
        self,
        plan: PrunePlan,
        deleter: Deleter,
        limits: Limits,
        progress: Progress,
        journal: Journal | None,
        look: LookForServers | None = None,
    ) -> None:
        self._plan, self._deleter = plan, deleter
        self._progress, self._journal = progress, journal
        self._phases: list[_Phase] = []
        self._failures: list[Failure] = []
        self._changed: list[str] = []
        self._appeared: tuple[str, ...] = ()
        self._looked_at: tuple[int, ...] = ()
        self._crew = Crew(limits, look)
        self._batch_size = self._crew.batch_size(deleter.batch_size)

    async def carry_out(self) -> PruneReport:
        started = time.monotonic()
        planned = self._plan
        total = int(planned.removed.sum()) + len(planned.blobs)
        self._progress.start("removing", total, "files")
        try:
            with self._crew.stopping_without_memory():
                for level in list_levels(planned.index, planned.lists):
                    await self._remove_manifests("list", level[self._plan.removed[level]])
                await self._remove_manifests("image", self._plan.images)
                await self._look_for_new_manifests()
                await self._remove_blobs(self._plan.blobs)
        finally:
            self._progress.stop()
        return self._report(total, time.monotonic() - started)

    def _report(self, total: int, seconds: float) -> PruneReport:
        """What was done of so many files that were to go."""
        index, phases = self._plan.index, self._phases
        linked = {"blob": index.linked_blobs}
        bytes_linked = sum(
            phase.bytes_of(linked.get(phase.kind, index.linked_manifests)) for phase in phases
        )
        blob_ids, blob_bytes = self._removed("blob")
        tried = sum(len(phase.items) - phase.count(_PENDING) for phase in phases)
        return PruneReport(
            plan=self._plan,
            dry_run=False,
            lists=self._removed("list")[0],
            images=self._removed("image")[0],
            blobs=blob_ids,
            blob_bytes=blob_bytes,
            bytes_freed=sum(int(phase.freed.sum()) for phase in phases) - bytes_linked,
            bytes_linked=bytes_linked,
            already_gone=sum(phase.count(Outcome.GONE) for phase in phases),
            changed=tuple(sorted(self._changed)),
            failures=tuple(sorted(self._failures)),
            left=total - tried if self._crew.stopped else 0,
            stopped=self._crew.stopped,
            appeared=self._appeared,
            servers=self._crew.servers,
            seconds={"apply": seconds},
            not_durable=tuple(self._crew.not_durable),
        )

    def _begin(self, kind: str, items: Rows) -> _Phase:
        """A phase whose files are in the report, whatever becomes of the run."""
        phase = _Phase(kind, items)
        self._phases.append(phase)
        return phase

    def _removed(self, kind: str) -> tuple[Rows, NDArray[np.int64]]:
        """What went of a kind, ascending, and the bytes of each."""
        phases = [phase for phase in self._phases if phase.kind == kind]
        gone = [phase.outcomes == Outcome.REMOVED for phase in phases]
        items = [_NOTHING, *(phase.items[took] for phase, took in zip(phases, gone, strict=True))]
        freed = [_NO_BYTES, *(phase.freed[took] for phase, took in zip(phases, gone, strict=True))]
        order = np.argsort(np.concatenate(items), kind="stable")
        return np.concatenate(items)[order], np.concatenate(freed)[order]

    async def _look_for_new_manifests(self) -> None:
        """The last moment before blobs go: whatever has come since may need them."""
        if len(self._plan.blobs) and not self._crew.must_stop():
            await in_thread(self._nothing_appeared)

    def _nothing_appeared(self) -> bool:
        """Whether there are no new manifests; else the run ends. Blocking.

        They are listed when a folder of them has changed, which is cheap to ask.
        """
        with self._crew.stopping("the manifests can't be listed once more"):
            changed_at = manifests_changed_at(self._plan.index)
            if changed_at != self._looked_at:
                # Another thread may look as well: what one has seen, the other must not clear.
                appeared = new_manifests(self._plan.index, self._plan.removed)
                if appeared:
                    self._appeared = appeared
                    self._crew.stop("manifests that appeared during the prune")
                self._looked_at = changed_at
        return not self._crew.stopped

    def _remove_blobs_of(self, descriptor: int, batch: Batch) -> BatchResult | None:
        """Removes a batch of blobs, unless a new manifest may need them. On a thread."""
        return self._deleter.remove(descriptor, batch) if self._nothing_appeared() else None

    async def _remove_manifests(self, kind: str, rows: Rows) -> None:
        """Removes lists or images; what they leave behind narrows the rest of the plan."""
        index = self._plan.index
        phase = self._begin(kind, rows)
        if len(rows):
            await self._crew.may_begin()
        for folder, first, last in index.folder_rows:
            begin, end = np.searchsorted(rows, (first, last)).tolist()
            await self._remove(folder, phase, self._manifest_pieces(phase, begin, end))
        self._plan = self._plan.without(phase.items_with(Outcome.CHANGED, Outcome.FAILED, _PENDING))

    async def _remove_blobs(self, ids: Rows) -> None:
        if not len(ids) or not await self._crew.may_begin():
            self._begin("blob", ids)
            return
        replaced = np.zeros(len(ids), dtype=np.bool_)
        with self._crew.stopping("the blobs can't be looked at once more"):
            replaced = await in_thread(replaced_blobs, self._plan.index, ids)
        # The largest first: a run that is stopped has freed the most that it could. What is
        # no file any more comes last, and is left alone.
        order = np.lexsort((-self._plan.blob_bytes, replaced))
        phase = self._begin("blob", ids[order])
        files = len(ids) - int(replaced.sum())
        pieces = self._blob_pieces(phase, files, self._plan.blob_bytes[order])
        folder = self._plan.index.layout.blob_folder
        await self._remove(folder, phase, pieces)
        phase.outcomes[files:] = Outcome.CHANGED
        names = file_names(self._plan.index.blob_digests[phase.items[files:]].tobytes())
        self._changed += [f"{folder}/{name}" for name in names]

    def _manifest_pieces(self, phase: _Phase, begin: int, end: int) -> Iterator[Piece]:
        for positions in slices(begin, end, self._batch_size):
            rows = phase.items[positions]
            names = file_names(self._plan.index.digests[rows].tobytes())
            sizes = self._plan.index.file_sizes[rows].tolist()
            expected = _expected(self._plan.index, rows)
            parse = self._plan.index.layout.parse
            yield Piece(positions, Batch(names, sizes, expected, parse=parse))

    def _blob_pieces(self, phase: _Phase, end: int, sizes: NDArray[np.int64]) -> Iterator[Piece]:
        for positions in slices(0, end, self._batch_size):
            ids = phase.items[positions]
            names = file_names(self._plan.index.blob_digests[ids].tobytes())
            yield Piece(positions, Batch(names, sizes[positions].tolist(), None))

    async def _remove(self, folder: str, phase: _Phase, pieces: Iterator[Piece]) -> None:
        """Removes pieces of one folder, several at a time, and makes that durable."""
        first = next(pieces, None)
        if first is None or self._crew.must_stop():
            return
        with ExitStack() as opened:
            with self._crew.stopping(f"{folder}/ can't be opened"):
                descriptor = open_folder(os.path.join(self._plan.index.root, folder))
                opened.callback(os.close, descriptor)
            if self._crew.must_stop():
                return
            blobs = phase.kind == "blob"
            await self._crew.work_on(
                chain([first], pieces),
                partial(self._remove_blobs_of if blobs else self._deleter.remove, descriptor),
                partial(self._record, folder, phase),
            )
            if self._journal is not None:
                await self._tell(self._journal.settle())
            await self._crew.settle(folder, self._deleter.settle, descriptor)

    async def _record(self, folder: str, phase: _Phase, piece: Piece, result: BatchResult) -> None:
        phase.outcomes[piece.positions] = np.frombuffer(result.outcomes, dtype=np.uint8)
        phase.freed[piece.positions] = result.freed
        self._note(folder, piece.batch, result)
        self._progress.advance(len(piece.batch.names), sum(result.freed))
        if self._journal is not None:
            await self._tell(self._journal.note(self._entries(folder, phase, piece, result)))

    async def _tell(self, told: Awaitable[None]) -> None:
        """What can't be taken down ends the run: nothing goes without a trace."""
        try:
            await told
        except JournalError as error:
            self._crew.stop(str(error))

    def _entries(
        self, folder: str, phase: _Phase, piece: Piece, result: BatchResult
    ) -> list[JournalEntry]:
        items = phase.items[piece.positions]
        if phase.kind == "blob":
            return blob_entries(self._plan, folder, items, piece.batch, result)
        return manifest_entries(self._plan, phase.kind, folder, items, piece.batch, result)

    def _note(self, folder: str, batch: Batch, result: BatchResult) -> None:
        for position, number in result.errors.items():
            path = f"{folder}/{batch.names[position]}"
            self._failures.append(Failure(path, number, os.strerror(number)))
        if Outcome.CHANGED in result.outcomes:
            self._changed += [
                f"{folder}/{name}"
                for name, outcome in zip(batch.names, result.outcomes, strict=True)
                if outcome == Outcome.CHANGED
            ]


def _expected(index: CacheIndex, rows: Rows) -> list[Expected]:
    columns = zip(
        rows.tolist(),
        index.kinds[rows].tolist(),
        index.urls(rows),
        index.created_texts(rows),
        index.pulled_texts(rows),
        strict=True,
    )
    expected = []
    for row, kind, url, created, pulled in columns:
        start = int(index.blob_starts[row])
        ids = index.blob_ids[start : start + int(index.blob_counts[row])]
        blobs = index.blob_digests[ids].tobytes()
        expected.append(Expected(kind, url, created, pulled, blobs))
    return expected
