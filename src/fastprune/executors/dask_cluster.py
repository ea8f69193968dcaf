"""Runs the work on the workers of a Dask cluster, here or on other machines.

Stage: rim. Input: the address of a cluster. Output: an `Executor`. I/O: see `dask_client`.

Dask runs the pieces of a worker that is lost on others. Each piece has a key of its own, and its
answer is taken once: so it counts once, however often it was run.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from concurrent.futures import CancelledError, Future, wait
from contextlib import ExitStack, closing, suppress
from itertools import islice
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, NamedTuple

from fastprune.errors import ClusterError, UsageError, WorkerError
from fastprune.executors.dask_address import ClusterAddress
from fastprune.executors.dask_local import LocalWorker, serve
from fastprune.executors.dask_worker import Answer, pack_demands, pack_piece, unpack_answer
from fastprune.executors.ending_signals import signals_wait
from fastprune.executors.executor import R, T, View
from fastprune.executors.processes import ProcessExecutor

if TYPE_CHECKING:
    from anyio.from_thread import BlockingPortal

    from fastprune.executors.dask_client import Arrived, Cluster

PATIENCE = 60.0
"""Seconds to wait for a scheduler, and for workers while there is none."""

_NO_PACKAGE = "it has no fastprune package, or one of another version"
_LACKS_PACKAGE = re.compile(
    r"(No module named|cannot import name|has no attribute|Can't get attribute).*fastprune"
)
_LEAST_IN_FLIGHT, _MOST_IN_FLIGHT = 16, 1_024
_LOOKS_EVERY = 0.2
# A cache that changes meanwhile is seen otherwise by a worker that comes later.
_MOST_VIEWS = 5
_GRACE = 3.0
_MOST_NAMED = 5


class _Piece(NamedTuple):
    """A piece that was handed out: the item, what the worker was to be like, Dask's side of it."""

    item: Any
    demands: bytes
    future: Any


