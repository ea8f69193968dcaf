"""The verbs of the library: scan, make_plan, apply, prune.

Stage: all, in order. The asynchronous face of the blocking scan and of the deleter; the
command line is made of these verbs and nothing else. The library prints nothing and
reads no environment.

    >>> import anyio, fastprune
    >>> async def unused_layers(path):
    ...     index = await fastprune.scan(path)
    ...     plan = fastprune.make_plan(index, fastprune.Policy(patterns=("nginx",)))
    ...     return plan.bytes_freed
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace

import anyio
import anyio.from_thread
import anyio.to_thread

from fastprune.deleter import Limits, Recorder, Unlinker, carry_out
from fastprune.errors import DurationError, ServerRunningError
from fastprune.executors import Executor
from fastprune.executors.inline import InlineExecutor
from fastprune.executors.processes import ProcessExecutor, available_jobs
from fastprune.guard import cache_lock, running_servers, young_blobs
from fastprune.index import CacheIndex
from fastprune.plan import PrunePlan, make_plan
from fastprune.policy import Policy
from fastprune.progress import Progress
from fastprune.report import PruneReport
from fastprune.scanner import SMALL_CACHE, ScanOptions, check_root, scan_cache

Path = str | os.PathLike[str]


async def scan(
    root: Path,
    options: ScanOptions | None = None,
    *,
    executor: Executor | None = None,
    jobs: int | None = None,
    progress: Progress | None = None,
) -> CacheIndex:
    """Reads a cache. Changes nothing, not even access times.

    Args:
        root: Path of the cache.
        options: What is wanted; by default everything that a plan needs.
        executor: Where to read, opened and closed by the caller. By default small
            caches are read in this process, larger ones in workers.
        jobs: Number of workers if no executor is given; None picks by the machine.
        progress: Is told how many manifests were read, from another thread.

    Raises:
        NoCacheError: There is no cache at this path.
        WorkerError: A worker died; nothing partial is ever returned.
    """
    opened: list[Executor] = []

    def open_executor(manifests: int) -> Executor:
        if executor is not None:
            return executor
        wanted = available_jobs() if jobs is None else jobs
        small = manifests <= SMALL_CACHE and jobs is None
        opened.append(InlineExecutor() if small or wanted == 1 else ProcessExecutor(wanted))
        return opened[0]

    def scan_in_thread() -> CacheIndex:
        try:
            return scan_cache(
                os.fspath(root),
                open_executor,
                options or ScanOptions(),
                progress=progress,
                checkpoint=anyio.from_thread.check_cancelled,
            )
        finally:
            for one in opened:
                one.close()

    return await anyio.to_thread.run_sync(scan_in_thread)


async def apply(
    plan: PrunePlan,
    *,
    dry_run: bool = False,
    limits: Limits | None = None,
    progress: Progress | None = None,
) -> PruneReport:
    """Carries out a plan, once; the caller holds `cache_lock`, as `prune` does.

    Args:
        plan: What to remove.
        dry_run: Remove nothing, but report what would be removed.
        limits: Pace and end.
        progress: Is told about files and bytes that went.

    Returns:
        What was removed, and what was not and why.
    """
    deleter = Recorder() if dry_run else Unlinker()
    return await carry_out(plan, deleter, limits=limits, progress=progress)


async def prune(
    root: Path,
    policy: Policy,
    *,
    dry_run: bool = False,
    allow_broken: bool = False,
    skip_corrupt: bool = False,
    options: ScanOptions | None = None,
    executor: Executor | None = None,
    jobs: int | None = None,
    limits: Limits | None = None,
    lock_wait: float = 0,
    grace: float = 0,
    max_seconds: float | None = None,
    force: bool = False,
    confirm: Callable[[PrunePlan], Awaitable[bool]] | None = None,
    progress: Progress | None = None,
) -> PruneReport | None:
    """Scans, plans and removes, with the cache locked.

    Args:
        root: Path of the cache.
        policy: What to select.
        dry_run: Change nothing at all; the lock is not taken.
        allow_broken: See `make_plan`.
        skip_corrupt: See `make_plan`.
        options: See `scan`; its patterns are replaced by those of the policy.
        executor: See `scan`.
        jobs: See `scan`.
        limits: See `apply`.
        lock_wait: Seconds to wait for another fastprune to end.
        grace: Spare blobs that were written in the last so many seconds.
        max_seconds: End cleanly after this time, whatever is left.
        force: Go on although a server seems to run on the cache.
        confirm: Asked before anything is removed, unless there is nothing to do.
        progress: Is told about both steps.

    Returns:
        The report, or None if `confirm` said no.

    Raises:
        NoCacheError: There is no cache at this path.
        LockedError: Another fastprune works on it.
        ServerRunningError: A server seems to run on it.
        DurationError: The time ran out before anything was removed.
        UnreadableManifestsError: See `make_plan`.
    """
    policy.check()
    check_root(os.fspath(root))
    options = replace(options or ScanOptions(), edges=True, pattern_sets=policy.pattern_sets)

    if not dry_run and not force:
        await _refuse_servers(os.fspath(root))
    deadline = anyio.current_time() + max_seconds if max_seconds is not None else math.inf
    limits = _until(deadline, limits or Limits())

    async def work() -> PruneReport | None:
        started = time.monotonic()
        with anyio.CancelScope(deadline=deadline) as scope:
            index = await scan(root, options, executor=executor, jobs=jobs, progress=progress)
        if scope.cancelled_caught:
            raise DurationError("--max-duration was over before the cache was scanned")
        scanned = time.monotonic()
        plan = make_plan(index, policy, allow_broken=allow_broken, skip_corrupt=skip_corrupt)
        if grace > 0:
            young = await anyio.to_thread.run_sync(young_blobs, index, plan.blobs, grace)
            plan = plan.sparing(young)
        planned = time.monotonic()
        if confirm and not dry_run and not plan.is_empty and not await confirm(plan):
            return None
        report = await apply(plan, dry_run=dry_run, limits=limits, progress=progress)
        steps = {"scan": scanned - started, "plan": planned - scanned}
        return replace(report, seconds=steps | report.seconds)

    if dry_run:
        return await work()
    async with cache_lock(os.fspath(root), lock_wait):
        return await work()


async def _refuse_servers(root: str) -> None:
    servers = await anyio.to_thread.run_sync(running_servers, root)
    if servers:
        named = "; ".join(f"process {server.pid}: {server.command}" for server in servers)
        raise ServerRunningError(f"a server seems to run on {root}: {named}")


def _until(deadline: float, limits: Limits) -> Limits:
    def stopped() -> str:
        late = anyio.current_time() >= deadline
        return limits.stopped() or ("--max-duration" if late else "")

    return replace(limits, stopped=stopped)
