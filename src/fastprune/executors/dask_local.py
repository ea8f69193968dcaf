"""Dask workers on this machine, in processes of our own pool.

Stage: rim. Input: where the scheduler is. Output: the address of a worker. I/O: a Dask worker.

Dask would start its workers anew, with a second process to watch each one. Ours are forked where
that is safe, after Dask has been imported once, which takes longer than all the rest. As all
workers of our pool, they ignore Ctrl-C, and end when we do.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from typing import Any, NamedTuple


class LocalWorker(NamedTuple):
    """A worker to be; it looks for the scheduler so many `seconds`."""

    name: str
    scheduler: str
    security: Any
    seconds: float


def serve(worker: LocalWorker) -> Iterator[str]:
    """Is a Dask worker until the scheduler ends. Yields its address once the scheduler knows it."""
    import asyncio

    import dask
    from distributed import Worker

    from fastprune.executors.dask_logging import silenced

    # Unlike the workers of our pool, this one makes cycles. What was there before the fork is none
    # of it: to look through that would copy all its memory.
    gc.freeze()
    gc.enable()
    settings = {"distributed.worker.profile.enabled": False, "distributed.worker.http.routes": []}

    async def started() -> Any:
        return await Worker(
            worker.scheduler,
            name=worker.name,
            nthreads=1,
            host="127.0.0.1",
            protocol="tls://",
            security=worker.security,
            death_timeout=worker.seconds,
            # Nothing is spilled to the disk: an answer stays no longer than until it is fetched.
            memory_limit=0,
            dashboard=False,
            dashboard_address="127.0.0.1:0",
        )

    with silenced(), dask.config.set(settings), asyncio.Runner() as runner:
        started_worker = runner.run(started())
        yield started_worker.address
        runner.run(started_worker.finished())