class DaskExecutor:
    """The workers of a cluster; `open_dask` opens it."""

    remote = True

    def __init__(
        self,
        cluster: Cluster,
        portal: BlockingPortal,
        opened: ExitStack,
        *,
        patience: float,
        is_ours: bool,
    ) -> None:
        """Asks nothing yet.

        `opened` is what `close` closes. `patience` is how many seconds to wait for workers while
        there is none. If the workers are ours, no other will come.
        """
        self._cluster, self._portal, self._opened = cluster, portal, opened
        self._patience, self._is_ours = patience, is_ours
        self._view: View | None = None
        self._demands = pack_demands(None)
        self._run = os.urandom(8).hex()
        self._handed_out = 0

    @property
    def jobs(self) -> int:
        """The number of threads of all workers that are there now."""
        return max(1, sum(self._cluster.threads.values()))

    def require(self, view: View) -> None:
        """See `Executor.require`. Workers that come later are asked before they do any work."""
        self._view, self._demands = view, pack_demands(view)
        self.check()

    def map_unordered(
        self, function: Callable[[T], Iterable[R]], items: Iterable[T], *, ahead: int = 1
    ) -> Iterator[R]:
        """See `Executor.map_unordered`. What is queued is given up if it is abandoned."""
        arrived: Arrived = SimpleQueue()
        queue = iter(items)
        pieces: dict[str, _Piece] = {}
        try:
            while True:
                free = max(0, self._most_in_flight(ahead) - len(pieces))
                self._hand_out(pieces, function, islice(queue, free), arrived)
                if not pieces:
                    return
                self._check_alive()
                for key, came in self._arrivals(arrived):
                    answer = self._checked(came)
                    piece = pieces.pop(key)
                    if answer.refusal:
                        # Unless it was asked for what is demanded no more.
                        if piece.demands is self._demands:
                            self._agree({f"worker {answer.worker}": answer.refusal})
                        self._hand_out(pieces, function, [piece.item], arrived)
                        continue
                    yield from answer.results
                    if answer.error is not None:
                        raise answer.error
        finally:
            futures = [piece.future for piece in pieces.values()]
            # What is closed has given them up already.
            with suppress(RuntimeError):
                if futures:
                    self._portal.start_task_soon(self._cluster.forget, futures)

    def wait_for_workers(self) -> None:
        """Waits until there is a worker.

        Raises:
            ClusterError: There is none, as long as we wait.
        """
        try:
            self._call(self._cluster.wait_for_workers, self._patience)
        except TimeoutError:
            raise ClusterError(
                f"the Dask scheduler {self._cluster.name} has had no worker for "
                f"{self._patience:g} seconds"
            ) from None

    def check(self) -> None:
        """Makes sure that all workers are as they have to be.

        Raises:
            ClusterError: One is not; the message names it.
        """
        self._agree(self._refusals())

    def close(self) -> None:
        """See `Executor.close`. Workers that we did not start go on without us."""
        self._opened.close()

    def _most_in_flight(self, ahead: int) -> int:
        if not ahead:
            # An answer takes longer than from our own pool, so one waits for each thread. The
            # scheduler moves what waits to a worker that is free.
            return 2 * self.jobs
        wanted = (1 + ahead) * (self.jobs + 1)
        return min(_MOST_IN_FLIGHT, max(_LEAST_IN_FLIGHT, wanted))

    def _hand_out(
        self,
        pieces: dict[str, _Piece],
        function: Callable[[T], Iterable[R]],
        items: Iterable[T],
        arrived: Arrived,
    ) -> None:
        drawn = list(items)
        if not drawn:
            return
        first = self._handed_out
        self._handed_out += len(drawn)
        keys = [f"fastprune-{self._run}-{first + at}" for at in range(len(drawn))]
        bodies = [pack_piece(self._demands, function, item) for item in drawn]
        futures = self._call(self._cluster.hand_out, dict(zip(keys, bodies, strict=True)), arrived)
        for key, item, future in zip(keys, drawn, futures, strict=True):
            pieces[key] = _Piece(item, self._demands, future)

    def _arrivals(self, arrived: Arrived) -> Iterator[tuple[str, bytes | Exception]]:
        """Waits for answers; gives those that are there.

        Raises:
            ClusterError: There will be none.
        """
        while True:
            try:
                yield arrived.get(timeout=_LOOKS_EVERY)
                break
            except Empty:
                self._check_alive()
        while not arrived.empty():
            yield arrived.get()

    def _check_connection(self) -> None:
        """Raises if the scheduler is lost."""
        if self._cluster.is_lost:
            raise ClusterError(f"the Dask scheduler {self._cluster.name} was lost")

    def _check_alive(self) -> None:
        """Raises if scheduler or workers are lost, or if a worker came that can't be used."""
        self._check_connection()
        if refused := dict(self._cluster.refused):
            self._agree(refused)
        alone_since = self._cluster.alone_since
        # To our own cluster no other worker will come.
        patience = 0 if self._is_ours else self._patience
        if alone_since is not None and time.monotonic() - alone_since >= patience:
            raise ClusterError(
                f"the Dask scheduler {self._cluster.name} has no worker any more: they ended "
                "before their work was done (out of memory?)"
            )

    def _checked(self, came: bytes | Exception) -> Answer:
        """The answer; raises if Dask gives something else instead."""
        if isinstance(came, bytes):
            return unpack_answer(came)
        from distributed import KilledWorker

        if isinstance(came, KilledWorker):
            last = getattr(came.last_worker, "address", None) or came.last_worker
            raise ClusterError(
                f"a piece of work was lost with {came.allowed_failures + 1} workers, one after "
                f"the other; the last was {last} (out of memory?)"
            ) from came
        if isinstance(came, CancelledError):
            raise ClusterError(
                f"the Dask scheduler {self._cluster.name} was lost before the work was done"
            ) from came
        self._check_alive()
        # A worker may have come that lacks what a piece needs: it says so when it is asked.
        self.check()
        raise ClusterError(
            f"the Dask scheduler {self._cluster.name} could not have a piece of work done: "
            f"{_in_one_line(came)}"
        ) from came

    def _agree(self, refused: Mapping[str, str | Exception]) -> None:
        """Goes on if none is refused by what is seen now: a cache may change meanwhile.

        Raises:
            ClusterError: A worker can't be used; the message names it.
        """
        for _ in range(_MOST_VIEWS):
            if not (refused and self._view is not None and self._view.differs_here()):
                break
            self._view = self._view.renewed()
            self._demands = pack_demands(self._view)
            refused = self._refusals()
        if refused:
            said = [f"{name}: {_why(reason)}" for name, reason in refused.items()]
            more = f"; and {len(said) - _MOST_NAMED} more" if len(said) > _MOST_NAMED else ""
            raise ClusterError(f"Dask workers can't be used: {'; '.join(said[:_MOST_NAMED])}{more}")

    def _refusals(self) -> dict[str, str | Exception]:
        try:
            return self._call(self._cluster.refusals, self._demands, self._patience)
        except TimeoutError:
            raise ClusterError(
                f"workers of the Dask scheduler {self._cluster.name} did not answer in "
                f"{self._patience:g} seconds"
            ) from None

    def _call(self, function: Callable[..., Awaitable[T]], *args: Any) -> T:
        """Calls in the event loop of the cluster."""
        answer: Future[T] | None = None
        try:
            answer = self._portal.start_task_soon(function, *args)
            while not wait([answer], _LOOKS_EVERY).done:
                # Dask may wait long for a scheduler that is gone.
                self._check_connection()
            return answer.result()
        except TimeoutError:
            raise
        except (OSError, RuntimeError) as error:
            raise ClusterError(
                f"the Dask scheduler {self._cluster.name} was lost: {_in_one_line(error)}"
            ) from error
        finally:
            # If a signal has come, what was asked for is not wanted any more.
            if answer is not None:
                answer.cancel()


