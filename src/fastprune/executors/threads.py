"""Runs blocking work on threads; where the system starts none, in the calling thread.

Stage: all. Input: a function. Output: what it gives. I/O: none of its own; it starts threads.

A small machine, a limit on processes or on memory, or an old seccomp profile may refuse a
thread. The work is then done more slowly, by the threads that there are or by the caller.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import suppress
from typing import Any, TypeVar

T = TypeVar("T")

# "can't start new thread" is a RuntimeError.
CANT_START = (RuntimeError, MemoryError)
"""What Python raises if no thread can be started."""


class Threads:
    """A limited number of threads; fewer if the system starts no more."""

    def __init__(self, most: int) -> None:
        """Starts none yet."""
        import anyio

        self.limiter = anyio.CapacityLimiter(most)
        self._at_work: set[object] = set()

    async def run(self, function: Callable[..., T], *args: Any) -> T:
        """Runs a blocking function on a thread, and waits for it. See `in_thread`."""
        import anyio.to_thread

        call = object()

        def begin() -> T:
            self._at_work.add(call)
            return function(*args)

        while True:
            try:
                return await anyio.to_thread.run_sync(begin, limiter=self.limiter)
            except CANT_START:
                if call in self._at_work:
                    raise
            finally:
                self._at_work.discard(call)
            if not self._at_work:
                return function(*args)
            # The next try waits for the thread of a call that is under way.
            self.limiter.total_tokens = len(self._at_work)


async def in_thread(function: Callable[..., T], *args: Any) -> T:
    """Runs a blocking function on a thread, or here if none can be started."""
    return await Threads(1).run(function, *args)


def check_cancelled() -> None:
    """Raises in a function that `in_thread` runs if its caller was cancelled.

    In the calling thread nothing can be cancelled: the event loop waits for the function.
    """
    import anyio.from_thread

    # anyio raises this outside of its threads.
    with suppress(RuntimeError):
        anyio.from_thread.check_cancelled()


class OneThread(Executor):
    """A `concurrent.futures.Executor` that runs calls one after the other on one thread."""

    def __init__(self) -> None:
        """Starts the thread, if the system lets it."""
        self._pool: ThreadPoolExecutor | None = ThreadPoolExecutor(1)
        try:
            # A pool keeps a call in its queue even if no thread can be started for it. So the
            # first call is one that does nothing.
            self._pool.submit(int)
        except CANT_START:
            self._pool = None

    def submit(self, function: Callable[..., T], /, *args: Any, **more: Any) -> Future[T]:
        """See `concurrent.futures.Executor.submit`."""
        if self._pool is not None:
            return self._pool.submit(function, *args, **more)
        future: Future[T] = Future()
        try:
            future.set_result(function(*args, **more))
        except Exception as error:
            future.set_exception(error)
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:  # noqa: FBT001, FBT002 - as there
        """See `concurrent.futures.Executor.shutdown`."""
        if self._pool is not None:
            self._pool.shutdown(wait, cancel_futures=cancel_futures)


def made_ahead(pieces: Iterable[T]) -> Iterator[T]:
    """The same pieces, none of which is None; while one is used, a thread makes the next."""
    left = iter(pieces)
    with OneThread() as thread:
        following = thread.submit(next, left, None)
        while (piece := following.result()) is not None:
            following = thread.submit(next, left, None)
            yield piece
