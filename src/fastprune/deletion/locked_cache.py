"""A held cache for programs with an event loop: what blocks runs on threads.

Stage: apply. Input: the path of a cache. Output: a `LockedCache`. I/O: see `held_cache`, which
does it all.

    >>> import fastprune
    >>> async def forget_nginx(path):
    ...     async with fastprune.locked(path, wait=30) as cache:
    ...         plan = await cache.plan(fastprune.Policy(patterns=("nginx",)))
    ...         return await cache.apply(plan)
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING

from fastprune.deletion.cache_reader import CacheReader
from fastprune.deletion.held_cache import ApplyOptions, HeldCache, held_cache
from fastprune.deletion.pace import Limits
from fastprune.executors.threads import check_cancelled, in_thread
from fastprune.guard.exclusive import Exclusion
from fastprune.layouts.default import DEFAULT_LAYOUT
from fastprune.layouts.layout import Layout
from fastprune.pipeline import PlanOptions, Reading
from fastprune.policy.policy import Policy
from fastprune.scanning.scanner import ScanOptions
from fastprune.verification.verifier import VerifyOptions

if TYPE_CHECKING:
    from fastprune.guard.named_server import NamedServer
    from fastprune.guard.server_findings import ServerFinding
    from fastprune.plan.prune_plan import PrunePlan
    from fastprune.plan.saved_plan import SavedPlan
    from fastprune.report.prune_report import PruneReport
    from fastprune.server.asked import Server
    from fastprune.trash.report import TrashReport
    from fastprune.verification.findings import Findings
    from fastprune.verification.repair_report import RepairReport


def thread_reader(
    root: str | os.PathLike[str], reading: Reading | None, layout: Layout = DEFAULT_LAYOUT
) -> CacheReader:
    """What reads a cache on a thread, until the caller is cancelled."""
    reading = reading or Reading()
    path = os.fspath(root)
    workers = partial(reading.workers, path, layout)
    return CacheReader(path, layout, workers, lambda: reading.progress, check_cancelled)


class LockedCache:
    """A cache that nobody else changes; `locked` gives it.

    It carries out what it has worked out itself, and each of it once.

    Attributes:
        root: Path of the cache.
        overridden: Servers that were found and that `force` overrides.
        no_lock: Why the cache is not locked; empty if it is.
    """

    def __init__(self, held: HeldCache) -> None:
        """Reads nothing yet. `held` is the same cache, for callers that may block."""
        self._held, self._scan = held, ScanOptions(layout=held.reader.layout)
        self.root: str = held.reader.root
        self.overridden: tuple[ServerFinding, ...] = held.overridden
        self.no_lock: str = held.unlocked

    async def plan(self, policy: Policy, planning: PlanOptions | None = None) -> PrunePlan:
        """Scans the cache and plans a prune of it.

        Args:
            policy: What to select.
            planning: How to plan.

        Raises:
            UsageError: The policy can't be used.
            UnreadableManifestsError: See `make_plan`.
            DurationError: The deadline passed.
            WorkerError: A worker died.
        """
        planning = planning or PlanOptions(self._scan)
        return (await in_thread(self._held.reader.plan, policy, planning)).plan

    async def replan(self, saved: SavedPlan, planning: PlanOptions | None = None) -> PrunePlan:
        """Scans the cache and finds out what of a saved plan still holds.

        Args:
            saved: What `load_plan` gave.
            planning: How to plan. By default the same young blobs are spared as when the plan
                was made.

        Raises:
            OtherCacheError: The plan was made for another cache.
            UnreadableManifestsError: See `replan`.
            DurationError: The deadline passed.
            WorkerError: A worker died.
        """
        planning = planning or PlanOptions(self._scan, grace=saved.header.grace)
        return (await in_thread(self._held.reader.replan, saved, planning)).plan

    async def verify(
        self, options: VerifyOptions | None = None, *, server: Server | None = None
    ) -> Findings:
        """Looks for damage; see `verify`."""
        options = options or VerifyOptions(self._scan)
        if server is None:
            return await in_thread(self._held.reader.verify, options)
        from fastprune.deletion.healing import with_list

        findings = await in_thread(self._held.reader.verify, await with_list(server, options))
        return await self._held.with_served(findings, server)

    async def apply(self, plan: PrunePlan, options: ApplyOptions | None = None) -> PruneReport:
        """Carries out a plan that this cache made, once.

        Args:
            plan: What `plan` or `replan` gave.
            options: How; by default files are deleted, and one manifest has to be left.

        Returns:
            What was removed, and what was not and why.

        Raises:
            UsageError: It made no such plan, or carried it out already.
            DeleteLimitError: More would go than may; nothing was deleted.
            TrashError: The trash can't be made; nothing was moved.
        """
        return await self._held.apply(plan, options or ApplyOptions())

    async def repair(self, findings: Findings, options: ApplyOptions | None = None) -> RepairReport:
        """Moves what this cache found damaged to the trash, once.

        Args:
            findings: What `verify` gave.
            options: How.

        Returns:
            What was moved, and what was not and why.

        Raises:
            UsageError: It made no such findings, or carried out their repair already.
            TrashError: The trash can't be made; nothing was moved.
        """
        return await self._held.repair(findings, options or ApplyOptions())

    async def restore(self, run: str, limits: Limits | None = None) -> TrashReport:
        """Puts a run of the trash back into the cache. Can be repeated, after a crash as well.

        Args:
            run: Its id, or enough of its beginning.
            limits: Pace and end.

        Raises:
            UsageError: No run begins so, or several do.
            TrashError: The cache lacks a folder that the run has files for.
        """
        (contents,) = (await in_thread(self._held.reader.read_trash, [run])).runs
        return await self._held.restore(contents, limits or Limits())

    async def empty(
        self,
        runs: Iterable[str] | None = None,
        *,
        older_than: timedelta | None = None,
        limits: Limits | None = None,
    ) -> TrashReport:
        """Deletes runs of the trash for good.

        Args:
            runs: Their ids, or enough of their beginnings; None for all.
            older_than: Only runs longer ago than this.
            limits: Pace and end.

        Raises:
            UsageError: No run begins so, or several do.
            TrashError: The trash can't be read.
        """
        read = partial(self._held.reader.read_trash, runs, older_than=older_than)
        return await self._held.empty((await in_thread(read)).runs, limits or Limits())


@asynccontextmanager
async def locked(
    root: str | os.PathLike[str],
    *,
    wait: float = 0,
    force: bool = False,
    no_lock: bool = False,
    trash_only: bool = False,
    named: NamedServer | None = None,
    layout: Layout = DEFAULT_LAYOUT,
    reading: Reading | None = None,
) -> AsyncIterator[LockedCache]:
    """Makes sure that no server runs on a cache, and locks it, before anything is read.

    Other tasks go on while it waits for the lock.

    Args:
        root: Path of the cache.
        wait: See `Exclusion`.
        force: See `Exclusion`.
        no_lock: See `Exclusion`.
        trash_only: See `Exclusion`.
        named: See `Exclusion`.
        layout: What kind of cache it is.
        reading: Where to read, and who is told of all steps.

    Raises:
        NoCacheError: There is no cache at this path.
        ServerRunningError: A server seems to run on it, or that can't be ruled out.
        LockedError: Another fastprune works on it.
        CantLockError: The file system can't lock, and `no_lock` was not given.
    """
    exclusion = Exclusion(wait, force, no_lock, trash_only, named)
    holding = held_cache(thread_reader(root, reading, layout), exclusion)
    held = await in_thread(holding.__enter__)
    try:
        yield LockedCache(held)
    finally:
        holding.__exit__(None, None, None)
