"""Carries out plans beside a server of this process, for tests that are not asynchronous."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import anyio

from fastprune import JournalEntry, Limits, Policy, PruneReport
from fastprune.deletion.asking import carry_out
from fastprune.deletion.deleter import moving_to_trash
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


def run_id(number: int) -> str:
    """The id of a live run: one that began so many days after the first."""
    return f"{BEGAN + timedelta(days=number):%Y%m%dT%H%M%SZ}-{number:06x}-live"


def age(root: Path, seconds: float = 2 * HOUR) -> None:
    """Makes all blobs of a cache this old."""
    then = time.time() - seconds
    for path in (root / "blobs").iterdir():
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
) -> PruneReport:
    """Carries a plan out beside a server; the run begins so many days after the first."""
    reports: list[PruneReport] = []
    root = plan.index.root

    async def work() -> None:
        with moving_to_trash(root, run_id(run), DEFAULT_LAYOUT) as mover:
            context = RunContext(limits or Limits(concurrency=2), journal=journal)
            report = await carry_out(
                plan,
                mover,
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
