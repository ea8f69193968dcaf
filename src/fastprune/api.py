"""The verbs of the library; all that the command line does is done by these, or by what they call.

Stage: all, in order. The asynchronous face of the blocking scan and of the deleter. The library
prints nothing and reads no environment. What needs numpy is imported while a scan runs: its workers
need not wait for that.

    >>> import anyio, fastprune
    >>> async def unused_layers(path):
    ...     index = await fastprune.scan(path)
    ...     plan = fastprune.make_plan(index, fastprune.Policy(patterns=("nginx",)))
    ...     return plan.bytes_freed
"""

from __future__ import annotations

import os
import time
from collections.abc import Awaitable, Callable, Iterable
from contextlib import ExitStack
from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

from fastprune.deletion.cache_reader import explain_image
from fastprune.deletion.held_cache import ApplyOptions
from fastprune.deletion.locked_cache import locked, thread_reader
from fastprune.executors.threads import in_thread
from fastprune.guard.exclusive import Exclusion
from fastprune.layouts.default import DEFAULT_LAYOUT
from fastprune.layouts.layout import Layout
from fastprune.pipeline import PlanOptions, Reading
from fastprune.policy.policy import Policy
from fastprune.progress import Progress
from fastprune.reading.folders import check_root
from fastprune.scanning.scanner import ScanOptions
from fastprune.usage.surveying import Survey
from fastprune.verification.verifier import VerifyOptions

if TYPE_CHECKING:
    from fastprune.explanation.explaining import Explanation
    from fastprune.index.cache_index import CacheIndex
    from fastprune.plan.prune_plan import PrunePlan
    from fastprune.policy.file_loading import PolicyFile
    from fastprune.report.prune_report import PruneReport
    from fastprune.server.asked import Server
    from fastprune.trash.model import TrashContents
    from fastprune.tuning.figures import TuneReport
    from fastprune.verification.findings import Findings

Path = str | os.PathLike[str]


async def scan(
    root: Path, options: ScanOptions | None = None, *, reading: Reading | None = None
) -> CacheIndex:
    """Reads a cache. Changes nothing, not even access times.

    Args:
        root: Path of the cache.
        options: What is wanted; by default everything that a plan needs.
        reading: Where to read, and who is told.

    Raises:
        NoCacheError: There is no cache at this path.
        WorkerError: A worker died; nothing partial is ever returned.
    """
    return await in_thread(thread_reader(root, reading).scan, options or ScanOptions())


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
    reading: Reading | None = None,
) -> Survey:
    """Reads a cache and the sizes of its files: where the space goes, and how old it is.

    Args:
        root: Path of the cache.
        policy: Which manifests are asked for; without any criterion, or None, all.
        options: See `scan`; its patterns are replaced by those of the policy.
        reading: See `scan`.

    Raises:
        NoCacheError: There is no cache at this path.
        WorkerError: A worker died; nothing partial is ever returned.
    """
    return await in_thread(
        thread_reader(root, reading).survey, policy or Policy(), options or ScanOptions()
    )


async def explain(
    root: Path,
    reference: str,
    policy: Policy | None = None,
    planning: PlanOptions | None = None,
    *,
    reading: Reading | None = None,
) -> Explanation:
    """Says what holds the blobs of an image, and why a prune would remove or keep it.

    Args:
        root: Path of the cache.
        reference: An image URL, a tag or a digest, whole or enough of its beginning or end.
        policy: What the prune would select; None if it is not about a prune.
        planning: How it would be planned.
        reading: See `scan`.

    Raises:
        NoCacheError: There is no cache at this path.
        UsageError: The reference may mean several images, or the policy can't be used.
        FastpruneError: There is no such image.
        UnreadableManifestsError: See `make_plan`.
        WorkerError: A worker died.
    """
    how = planning or PlanOptions()
    patterns = policy.pattern_sets if policy else ()

    def work() -> Explanation:
        scan = replace(how.scan, edges=True, pattern_sets=patterns)
        index = thread_reader(root, reading).scan(scan)
        return explain_image(index, reference, policy, how)

    return await in_thread(work)


async def plan_prune(
    root: Path,
    policy: Policy,
    planning: PlanOptions | None = None,
    *,
    reading: Reading | None = None,
) -> PrunePlan:
    """Works out a prune, to look at it or to save it. Changes nothing and takes no lock.

    Args:
        root: Path of the cache.
        policy: What to select.
        planning: How to plan.
        reading: See `scan`.

    Raises:
        NoCacheError: There is no cache at this path.
        UsageError: The policy can't be used.
        UnreadableManifestsError: See `make_plan`.
        DurationError: The deadline passed.
        WorkerError: A worker died.
    """
    planning = planning or PlanOptions()
    return (await in_thread(thread_reader(root, reading).plan, policy, planning)).plan