def open_dask(address: ClusterAddress, *, patience: float = PATIENCE) -> DaskExecutor:
    """Connects to a cluster, or starts one on this machine, and waits for a worker.

    `patience` is how many seconds to wait for the scheduler and for workers.

    Raises:
        UsageError: Dask is not installed.
        ClusterError: There is no scheduler, no worker, or one of another version.
        WorkerError: The system starts no process.
    """
    _import_dask(address)
    from anyio.from_thread import start_blocking_portal

    from fastprune.executors.dask_client import connected, own_scheduler

    scheduler = address.scheduler
    connection = connected(scheduler, patience) if scheduler else own_scheduler(patience)
    opened = ExitStack()
    with ExitStack() as opening:
        pool: ProcessExecutor | None = None
        if address.processes:
            # Before there are threads: a process with threads can't be forked.
            pool = opening.enter_context(closing(ProcessExecutor(address.processes, grace=_GRACE)))
        with signals_wait():
            # If this is cut short, anyio waits for its thread for ever.
            portal = opening.enter_context(start_blocking_portal("asyncio"))
        cluster = opening.enter_context(portal.wrap_async_context_manager(connection))
        is_ours = pool is not None
        executor = DaskExecutor(cluster, portal, opened, patience=patience, is_ours=is_ours)
        if pool is not None:
            serving = _start_workers(pool, cluster, patience)
            # As long as it is there, they are at work.
            opening.callback(lambda: serving)
        executor.wait_for_workers()
        executor.check()
        opened.enter_context(opening.pop_all())
    return executor


def _import_dask(address: ClusterAddress) -> None:
    """Imports what is slow to import before anything is started, and before processes are forked.

    Raises:
        UsageError: It is not installed.
    """
    try:
        import distributed  # noqa: F401

        if address.processes:
            import cryptography.x509  # noqa: F401
    except ImportError as error:
        raise UsageError(
            f"{address.text}: this needs Dask, and {error.name} is not installed: "
            "run pip install 'fastprune[dask]'"
        ) from error


def _start_workers(pool: ProcessExecutor, cluster: Cluster, patience: float) -> Iterator[str]:
    """Lets each process of a pool be a worker, and waits until the scheduler knows them all.

    What it returns has to stay open as long as they are needed.

    Raises:
        ClusterError: One of them can't be one.
    """
    workers = [
        LocalWorker(f"fastprune-{number}", cluster.name, cluster.security, patience)
        for number in range(pool.jobs)
    ]
    serving = pool.map_unordered(serve, workers)
    try:
        for _ in workers:
            next(serving)
    except WorkerError:
        raise
    except Exception as error:
        raise ClusterError(f"a Dask worker can't be started here: {_in_one_line(error)}") from error
    return serving


def _why(reason: str | Exception) -> str:
    """Why one can't be used. Dask gives what is raised elsewhere as a text."""
    text = reason if isinstance(reason, str) else _in_one_line(reason)
    return _NO_PACKAGE if _LACKS_PACKAGE.search(text) else text


def _in_one_line(error: BaseException) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())
