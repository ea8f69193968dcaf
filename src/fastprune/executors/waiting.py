"""How many workers there should be where they wait, and not compute.

Stage: all. Input: none. Output: numbers. I/O: asks the system, reads the control group.
"""

from __future__ import annotations

import os
import sys

from fastprune.executors.cgroup import memory_limit
from fastprune.executors.processes import available_jobs

MOST_WAITING = 32
"""The most workers that wait: beyond, a server has more to do, and we gain little."""

_LEAST_WAITING = 16
_PER_PROCESSOR = 4
_WORKER_BYTES = 16 << 20
_MEMORY_SHARE = 4


def waiting_jobs(processors: int | None = None, memory: int | None = None) -> int:
    """How many workers `--jobs auto` means where they wait for round trips.

    Four for each processor, from 16 to 32, and no more than `jobs_by_memory`. On two processors,
    16 get the most out of round trips of 0.5 ms, and 32 out of longer ones: see
    `bench_latency.py` in benchmarks/README.md, also for the memory of a worker.
    """
    if processors is None:
        processors = available_jobs(most=sys.maxsize)
    wanted = min(MOST_WAITING, max(_LEAST_WAITING, _PER_PROCESSOR * processors))
    return min(wanted, jobs_by_memory(memory))


def jobs_by_memory(memory: int | None = None) -> int:
    """How many workers fit into a quarter of the memory, at 16 MiB each; at least one.

    `memory` is in bytes; None asks the system.
    """
    if memory is None:
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        memory = min(memory, memory_limit() or memory)
    return max(1, memory // (_MEMORY_SHARE * _WORKER_BYTES))
