"""Real Dask schedulers and workers on the loopback interface, in processes of their own.

They are forked from one process that has Dask imported, which takes longer than all the rest.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.abc
import logging
import multiprocessing
import os
import platform
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from importlib.machinery import ModuleSpec
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from types import ModuleType
from typing import Any

from fastprune.executors import dask_worker
from fastprune.executors.dask_address import parse_address
from fastprune.executors.dask_cluster import DaskExecutor, open_dask

SECONDS = 60.0
"""How long anything may take on a machine that others use as well."""

_processes = multiprocessing.get_context("forkserver")
_processes.set_forkserver_preload(["distributed", "fastprune.executors.dask_worker"])

_unheard: list[Connection] = []

Change = Callable[[], None]
"""Makes a worker another one than this process would be; can be imported by name."""


def as_another_version() -> None:
    """Has the worker say that it is an older fastprune."""
    vars(dask_worker)["__version__"] = "0.0.1"


def as_another_python() -> None:
    """Has the worker say that it runs an older Python."""
    platform.python_version_tuple = lambda: ("3", "9", "1")


class _Absent(importlib.abc.MetaPathFinder):
    """Finds no module of fastprune."""

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name.partition(".")[0] == "fastprune":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return None


def without_the_package() -> None:
    """Has no fastprune to import."""
    for name in list(sys.modules):
        if name.partition(".")[0] == "fastprune":
            del sys.modules[name]
    sys.meta_path.insert(0, _Absent())


class Cluster:
    """A scheduler and its workers. `cluster` opens one.

    Attributes:
        address: Where the scheduler is.
        workers: The processes of the workers, in the order in which they were started.
    """

    def __init__(self, allowed_failures: int) -> None:
        self.workers: list[BaseProcess] = []
        self._scheduler, self.address = _started(_be_scheduler, allowed_failures)

    @property
    def pids(self) -> list[int]:
        """The process ids of the workers."""
        return [worker.pid or 0 for worker in self.workers]

    def add_worker(
        self,
        *,
        threads: int = 1,
        folder: str | None = None,
        change: Change | None = None,
        wait: bool = True,
    ) -> str:
        """Starts a worker.

        Args:
            threads: How many pieces it works on at the same time.
            folder: Its working folder.
            change: What makes it another worker.
            wait: Whether to wait until the scheduler knows it.

        Returns:
            Its address; empty if that is not waited for.
        """
        process, address = _started(_be_worker, self.address, threads, folder, change, wait=wait)
        self.workers.append(process)
        return address

    def kill_worker(self, number: int) -> None:
        """Kills a worker as the kernel does when memory is short."""
        worker = self.workers.pop(number)
        worker.kill()
        worker.join()

    def kill_scheduler(self) -> None:
        """Kills the scheduler."""
        self._scheduler.kill()
        self._scheduler.join()

    def end(self) -> None:
        """Ends all processes."""
        for process in (self._scheduler, *self.workers):
            process.kill()
            process.join()

    @contextlib.contextmanager
    def executor(self, *, patience: float = SECONDS) -> Iterator[DaskExecutor]:
        """An executor on this cluster."""
        executor = open_dask(parse_address(self.address), patience=patience)
        with contextlib.closing(executor):
            yield executor


@contextlib.contextmanager
def cluster(workers: int = 0, *, threads: int = 1, allowed_failures: int = 3) -> Iterator[Cluster]:
    """A cluster on this machine.

    Args:
        workers: How many workers to start.
        threads: How many pieces each works on at the same time.
        allowed_failures: How many workers a piece may be lost with before Dask gives it up.
    """
    opened = Cluster(allowed_failures)
    try:
        for _ in range(workers):
            opened.add_worker(threads=threads)
        yield opened
    finally:
        opened.end()


def wait_until(condition: Callable[[], bool]) -> None:
    """Waits until a condition is true, and asks for it often."""
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.005)


def _started(be: Callable[..., None], *args: Any, wait: bool = True) -> tuple[BaseProcess, str]:
    ours, theirs = _processes.Pipe(duplex=False)
    process = _processes.Process(target=be, args=(theirs, *args), daemon=True)
    process.start()
    theirs.close()
    if not wait:
        # It tells nobody; but it must not fail because nobody listens.
        _unheard.append(ours)
        return process, ""
    with ours:
        assert ours.poll(SECONDS), "a process of the cluster did not start"
        address: str = ours.recv()
    return process, address


def _be_scheduler(tell: Connection, allowed_failures: int) -> None:
    import dask
    from distributed import Scheduler

    _be_quiet()
    # Else it tries for 30 seconds to reach a worker that was killed.
    dask.config.set({"distributed.comm.timeouts.connect": "3s"})

    async def run() -> None:
        scheduler = await Scheduler(
            host="127.0.0.1",
            port=0,
            dashboard=False,
            dashboard_address="127.0.0.1:0",
            allowed_failures=allowed_failures,
        )
        tell.send(scheduler.address)
        await scheduler.finished()

    asyncio.run(run())


def _be_worker(
    tell: Connection, address: str, threads: int, folder: str | None, change: Change | None
) -> None:
    from distributed import Worker

    _be_quiet()
    if folder is not None:
        os.chdir(folder)
    if change is not None:
        change()

    async def run() -> None:
        worker = await Worker(
            address, host="127.0.0.1", nthreads=threads, memory_limit=0, dashboard=False
        )
        tell.send(worker.address)
        await worker.finished()

    asyncio.run(run())


def _be_quiet() -> None:
    logging.disable(logging.CRITICAL)
