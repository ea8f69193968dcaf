"""The verb of the package: measures one cache.

Stage: tune. Input: the path of a cache, executors. Output: `TuneReport`. I/O: `scanning`
and `deleting` do it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext

from fastprune.executors.executor import Executor
from fastprune.layouts.layout import Layout
from fastprune.progress import NoProgress, Progress
from fastprune.reading.folders import check_root
from fastprune.scanning.jobs import auto_jobs
from fastprune.tuning.deleting import DeleteMeter
from fastprune.tuning.figures import TuneReport
from fastprune.tuning.machine import describe
from fastprune.tuning.scanning import ScanMeter, list_names
from fastprune.tuning.scratch import scratch_cache, scratch_parent
from fastprune.tuning.trials import WaitingTrials

_SCAN_SHARE = 0.4


def tune(
    root: str,
    executors: Sequence[Executor],
    *,
    layout: Layout,
    clock: Callable[[], float],
    seconds: float,
    files: int,
    waiting: WaitingTrials | None = None,
    progress: Progress | None = None,
    signals: AbstractContextManager[Callable[[], str]] | None = None,
) -> TuneReport:
    """Measures how fast a cache is read, and how fast files beside it are deleted.

    Blocking, and not for a running event loop: the deletions run in one of their own.

    Args:
        root: Path of the cache; nothing in it changes.
        executors: One for each number of jobs to try, ascending, the first with one job.
        layout: What kind of cache it is.
        clock: Gives seconds, as `time.perf_counter` does.
        seconds: How long to measure, more or less.
        files: How many files of its own to delete with each concurrency, at most.
        waiting: What to try instead if workers wait for the file system; None tries nothing else.
        progress: Is told how far it is.
        signals: A context that is entered while there are temporary files. It gives a function
            that returns why to stop, or an empty text. Within it, no signal may interrupt the
            cleaning up.

    Raises:
        NoCacheError: There is no cache at this path, or an empty one.
        WorkerError: A worker died.
        StoppedError: `signals` said so.
        FastpruneError: Temporary files can't be made or deleted.
    """
    progress = progress or NoProgress()
    started = clock()
    check_root(root, layout)
    names = list_names(root, layout, progress)
    parent = scratch_parent(root)
    scan = ScanMeter(root, layout, clock=clock, progress=progress).measure(
        names, executors, seconds * _SCAN_SHARE, waiting
    )
    with signals or nullcontext(lambda: "") as stopped, scratch_cache(parent, layout) as scratch:
        meter = DeleteMeter(scratch, layout, clock=clock, progress=progress, stopped=stopped)
        deletion = meter.measure(files, seconds * (1 - _SCAN_SHARE))
    return TuneReport(
        image_path=root,
        machine=describe(root, auto_jobs(root, layout).jobs),
        manifests=names.manifest_count,
        blobs=names.blobs,
        scan=scan,
        deletion=deletion,
        seconds=clock() - started,
    )