async def verify(
    root: Path,
    options: VerifyOptions | None = None,
    *,
    reading: Reading | None = None,
    server: Server | None = None,
) -> Findings:
    """Looks for damage in a cache. Changes nothing, not even access times.

    Args:
        root: Path of the cache.
        options: What to check; by default everything but the content of blobs.
        reading: Where to read; who is told how many manifests and blobs were read.
        server: The server that runs on the cache: what it has in memory although it is damaged
            is found as well. It is only asked for its list.

    Raises:
        NoCacheError: There is no cache at this path.
        WorkerError: A worker died.
        ServerError: The server gives no answer, or one that is not as it should be.
        WrongServerError: It serves another cache, as far as its list tells.
    """
    reader, options = thread_reader(root, reading), options or VerifyOptions()
    if server is None:
        return await in_thread(reader.verify, options)
    from fastprune.deletion.healing import with_list, with_served

    findings = await in_thread(reader.verify, await with_list(server, options))
    return await with_served(server, findings)


async def list_trash(
    root: Path,
    runs: Iterable[str] | None = None,
    *,
    older_than: timedelta | None = None,
    layout: Layout = DEFAULT_LAYOUT,
    reading: Reading | None = None,
) -> TrashContents:
    """Reads what the trash of a cache holds.

    Args:
        root: Path of the cache.
        runs: Which runs: ids, or enough of their beginnings; None for all.
        older_than: Only runs longer ago than this.
        layout: What kind of cache it is.
        reading: See `scan`.

    Raises:
        NoCacheError: There is no cache at this path.
        UsageError: No run begins so, or several do.
        TrashError: The trash can't be read.
    """
    return await in_thread(
        partial(thread_reader(root, reading, layout).read_trash, runs, older_than=older_than)
    )


async def tune(
    root: Path,
    *,
    seconds: float = 5,
    files: int = 5_000,
    jobs: int | None = None,
    layout: Layout = DEFAULT_LAYOUT,
    progress: Progress | None = None,
) -> TuneReport:
    """Measures how fast this machine reads a cache and deletes files beside it.

    Nothing in the cache changes. Temporary files are made in a new folder beside it, or in it,
    and are removed whatever happens.

    Args:
        root: Path of the cache.
        seconds: How long to measure, more or less.
        files: How many temporary files of 4 KiB to delete with each concurrency, at most.
        jobs: A number of workers to try besides the usual ones.
        layout: What kind of cache it is.
        progress: Is told how far it is, from another thread.

    Raises:
        NoCacheError: There is no cache at this path, or an empty one.
        WorkerError: A worker died.
        FastpruneError: Temporary files can't be made or deleted.
    """

    def work() -> TuneReport:
        check_root(os.fspath(root), layout)
        from fastprune.executors.processes import available_jobs, start_workers
        from fastprune.tuning.figures import job_settings

        with ExitStack() as stack:
            executors = []
            for number in job_settings(available_jobs(), jobs):
                executors.append(start_workers(number))
                stack.callback(executors[-1].close)
            from fastprune.tuning import measuring
            from fastprune.tuning.trials import waiting_trials

            return measuring.tune(
                os.fspath(root),
                executors,
                layout=layout,
                waiting=waiting_trials(os.fspath(root), layout, jobs),
                clock=time.perf_counter,
                seconds=seconds,
                files=files,
                progress=progress,
            )

    return await in_thread(work)


async def prune(
    root: Path,
    policy: Policy,
    *,
    dry_run: bool = False,
    planning: PlanOptions | None = None,
    applying: ApplyOptions | None = None,
    exclusion: Exclusion | None = None,
    max_seconds: float | None = None,
    confirm: Callable[[PrunePlan], Awaitable[bool]] | None = None,
    reading: Reading | None = None,
) -> PruneReport | None:
    """Scans, plans and removes, with the cache locked.

    Args:
        root: Path of the cache.
        policy: What to select.
        dry_run: Change nothing at all; the lock is not taken.
        planning: How to plan.
        applying: How the plan is carried out.
        exclusion: How others are kept away meanwhile.
        max_seconds: End cleanly after this time, whatever is left.
        confirm: Asked before anything is removed, unless there is nothing to do.
        reading: Where to read, and who is told of all steps.

    Returns:
        The report, or None if `confirm` said no.

    Raises:
        FastpruneError: It can't be done, and nothing was deleted: see `locked`,
            `LockedCache.plan` and `LockedCache.apply`. A dry run says in its report that more
            would go than may.
    """
    applying = applying or ApplyOptions()
    policy.check()
    applying.delete_limits.check()
    planning = planning or PlanOptions()
    layout = planning.scan.layout
    await in_thread(check_root, os.fspath(root), layout)
    deadline = None if max_seconds is None else time.monotonic() + max_seconds
    planning = replace(planning, deadline=deadline)
    if dry_run:
        timed = await in_thread(thread_reader(root, reading).plan, policy, planning)
        exceeded = applying.delete_limits.exceeded_by(timed.plan)
        from fastprune.report.prune_report import planned_report

        report = planned_report(timed.plan, trash=applying.trash)
        return replace(report, seconds=timed.seconds, exceeded=exceeded)
    exclusion = exclusion or Exclusion()
    how: dict[str, Any] = {one.name: getattr(exclusion, one.name) for one in fields(Exclusion)}
    async with locked(root, **how, layout=layout, reading=reading) as cache:
        plan = await cache.plan(policy, planning)
        # Nobody is asked about what is refused anyway.
        applying.delete_limits.enforce(plan)
        if confirm and not plan.is_empty and not await confirm(plan):
            return None
        limits = applying.limits.until(deadline, time.monotonic)
        return await cache.apply(plan, replace(applying, limits=limits))
