"""How many workers a cache gets where nobody says how many.

Stage: rim. Input: the path of a cache. Output: numbers. I/O: asks the system, reads /proc.
"""

from __future__ import annotations

import os
import sys
from typing import NamedTuple

from fastprune.executors.processes import available_jobs
from fastprune.executors.waiting import waiting_jobs
from fastprune.layouts.layout import Layout
from fastprune.reading.file_systems import where_it_waits
from fastprune.scanning.scanner import SMALL_CACHE

SMALL_CACHE_THAT_WAITS = 128
"""As `SMALL_CACHE`, where each file takes a round trip: 32 workers start in 0.1 s."""


class AutoJobs(NamedTuple):
    """What `--jobs auto` means for one cache.

    With no more manifests than `small`, workers don't pay. The kind of file system that they wait
    for is `waits`; empty if they don't.
    """

    jobs: int
    small: int
    waits: str


def auto_jobs(root: str, layout: Layout, *, merging: bool = True) -> AutoJobs:
    """What `--jobs auto` means for a cache.

    Where workers wait for round trips, the rate is their number by the time of a round trip: so it
    is not the processors that limit it (`waiting_jobs`). `merging` says whether this process has to
    merge what all workers read, so that more of them than `available_jobs` would wait for it.
    """
    here = available_jobs() if merging else available_jobs(most=sys.maxsize)
    waits = where_it_waits(os.path.join(root, folder) for folder in layout.folders)
    if not waits:
        return AutoJobs(here, SMALL_CACHE, "")
    return AutoJobs(max(here, waiting_jobs()), SMALL_CACHE_THAT_WAITS, waits)
