"""The verbs of the library: scan, survey, verify, repair; load_policy, apply, prune.

Stage: all, in order. The asynchronous face of the blocking scan and of the deleter; the
command line is made of these verbs and nothing else. The library prints nothing and
reads no environment. What needs numpy is imported when a scan is under way, so that its
workers do not wait for that.

    >>> import anyio, fastprune
    >>> async def unused_layers(path):
    ...     index = await fastprune.scan(path)
    ...     plan = fastprune.make_plan(index, fastprune.Policy(patterns=("nginx",)))
    ...     return plan.bytes_freed
"""

from __future__ import annotations

import os
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Self, TypeVar

import anyio

from fastprune.deletion.pace import Limits
from fastprune.errors import DeleteLimitError
from fastprune.executors.executor import Executor
from fastprune.executors.processes import available_jobs, start_workers
from fastprune.executors.threads import check_cancelled, in_thread
from fastprune.guard.servers import refuse_servers
from fastprune.layouts.default import DEFAULT_LAYOUT
from fastprune.layouts.layout import Layout
from fastprune.pipeline import PlanOptions, work_out
from fastprune.policy.delete_limits import DeleteLimits
from fastprune.policy.policy import Policy
from fastprune.progress import Progress
from fastprune.reading.folders import check_root
from fastprune.scanner import SMALL_CACHE, ScanOptions, scan_cache
from fastprune.usage.surveying import Survey, survey_cache
from fastprune.verification.verifier import VerifyOptions, verify_cache

if TYPE_CHECKING:
    from fastprune.deletion.deleter import Deleter
    from fastprune.deletion.journal import Journal
    from fastprune.guard.server_findings import LookForServers, ServerFinding
    from fastprune.index.cache_index import CacheIndex
    from fastprune.plan.prune_plan import PrunePlan
    from fastprune.policy.file_loading import PolicyFile
    from fastprune.report.prune_report import PruneReport
    from fastprune.verification.findings import Findings
    from fastprune.verification.repair_report import RepairReport

T = TypeVar("T")

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
    with _Pool(executor, jobs) as pool:
        return await in_thread(
            lambda: scan_cache(
                os.fspath(root),
                pool.open,
                options or ScanOptions(),
                progress=progress,
                checkpoint=check_cancelled,
            )
        )


async def load_policy(
    path: Path, root: Path, *, zone: str | None = None, layout: Layout = DEFAULT_LAYOUT
) -> PolicyFile:
    """Reads a policy file, for `prune`, `survey` and `make_plan`. Ages count from now.

    Args:
        path: The file: TOML or YAML, by its ending.
        root: Path of the cache, whose file system is asked if the file says how much space
            has to be free.
        zone: The server's time zone, an IANA name. It comes before what the file says; if
            neither says one, that of this machine counts.
        layout: What kind of cache it is.

    Raises:
        UsageError: It can't be read or used; the message has a line for each thing that is
            wrong, with file and key.
        NoCacheError: There is no cache, and the file says how much space has to be free.
    """
    from fastprune.policy.file_loading import load_policy_file

    now = datetime.now(UTC)
    return await in_thread(
        lambda: load_policy_file(
            os.fspath(path), now, root=os.fspath(root), layout=layout, zone=zone
        )
    )


async def survey(
    root: Path,
    policy: Policy | None = None,
    options: ScanOptions | None = None,
    *,
    executor: Executor | None = None,
    jobs: int | None = None,
    progress: Progress | None = None,
) -> Survey:
    """Reads a cache and the sizes of its files: where the space goes, and how old it is.

    Args:
        root: Path of the cache.
        policy: Which manifests are asked for; without any criterion, or None, all.
        options: See `scan`; its patterns are replaced by those of the policy.
        executor: See `scan`.
        jobs: See `scan`.
        progress: See `scan`.

    Raises:
        NoCacheError: There is no cache at this path.
        WorkerError: A worker died; nothing partial is ever returned.
    """
    with _Pool(executor, jobs) as pool:
        return await in_thread(
            lambda: survey_cache(
                os.fspath(root),
                policy or Policy(),
                pool.open,
                options or ScanOptions(),
                progress=progress,
                checkpoint=check_cancelled,
            )
        )


