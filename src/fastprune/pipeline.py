"""From a cache to a plan, for the library and the command line.

Stage: walk to plan. Input: the path of a cache and a policy. Output: `PrunePlan`.
Blocking; I/O: reads only.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, NamedTuple

from fastprune.errors import DurationError
from fastprune.executors.executor import Executor
from fastprune.executors.processes import start_workers
from fastprune.layouts.layout import Layout
from fastprune.policy.policy import Policy
from fastprune.progress import Progress
from fastprune.reading.folders import check_root, reading
from fastprune.scanning.jobs import auto_jobs
from fastprune.scanning.measuring import measure_blobs, measure_files
from fastprune.scanning.scanner import ScanOptions, scan_and_keep_executor

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from fastprune.index.cache_index import CacheIndex, Rows
    from fastprune.plan.prune_plan import PrunePlan
    from fastprune.plan.saved_plan import SavedPlan

    PlanFrom = Callable[[CacheIndex, Rows | None], PrunePlan]
    """Makes a plan from an index and the ids of blobs that stay in any case."""

# Each round finds blobs that are smaller than declared, or too young. If even the last round finds
# new ones, the report names the bytes that are missing.
_MOST_ROUNDS = 10


OpenExecutor = Callable[[int], Executor]
"""Gives the executor for a number of manifests."""


@dataclass(frozen=True, slots=True)
class Reading:
    """Where a cache is read, and who is told.

    Attributes:
        executor: Where to read, opened and closed by the caller. None reads small caches in
            this process, and larger ones in workers that end with the reading.
        jobs: Number of workers if no executor is given; None picks by the machine and the file
            system.
        progress: Is told how far it is, from another thread.
        dask: The address of a Dask cluster to read with instead, as `--dask` takes it. It needs
            the absolute path of the cache.
    """

    executor: Executor | None = None
    jobs: int | None = None
    progress: Progress | None = None
    dask: str | None = None

    @contextmanager
    def workers(self, root: str, layout: Layout) -> Iterator[OpenExecutor]:
        """Gives what opens the executor; one of our own is opened once and closed in the end."""
        with ExitStack() as closing:
            opened = [] if self.executor is None else [self.executor]

            def open_executor(manifests: int) -> Executor:
                if not opened:
                    opened.append(self._start(manifests, root, layout))
                    closing.callback(opened[0].close)
                return opened[0]

            yield open_executor

    def _start(self, manifests: int, root: str, layout: Layout) -> Executor:
        if self.dask is not None:
            from fastprune.executors.dask_address import parse_address
            from fastprune.executors.dask_cluster import open_dask

            return open_dask(parse_address(self.dask))
        if self.jobs is not None:
            return start_workers(self.jobs)
        auto = auto_jobs(root, layout)
        return start_workers(1 if manifests <= auto.small else auto.jobs)


@dataclass(frozen=True, slots=True)
class PlanOptions:
    """How to work out a plan.

    Attributes:
        scan: How to scan; its patterns are replaced by those of the policy.
        allow_broken: Remove selected manifests although a list that stays needs them.
        skip_corrupt: Treat manifests whose content is broken as absent.
        grace: Spare blobs that were written in the last so many seconds.
        deadline: When to give up, by `time.monotonic`; None for never.
    """

    scan: ScanOptions = field(default_factory=ScanOptions)
    allow_broken: bool = False
    skip_corrupt: bool = False
    grace: float = 0
    deadline: float | None = None


@dataclass(frozen=True, slots=True)
class TimedPlan:
    """A plan, and the seconds that its steps took."""

    plan: PrunePlan
    seconds: dict[str, float]


def work_out(
    root: str,
    policy: Policy,
    open_executor: OpenExecutor,
    options: PlanOptions,
    *,
    progress: Progress | None = None,
    checkpoint: Callable[[], None] = lambda: None,
) -> TimedPlan:
    """Scans a cache and plans a prune of it.

    Args:
        root: Path of the cache.
        policy: What to select.
        open_executor: Gives the executor for a number of manifests.
        options: How.
        progress: Is told about the scan.
        checkpoint: Called often; raises if the work is to end.

    Raises:
        UsageError: The policy can't be used.
        NoCacheError: There is no cache at this path.
        UnreadableManifestsError: See `make_plan`.
        DurationError: The deadline passed.
        WorkerError: A worker died.
    """
    policy.check()

    def plan_from(index: CacheIndex, young_blobs: Rows | None) -> PrunePlan:
        # numpy is there by now: it was imported while the workers read.
        from fastprune.plan.prune_plan import make_plan

        return make_plan(
            index,
            policy,
            allow_broken=options.allow_broken,
            skip_corrupt=options.skip_corrupt,
            young_blobs=young_blobs,
        )

    scan = replace(options.scan, pattern_sets=policy.pattern_sets)
    options = replace(options, scan=scan)
    return _plan(root, plan_from, open_executor, options, progress, checkpoint)


def work_out_again(
    root: str,
    saved: SavedPlan,
    open_executor: OpenExecutor,
    options: PlanOptions,
    *,
    progress: Progress | None = None,
    checkpoint: Callable[[], None] = lambda: None,
) -> TimedPlan:
    """Scans a cache and works out what of a saved plan still holds; for the rest see `work_out`.

    The plan, not the options, decides about broken lists and corrupt manifests.

    Raises:
        NoCacheError: There is no cache at this path.
        OtherCacheError: The plan was made for another one.
        UnreadableManifestsError: See `replan`.
        DurationError: The deadline passed.
        WorkerError: A worker died.
    """
    from fastprune.plan.identity import check_same_cache
    from fastprune.plan.replanning import replan

    check_root(root, options.scan.layout)
    check_same_cache(saved.header.cache, root)
    return _plan(
        root, lambda index, _: replan(saved, index), open_executor, options, progress, checkpoint
    )


def _plan(
    root: str,
    plan_from: PlanFrom,
    open_executor: OpenExecutor,
    options: PlanOptions,
    progress: Progress | None,
    checkpoint: Callable[[], None],
) -> TimedPlan:
    """Scans, and makes a plan of the index."""

    def check() -> None:
        checkpoint()
        if options.deadline is not None and time.monotonic() > options.deadline:
            raise DurationError("--max-duration was over before the cache was scanned")

    started = time.monotonic()
    scan_options = replace(options.scan, edges=True)
    index, executor = scan_and_keep_executor(
        root, open_executor, scan_options, progress=progress, checkpoint=check
    )
    scanned = time.monotonic()
    with reading(root):
        plan = _measured(index, plan_from, executor, options.grace, progress)
    planned = time.monotonic()
    return TimedPlan(plan, {"scan": scanned - started, "plan": planned - scanned})


def _measured(
    index: CacheIndex,
    plan_from: PlanFrom,
    executor: Executor,
    grace: float,
    progress: Progress | None,
) -> PrunePlan:
    """Makes a plan, spares young blobs and measures the others.

    A blob that was cut off is smaller than its descriptors say. A file with other hard links
    frees nothing. A young blob stays. So a plan that meets a size target by its descriptors may
    miss it by its files: then the plan is made again with the sizes that are known now. All
    files are measured in two cases: the target can't be met by the descriptors, which may be
    wrong about blobs that stay; or a file has other hard links, as many others will, too.
    """
    import numpy as np

    held: Rows | None = None
    all_measured = False
    for _ in range(_MOST_ROUNDS):
        plan = plan_from(index, held)
        if grace > 0:
            from fastprune.guard.drift import young_blobs

            plan = plan.sparing(young_blobs(index, plan.blobs, grace, progress, executor))
            held = plan.spared_blobs if held is None else np.union1d(held, plan.spared_blobs)
        files = _files_of(index, plan.manifests, plan.blobs, executor, progress)
        plan = plan.measured(*files)
        target = plan.target
        if target is None or not plan.shortfall:
            break
        blobs, links_are_new = plan.blobs, plan.index.has_links and not all_measured
        if links_are_new or not target.is_met:
            if all_measured:
                break
            all_measured = True
            blobs = np.arange(index.blobs_present)
            files = _files_of(index, np.arange(len(index)), blobs, executor, progress)
        sizes = index.blob_sizes.copy()
        sizes[blobs] = files.sizes
        index = replace(index, blob_sizes=sizes)
        index = index.with_links(files.linked_manifests, files.linked_blobs)
    return plan


def asked_for_links(index: CacheIndex, manifests: Rows, blobs: Rows) -> CacheIndex:
    """The index that knows which of some files have other names (hard links)."""
    from fastprune.executors.inline import InlineExecutor

    # Those of one image: too few for workers.
    files = _files_of(index, manifests, blobs, InlineExecutor(), None)
    return index.with_links(files.linked_manifests, files.linked_blobs)


class _Files(NamedTuple):
    """The sizes and links of files: see `PrunePlan.measured`."""

    sizes: NDArray[np.int64]
    linked_manifests: Rows
    linked_blobs: Rows


def _files_of(
    index: CacheIndex, manifests: Rows, blobs: Rows, executor: Executor, progress: Progress | None
) -> _Files:
    """Asks the file system about some manifests and blobs."""
    import numpy as np

    linked: list[Rows] = []
    for folder, first, last in index.folder_rows:
        here = manifests[(first <= manifests) & (manifests < last)]
        found = measure_files(index, folder, index.digests[here], executor, progress)
        linked.append(here[found.linked])
    found = measure_blobs(index, index.blob_digests[blobs], executor, progress)
    return _Files(found.sizes, np.concatenate(linked), blobs[found.linked])
