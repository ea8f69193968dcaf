"""Carries out plans beside a server of this process, for tests that are not asynchronous."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import anyio

from fastprune import JournalEntry, Limits, Policy, PruneReport
from fastprune.deletion.asking import carry_out
from fastprune.deletion.checks import Check
from fastprune.deletion.deleter import Batch, BatchResult, Deleter, moving_to_trash
from fastprune.deletion.phases import RunContext
from fastprune.layouts.default import DEFAULT_LAYOUT
from fastprune.plan.prune_plan import PrunePlan, make_plan
from fastprune.server.asked import Server

from .asked_server import AskedServer
from .cachebuilder import FOLDERS
from .scanning import scanned

BEGAN = datetime(2026, 11, 29, 12, 0, 0, tzinfo=UTC)
EVERYTHING = Policy(patterns=(".",))
HOUR = 3600.0


class Notes:
    """A journal that remembers what it was told."""

    def __init__(self) -> None:
        self.entries: list[JournalEntry] = []

    async def note(self, entries: Sequence[JournalEntry]) -> None:
        """See `Journal.note`."""
        self.entries += entries

    async def settle(self) -> None:
        """See `Journal.settle`."""

    def went(self) -> list[str]:
        """The paths of the files that went, in the order in which they were noted."""
        return [entry.path for entry in self.entries if entry.outcome == "removed"]


class Watched:
    """Moves files, and lets something happen before and after it; see `Deleter`."""

    def __init__(
        self,
        mover: Deleter,
        *,
        before: Callable[[list[str]], None] = lambda names: None,
        checked: Callable[[str], None] = lambda name: None,
        after: Callable[[list[str]], None] = lambda names: None,
    ) -> None:
        """Calls these before a batch is moved, after the check of a file, and after the batch."""
        self.batch_size = mover.batch_size
        self._mover, self._before, self._checked, self._after = mover, before, checked, after

    def remove(self, folder: int, batch: Batch) -> BatchResult:
        """See `Deleter.remove`."""
        self._before(batch.names)
        if batch.checks is not None:
            batch = batch._replace(checks=[partial(self._check, one) for one in batch.checks])
        result = self._mover.remove(folder, batch)
        self._after(batch.names)
        return result

    def _check(self, check: Check, folder: int, name: str) -> bool:
        is_same = check(folder, name)
        self._checked(name)
        return is_same

    def settle(self, folder: int) -> None:
        """See `Deleter.settle`."""
        self._mover.settle(folder)


def run_id(number: int) -> str:
    """The id of a live run: one that began so many days after the first."""
    return f"{BEGAN + timedelta(days=number):%Y%m%dT%H%M%SZ}-{number:06x}-live"


def age(root: Path, seconds: float = 2 * HOUR) -> None:
    """Makes all files of a cache this old."""
    then = time.time() - seconds
    for folder in FOLDERS:
        for path in (root / folder).iterdir():
            os.utime(path, (then, then), follow_symlinks=False)


def plan_of(
    root: Path,
    server: AskedServer,
    policy: Policy = EVERYTHING,
    *,
    allow_broken: bool = False,
    skip_corrupt: bool = False,
) -> PrunePlan:
    """A plan of a scan with the list of a server."""
    index = scanned(root, listing=server.listed())
    return make_plan(index, policy, allow_broken=allow_broken, skip_corrupt=skip_corrupt)


def ask(
    plan: PrunePlan,
    server: Server,
    *,
    run: int = 0,
    limits: Limits | None = None,
    journal: Notes | None = None,
    clock: Callable[[], float] = lambda: 0.0,
    grace: float = HOUR,
    wrapped: Callable[[Deleter], Deleter] = lambda mover: mover,
) -> PruneReport:
    """Carries a plan out beside a server; the run begins so many days after the first.

    What moves files is wrapped by `wrapped`.
    """
    reports: list[PruneReport] = []
    root = plan.index.root

    async def work() -> None:
        with moving_to_trash(root, run_id(run), DEFAULT_LAYOUT) as mover:
            context = RunContext(limits or Limits(concurrency=2), journal=journal)
            report = await carry_out(
                plan,
                wrapped(mover),
                run_id(run),
                server,
                context,
                grace=grace,
                clock=clock,
                now=lambda: BEGAN + timedelta(days=run),
            )
            reports.append(report)

    anyio.run(work)
    return reports[0]


def prune_beside(
    root: Path, server: AskedServer, policy: Policy = EVERYTHING, *, run: int = 0
) -> PruneReport:
    """Plans, and carries the plan out beside a server."""
    return ask(plan_of(root, server, policy), server, run=run)


def set_aside(root: Path) -> set[str]:
    """The files in the trash of a cache, by run: `<run>/<folder>/<name>`."""
    trash = root / ".fastprune" / "trash"
    if not trash.exists():
        return set()
    return {
        f"{run.name}/{folder}/{path.name}"
        for run in trash.iterdir()
        for folder in FOLDERS
        if (run / folder).is_dir()
        for path in (run / folder).iterdir()
    }
