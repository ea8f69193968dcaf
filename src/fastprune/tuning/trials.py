"""Which numbers of workers are tried if they wait for the file system.

Stage: tune. Input: the path of a cache. Output: `WaitingTrials`. I/O: asks the system.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from fastprune.executors.executor import Executor
from fastprune.executors.processes import start_workers
from fastprune.executors.waiting import jobs_by_memory
from fastprune.layouts.layout import Layout
from fastprune.scanning.jobs import SMALL_CACHE_THAT_WAITS, auto_jobs
from fastprune.tuning.figures import waiting_settings


@dataclass(frozen=True, slots=True)
class WaitingTrials:
    """What to try if workers wait: ever more of them, until more are no faster.

    Attributes:
        settings: The numbers of workers, ascending, the first with one.
        start: Starts workers.
        known: Whether the file system is one on which workers wait.
        wanted: A setting that is tried in any case; None for none.
        small: Up to so many manifests in the cache, workers don't pay.
        processor_clock: Gives the seconds of processor time of this process.
    """

    settings: tuple[int, ...]
    start: Callable[[int], Executor]
    known: bool
    wanted: int | None = None
    small: int = SMALL_CACHE_THAT_WAITS
    processor_clock: Callable[[], float] = time.process_time


def waiting_trials(root: str, layout: Layout, wanted: int | None = None) -> WaitingTrials:
    """What to try for a cache if workers wait; the wanted setting in any case."""
    auto = auto_jobs(root, layout)
    settings = waiting_settings(auto.jobs, wanted, most=jobs_by_memory())
    return WaitingTrials(settings, start_workers, known=bool(auto.waits), wanted=wanted)