async def verify(
    root: Path,
    options: VerifyOptions | None = None,
    *,
    executor: Executor | None = None,
    jobs: int | None = None,
    progress: Progress | None = None,
) -> Findings:
    """Looks for damage in a cache. Changes nothing, not even access times.

    Args:
        root: Path of the cache.
        options: What to check; by default everything but the content of blobs.
        executor: See `scan`.
        jobs: See `scan`.
        progress: Is told how many manifests and blobs were read, from another thread.

    Raises:
        NoCacheError: There is no cache at this path.
        WorkerError: A worker died.
    """
    with _Pool(executor, jobs) as pool:
        return await in_thread(
            lambda: verify_cache(
                os.fspath(root),
                pool.open,
                options or VerifyOptions(),
                progress=progress,
                checkpoint=check_cancelled,
            )
        )


async def apply(
    plan: PrunePlan,
    *,
    dry_run: bool = False,
    force: bool = False,
    trash_run: str | None = None,
    limits: Limits | None = None,
    progress: Progress | None = None,
    journal: Journal | None = None,
) -> PruneReport:
    """Carries out a plan, once; the caller holds `cache_lock`, as `prune` does.

    Args:
        plan: What to remove.
        dry_run: Remove nothing, but report what would be removed.
        force: Go on although a server runs on the cache. By default servers are looked for
            before each phase, and one ends the run between two of them.
        trash_run: Move files into the trash, as the run of this new id (`make_run_id`),
            instead of deleting them.
        limits: Pace and end.
        progress: Is told about files and bytes that went.
        journal: Is told what became of every file.

    Returns:
        What was removed, and what was not and why.

    Raises:
        TrashError: The trash can't be made; nothing was moved.
    """
    if dry_run:
        from fastprune.report.prune_report import planned_report

        return planned_report(plan, trash=trash_run is not None)
    from fastprune.deletion.deleter import Unlinker
    from fastprune.deletion.pruning import carry_out

    look = _look(plan.index.root, force=force)
    work = partial(carry_out, plan, limits=limits, progress=progress, journal=journal, look=look)
    if trash_run is None or plan.is_empty:
        report = await work(Unlinker())
        return replace(report, trash=trash_run is not None)
    report = await _with_trash(plan.index, trash_run, work)
    moved = len(report.manifests) or len(report.blobs)
    return replace(report, trash=True, trash_run=trash_run if moved else "")


async def repair(
    findings: Findings,
    *,
    trash_run: str,
    dry_run: bool = False,
    force: bool = False,
    limits: Limits | None = None,
    progress: Progress | None = None,
    journal: Journal | None = None,
) -> RepairReport:
    """Moves what is damaged to the trash, once; the caller holds `cache_lock`.

    Args:
        findings: What `verify` found, since the lock was taken.
        trash_run: The run in the trash, by a new id (`make_run_id`).
        dry_run: Move nothing, but report what would be moved.
        force: See `apply`.
        limits: See `apply`.
        progress: See `apply`.
        journal: See `apply`.

    Returns:
        What was moved, and what was not and why.

    Raises:
        TrashError: The trash can't be made; nothing was moved.
    """
    from fastprune.verification.repair_plan import plan_repair
    from fastprune.verification.repair_report import planned_report

    plan = plan_repair(findings)
    if dry_run:
        return planned_report(plan)
    if plan.is_empty:
        return replace(planned_report(plan), dry_run=False)
    from fastprune.deletion.repairing import carry_out

    look = _look(findings.index.root, force=force)
    work = partial(carry_out, plan, limits=limits, progress=progress, journal=journal, look=look)
    report = await _with_trash(findings.index, trash_run, work)
    return replace(
        report, trash_run=trash_run if any(moved.any() for _, moved in report.moved) else ""
    )


def _look(root: str, *, force: bool) -> LookForServers | None:
    """What looks for servers before each phase; nothing does if they do not matter."""
    from fastprune.guard.servers import find_servers

    return None if force else partial(find_servers, root)


