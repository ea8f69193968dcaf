"""Runs the work in worker processes, each behind a socket of its own.

A worker is handed items as it finishes others, a few ahead so that it never waits for
us; what it yields comes back as length-prefixed pickles. Sockets instead of shared
queues: a worker that dies shows at once as the end of its stream, and can't take a
lock with it.

Workers are forked where that is safe and cheap: Linux, and no other thread in this
process. Else they are started anew (`fastprune.executors.worker`).
"""

from __future__ import annotations

import contextlib
import math
import os
import selectors
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from fastprune.errors import WorkerError
from fastprune.executors import wire
from fastprune.executors.ending_signals import signals_wait
from fastprune.executors.executor import Executor, R, T, View
from fastprune.executors.inline import InlineExecutor

_MOST_JOBS = 16
_BUFFER_BYTES = 1 << 20
_LOOKS_EVERY = 0.01


class ProcessExecutor:
    """A pool of worker processes. Start it early: a small process forks fast."""

    remote = False

    def __init__(self, jobs: int, *, fork: bool | None = None, grace: float = 0) -> None:
        """Starts the workers: fewer than asked for where the system starts no more.

        `fork` says whether to fork this process; None does so where it is safe. If the pool is
        closed in the middle of its work, workers have `grace` seconds to end by themselves.

        Raises:
            WorkerError: The system starts none.
        """
        self._workers: list[_Worker] = []
        self._busy, self._grace = False, grace
        fork = _can_fork() if fork is None else fork
        try:
            with signals_wait():
                for _ in range(jobs):
                    start = _Worker.fork if fork else _Worker.spawn
                    self._workers.append(start(self._workers))
        except (OSError, MemoryError) as error:
            # A limit on processes, memory or open files, or a filter of system calls.
            if not self._workers:
                reason = getattr(error, "strerror", None) or "memory ran out"
                raise WorkerError(f"a scan worker can't be started: {reason}") from error
        except BaseException:
            self.close()
            raise

    @property
    def jobs(self) -> int:
        """The number of workers."""
        return len(self._workers)

    def map_unordered(
        self, function: Callable[[T], Iterable[R]], items: Iterable[T], *, ahead: int = 1
    ) -> Iterator[R]:
        """See `Executor.map_unordered`. Abandoned half-way, it leaves the pool unusable."""
        if self._busy:
            raise WorkerError("the worker pool was abandoned in the middle of its work")
        self._busy = True
        queue = iter(items)
        with selectors.DefaultSelector() as selector:
            for worker in self._workers:
                selector.register(worker.socket, selectors.EVENT_READ, worker)
            for _ in range(1 + ahead):
                for worker in self._workers:
                    worker.queue_next(function, queue)
            while any(worker.pending for worker in self._workers):
                for worker in self._workers:
                    # Never wait for a worker to take an item: it may wait for us to take
                    # its results.
                    selector.modify(worker.socket, worker.send_some(), worker)
                for key, events in selector.select():
                    worker = key.data
                    if not events & selectors.EVENT_READ:
                        continue
                    done, result = worker.receive()
                    if done:
                        worker.queue_next(function, queue)
                    else:
                        yield result
        self._busy = False

    def require(self, view: View) -> None:
        """The workers are of this process, and see what it sees."""

    def close(self) -> None:
        """Ends the workers: at once, or after the grace, if they are in the middle of something."""
        if self._busy and self._grace:
            deadline = time.monotonic() + self._grace
            while any(worker.is_alive() for worker in self._workers):
                if time.monotonic() > deadline:
                    break
                time.sleep(_LOOKS_EVERY)
        for worker in self._workers:
            worker.close(kill=self._busy)
        self._workers.clear()


