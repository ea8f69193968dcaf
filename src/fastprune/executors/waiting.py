"""How many workers there should be where they wait, and not compute.

Stage: all. Input: none. Output: numbers. I/O: asks the system, reads the control group.
"""

from __future__ import annotations

import os

from fastprune.executors.cgroup import memory_limit

MOST_WAITING = 32
"""The most workers that wait: beyond, a server has more to do, and we gain little."""

_WORKER_BYTES = 16 << 20
_MEMORY_SHARE = 4


def waiting_jobs(memory: int | None = None) -> int:
    """How many workers `--jobs auto` means where they wait for round trips.

    32, and no more than `jobs_by_memory`. So many got the most out of round trips of 0.5 and 2 ms
    even on two processors: see `bench_latency.py` in benchmarks/README.md.
    """
    return min(MOST_WAITING, jobs_by_memory(memory))


def jobs_by_memory(memory: int | None = None) -> int:
    """How many workers fit into a quarter of the memory, at 16 MiB each; at least one.

    `memory` is in bytes; None asks the system.
    """
    if memory is None:
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        memory = min(memory, memory_limit() or memory)
    return max(1, memory // (_MEMORY_SHARE * _WORKER_BYTES))