async def _with_trash(index: CacheIndex, run: str, work: Callable[[Deleter], Awaitable[T]]) -> T:
    """Does work with what moves files to a new run in the trash."""
    from fastprune.deletion.deleter import moving_to_trash

    moving = moving_to_trash(index.root, run, index.layout)
    mover = await in_thread(moving.__enter__)
    try:
        return await work(mover)
    finally:
        with anyio.CancelScope(shield=True):
            await in_thread(moving.__exit__, None, None, None)


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
    delete_limits: DeleteLimits | None = None,
    lock_wait: float = 0,
    no_lock: bool = False,
    grace: float = 0,
    max_seconds: float | None = None,
    force: bool = False,
    trash_run: str | None = None,
    journal: Journal | None = None,
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
        delete_limits: What may go at most. By default one manifest has to be left.
        lock_wait: Seconds to wait for another fastprune to end.
        no_lock: Go on where the file system can't lock; see `cache_lock`.
        grace: Spare blobs that were written in the last so many seconds.
        max_seconds: End cleanly after this time, whatever is left.
        force: Go on although a server seems to run on the cache, or starts meanwhile; the
            report says which.
        trash_run: See `apply`.
        journal: See `apply`.
        confirm: Asked before anything is removed, unless there is nothing to do.
        progress: Is told about both steps.

    Returns:
        The report, or None if `confirm` said no.

    Raises:
        NoCacheError: There is no cache at this path.
        LockedError: Another fastprune works on it.
        CantLockError: The file system can't lock, and `no_lock` was not given.
        ServerRunningError: A server seems to run on it.
        DurationError: The time ran out before anything was removed.
        TrashError: The trash can't be made; nothing was moved.
        UnreadableManifestsError: See `make_plan`.
        DeleteLimitError: More would go than may; nothing was deleted. A dry run says so in
            its report.
    """
    folder = os.fspath(root)
    policy.check()
    allowed = delete_limits or DeleteLimits()
    allowed.check()
    options = options or ScanOptions()
    await in_thread(check_root, folder, options.layout)
    deadline = None if max_seconds is None else time.monotonic() + max_seconds
    plan_options = PlanOptions(options, allow_broken, skip_corrupt, grace, deadline)
    checkpoint = check_cancelled

    async def work() -> PruneReport | None:
        with _Pool(executor, jobs) as pool:
            timed = await in_thread(
                lambda: work_out(
                    folder,
                    policy,
                    pool.open,
                    plan_options,
                    progress=progress,
                    checkpoint=checkpoint,
                )
            )
        exceeded = allowed.exceeded_by(timed.plan)
        if exceeded and not dry_run:
            raise DeleteLimitError(exceeded)
        if confirm and not dry_run and not timed.plan.is_empty and not await confirm(timed.plan):
            return None
        pace = (limits or Limits()).until(deadline, time.monotonic)
        report = await apply(
            timed.plan,
            dry_run=dry_run,
            force=force,
            trash_run=trash_run,
            limits=pace,
            progress=progress,
            journal=journal,
        )
        return replace(
            report,
            seconds=timed.seconds | report.seconds,
            exceeded=exceeded,
            overridden=overridden,
        )

    overridden: tuple[ServerFinding, ...] = ()
    if dry_run:
        return await work()
    overridden = await in_thread(partial(refuse_servers, folder, options.layout, force=force))
    from fastprune.guard.lock import cache_lock

    lock = cache_lock(folder, lock_wait, checkpoint, no_lock=no_lock)
    unlocked = await in_thread(lock.__enter__)
    try:
        report = await work()
        return report and replace(report, no_lock=unlocked)
    finally:
        lock.__exit__(None, None, None)


class _Pool:
    """The executor of a scan: the caller's, or one of our own that ends with the scan."""

    def __init__(self, executor: Executor | None, jobs: int | None) -> None:
        self._given, self._jobs = executor, jobs
        self._own: Executor | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._own is not None:
            self._own.close()

    def open(self, manifests: int) -> Executor:
        """Gives the executor for a number of manifests."""
        if self._given is not None:
            return self._given
        jobs = available_jobs() if self._jobs is None else self._jobs
        small = manifests <= SMALL_CACHE and self._jobs is None
        self._own = start_workers(1 if small else jobs)
        return self._own