class _Worker:
    """One worker process, seen from our side."""

    def __init__(self, pid: int, connection: socket.socket) -> None:
        self.pid = pid
        self.socket = connection
        self.pending = 0
        self._unsent = bytearray()

    @classmethod
    def fork(cls, siblings: list[_Worker]) -> _Worker:
        ours, theirs = _connection()
        try:
            pid = os.fork()
        except OSError:
            ours.close()
            theirs.close()
            raise
        if pid == 0:
            try:
                # Else this worker would keep its siblings' streams open after we have ended.
                for sibling in siblings:
                    sibling.socket.close()
                ours.close()
                wire.serve(theirs)
            finally:
                os._exit(0)
        theirs.close()
        return cls(pid, ours)

    @classmethod
    def spawn(cls, siblings: list[_Worker]) -> _Worker:
        ours, theirs = _connection()
        try:
            process = subprocess.Popen(  # noqa: S603 - our own program, no shell
                [sys.executable, "-m", "fastprune.executors.worker", str(theirs.fileno())],
                pass_fds=(theirs.fileno(),),
                env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
                stdin=subprocess.DEVNULL,
            )
        except OSError:
            ours.close()
            raise
        finally:
            theirs.close()
        # We wait for the process ourselves; Popen must not warn about it or reap it.
        process.returncode = 0
        return cls(process.pid, ours)

    def queue_next(self, function: Callable[[T], Iterable[R]], queue: Iterator[T]) -> None:
        try:
            item = next(queue)
        except StopIteration:
            return
        self._unsent += wire.frame((function, item))
        self.pending += 1

    def send_some(self) -> int:
        """Sends as much as the worker takes now; returns the events to wait for."""
        if not self._unsent:
            return selectors.EVENT_READ
        try:
            count = self.socket.send(self._unsent, socket.MSG_DONTWAIT)
        except BlockingIOError:
            count = 0
        except OSError:
            raise self._died() from None
        del self._unsent[:count]
        return selectors.EVENT_READ | (selectors.EVENT_WRITE if self._unsent else 0)

    def receive(self) -> tuple[bool, Any]:
        """Returns (True, None) when an item is done, else (False, the yielded value)."""
        try:
            message = wire.receive(self.socket)
        except (OSError, EOFError):
            raise self._died() from None
        if message is None:
            self.pending -= 1
            return True, None
        result, error = message
        if error is not None:
            raise error
        return False, result

    def _died(self) -> WorkerError:
        status = self._wait()
        how = "ended"
        if status is not None and status < 0:
            how = f"was killed by {signal.Signals(-status).name}"
            if status == -signal.SIGKILL:
                how += " (out of memory?)"
        elif status is not None:
            how = f"ended with exit status {status}"
        return WorkerError(f"scan worker {self.pid} {how} before its work was done")

    def _wait(self, options: int = 0) -> int | None:
        if not self.pid:
            return None
        try:
            ended, status = os.waitpid(self.pid, options)
        except ChildProcessError:
            # Somebody else has waited for it.
            self.pid = 0
            return None
        if not ended:
            return None
        self.pid = 0
        return os.waitstatus_to_exitcode(status)

    def is_alive(self) -> bool:
        """Whether the process still runs, once it has been told that we are about to end."""
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)
        return bool(self.pid) and self._wait(os.WNOHANG) is None and bool(self.pid)

    def close(self, *, kill: bool) -> None:
        if kill and self.pid:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)
        # Closing alone is not enough: a worker of another pool may hold a copy.
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()
        self._wait()


def _connection() -> tuple[socket.socket, socket.socket]:
    """A pair of sockets, ours first. Results are large, so theirs gets a large buffer."""
    ours, theirs = socket.socketpair()
    with contextlib.suppress(OSError):
        theirs.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _BUFFER_BYTES)
    return ours, theirs


def start_workers(jobs: int) -> Executor:
    """Starts so many workers. With one, or if none can be started, this process does the work."""
    if jobs == 1:
        return InlineExecutor()
    try:
        return ProcessExecutor(jobs)
    except WorkerError:
        return InlineExecutor()


def available_jobs(
    affinity: int | None = None, quota: float | None = None, *, most: int = _MOST_JOBS
) -> int:
    """How many workers `--jobs auto` means on this machine.

    The processors that this process may run on (`affinity`), no more than the CPU limit of its
    control group (`quota`); None asks the system. With more than 16 workers the process that merges
    their results is the bottleneck (benchmarks/README.md), so that is the most for a scan.
    """
    if affinity is None:
        try:
            affinity = len(os.sched_getaffinity(0))
        except (AttributeError, OSError):
            affinity = os.cpu_count() or 1
    if quota is None:
        from fastprune.executors.cgroup import cpu_quota

        quota = cpu_quota()
    limit = affinity if quota is None else min(affinity, max(1, math.ceil(quota)))
    return max(1, min(limit, most))


def _can_fork() -> bool:
    """Forking copies only the calling thread; locks of the others would stay taken."""
    if not sys.platform.startswith("linux"):
        return False
    try:
        return len(os.listdir("/proc/self/task")) == 1
    except OSError:
        return False
