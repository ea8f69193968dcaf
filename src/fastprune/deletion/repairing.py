"""Carries out a repair: moves bad blobs, then what needs them, to the trash.

Stage: apply. Input: a `RepairPlan` and what moves files. Output: a `RepairReport`. I/O:
opens folders; all that changes one is done by `fastprune.deletion.deleter`, in batches on threads.

A file that is not what it was when it was found damaged is left alone.
`fastprune.verification.repair_plan` says why blobs go first.
"""

from __future__ import annotations

import os
import time
from collections.abc import Awaitable
from contextlib import ExitStack
from functools import partial

import numpy as np

from fastprune.deletion.batches import Crew, Piece, slices
from fastprune.deletion.deleter import Batch, BatchResult, Deleter, Outcome
from fastprune.deletion.journal import Journal, JournalEntry, file_entries
from fastprune.deletion.pace import Limits
from fastprune.errors import JournalError
from fastprune.guard.server_findings import LookForServers
from fastprune.index.refcounts import Mask
from fastprune.model import file_names
from fastprune.progress import NoProgress, Progress, under_way
from fastprune.reading.folders import open_folder
from fastprune.reading.marks import FileMark
from fastprune.report.prune_report import Failure
from fastprune.verification.repair_plan import RepairPart, RepairPlan
from fastprune.verification.repair_report import RepairReport


async def carry_out(
    plan: RepairPlan,
    mover: Deleter,
    *,
    limits: Limits | None = None,
    progress: Progress | None = None,
    journal: Journal | None = None,
    look: LookForServers | None = None,
) -> RepairReport:
    """Carries out a repair, once.

    Args:
        plan: What to move. The caller holds the lock on the cache.
        mover: Moves it.
        limits: Pace and end.
        progress: Is told about files and bytes.
        journal: Is told what became of every file.
        look: Looks for servers before each phase; what it finds ends the repair.

    Returns:
        What was moved, and what was not and why. A folder that can't be opened or made
        durable ends the repair, before anything that relies on it.
    """
    run = _Run(plan, mover, limits or Limits(), progress or NoProgress(), journal, look)
    return await run.carry_out()


class _Run:
    """One repair being carried out."""

    def __init__(
        self,
        plan: RepairPlan,
        mover: Deleter,
        limits: Limits,
        progress: Progress,
        journal: Journal | None,
        look: LookForServers | None,
    ) -> None:
        self._plan, self._mover = plan, mover
        self._progress, self._journal = progress, journal
        self._crew = Crew(limits, look)
        self._moved: list[tuple[RepairPart, Mask]] = []
        self._changed: list[str] = []
        self._failures: list[Failure] = []
        self._gone = self._tried = 0

    async def carry_out(self) -> RepairReport:
        started = time.monotonic()
        with under_way(self._progress, "moving", self._plan.files, "files"):
            plan = self._plan
            with self._crew.stopping_without_memory():
                for part in plan.blobs:
                    stay = await self._move(part)
                    bad = plan.findings.bad_blobs
                    plan = plan.sparing(bad[stay])
                for part in plan.manifests:
                    await self._move(part)
        files = self._plan.count("blob") + sum(len(part.digests) for part in plan.manifests)
        return RepairReport(
            plan=self._plan,
            dry_run=False,
            moved=tuple(self._moved),
            changed=tuple(sorted(self._changed)),
            failures=tuple(sorted(self._failures)),
            already_gone=self._gone,
            spared=self._plan.files - files,
            left=files - self._tried if self._crew.stopped else 0,
            stopped=self._crew.stopped,
            servers=self._crew.servers,
            seconds=time.monotonic() - started,
            not_durable=tuple(self._crew.not_durable),
        )

    async def _move(self, part: RepairPart) -> Mask:
        """Moves the files of a part, durably; gives which ones are still there."""
        moved = np.zeros(len(part.digests), dtype=bool)
        there = np.ones(len(part.digests), dtype=bool)
        self._moved.append((part, moved))
        if not len(there) or not await self._crew.may_begin():
            return there

        async def note(piece: Piece, result: BatchResult) -> None:
            outcomes = np.frombuffer(result.outcomes, dtype=np.uint8)
            moved[piece.positions] = outcomes == Outcome.REMOVED
            there[piece.positions] = np.isin(outcomes, (Outcome.CHANGED, Outcome.FAILED))
            await self._note(part, piece, result)

        with ExitStack() as opened:
            with self._crew.stopping(f"{part.folder}/ can't be opened"):
                path = os.path.join(self._plan.findings.index.root, part.folder)
                folder = open_folder(path)
                opened.callback(os.close, folder)
            if self._crew.must_stop():
                return there
            size = self._crew.batch_size(self._mover.batch_size)
            pieces = (_piece(part, positions) for positions in slices(0, len(moved), size))
            await self._crew.work_on(pieces, partial(self._mover.remove, folder), note)
            if self._journal is not None:
                await self._tell(self._journal.settle())
            await self._crew.settle(part.folder, self._mover.settle, folder)
        return there

    async def _note(self, part: RepairPart, piece: Piece, result: BatchResult) -> None:
        names = piece.batch.names
        self._tried += len(names)
        self._gone += result.outcomes.count(Outcome.GONE)
        self._changed += [
            f"{part.folder}/{name}"
            for name, outcome in zip(names, result.outcomes, strict=True)
            if outcome == Outcome.CHANGED
        ]
        self._failures += [
            Failure(f"{part.folder}/{names[position]}", number, os.strerror(number))
            for position, number in result.errors.items()
        ]
        self._progress.advance(len(names), sum(result.freed))
        if self._journal is not None:
            await self._tell(self._journal.note(self._entries(part, piece, result)))

    async def _tell(self, told: Awaitable[None]) -> None:
        """What can't be taken down ends the repair: nothing moves without a trace."""
        try:
            await told
        except JournalError as error:
            self._crew.stop(str(error))

    def _entries(self, part: RepairPart, piece: Piece, result: BatchResult) -> list[JournalEntry]:
        urls: list[str | None] = [None] * len(piece.batch.names)
        if len(part.rows):
            urls = list(self._plan.findings.index.urls(part.rows[piece.positions]))
        facts = zip(urls, part.reason_texts(piece.positions), strict=True)
        return file_entries(part.kind, part.folder, facts, piece.batch, result)


def _piece(part: RepairPart, positions: slice) -> Piece:
    names = file_names(part.digests[positions].tobytes())
    marks = [FileMark(*mark) for mark in part.marks[positions].tolist()]
    return Piece(positions, Batch(names, part.sizes[positions].tolist(), None, marks))
