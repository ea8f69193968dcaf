"""Runs batches on threads: so many at a time, at a pace, until it is time to stop.

Stage: apply. Input: batches, and the function that works on one. Output: what it gave,
batch by batch. I/O: none of its own; the function runs on threads.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

import anyio

from fastprune.deletion.deleter import Batch, BatchResult
from fastprune.deletion.pace import Limits
from fastprune.executors.threads import Threads, in_thread
from fastprune.guard.server_findings import LookForServers, ServerFinding
from fastprune.whole_files import NotDurableError

_LONGEST_SLEEP = 0.2
_LEAST_BATCH = 16


class Piece(NamedTuple):
    """Some files of one folder, handed to one thread; and which of all that take the same step."""

    positions: slice
    batch: Batch


class Crew:
    """Threads that work on batches, within limits.

    Attributes:
        stopped: Why the work was stopped; empty if it wasn't.
        servers: The servers that stopped it.
        not_durable: The folders whose file system can't make anything durable.
    """

    def __init__(self, limits: Limits, look: LookForServers | None = None) -> None:
        """Starts nothing yet. `look` looks for servers; None if they do not matter."""
        self.stopped = ""
        self.servers: tuple[ServerFinding, ...] = ()
        self.not_durable: list[str] = []
        self._limits, self._look = limits, look
        self._threads = Threads(limits.concurrency)
        self._next_slot = 0.0

    def batch_size(self, files: int, most: int) -> int:
        """How many of so many files to put in a batch: at most `most`.

        Few if the pace is slow: it is kept between batches, not within one. Also few if there are
        not many files, as a phase of manifests may have: so that all threads have work.
        """
        pace = int((self._limits.per_second or most * 10) / 10)
        share = max(_LEAST_BATCH, files // (2 * self._limits.concurrency))
        return max(1, min(most, pace, share))

    def at_once(self, most: int) -> int:
        """How many files may go at once, if there is no limit but the pace and `most`."""
        return max(1, min(most, int(self._limits.per_second or most)))

    def stop(self, reason: str) -> None:
        """Ends the work between two batches."""
        self.stopped = self.stopped or reason

    def must_stop(self) -> bool:
        """Whether no further batch may begin."""
        self.stopped = self.stopped or self._limits.stopped()
        return bool(self.stopped)

    async def may_begin(self) -> bool:
        """Whether a phase may begin. A server that has started since the last one ends the work."""
        if self.must_stop():
            return False
        if self._look is not None:
            self.servers = await in_thread(self._look)
        if self.servers:
            named = "; ".join(server.text for server in self.servers)
            self.stop(f"a server that may use the cache by now: {named}")
        return not self.stopped

    @contextmanager
    def stopping(self, what: str) -> Iterator[None]:
        """Ends the run, and says `what` failed, if the system refuses what the rest relies on."""
        try:
            yield
        except OSError as error:
            self.stop(f"{what}: {error.strerror}")

    @contextmanager
    def stopping_without_memory(self) -> Iterator[None]:
        """Ends the run between two batches if memory runs out, so that it can still report."""
        try:
            yield
        except* MemoryError:
            self.stop("memory ran out")

    async def settle(self, name: str, settle: Callable[[int], None], folder: int) -> bool:
        """Makes what was done in a folder durable, on a thread. If that fails, the work ends.

        If the file system does not offer it, the folder is noted in `not_durable`, and the
        work goes on.

        Returns:
            Whether the work goes on.
        """
        try:
            await in_thread(settle, folder)
        except NotDurableError:
            if name not in self.not_durable:
                self.not_durable.append(name)
        except OSError as error:
            self.stop(f"{name}/ can't be made durable: {error.strerror}")
            return False
        return True

    async def work_on(
        self,
        pieces: Iterator[Piece],
        work: Callable[[Batch], BatchResult | None],
        done: Callable[[Piece, BatchResult], Awaitable[None]],
    ) -> None:
        """Works on pieces, several at a time, until all are done or it must stop.

        Args:
            pieces: What to work on; made while the work goes on.
            work: Is called on a thread; gives None for what it did not begin.
            done: Is called with each result, in the event loop, even if there was an error
                in another batch.
        """

        async def take_turns() -> None:
            with self.stopping_without_memory():
                for piece in pieces:
                    await self.wait_for_slot(len(piece.batch.names))
                    if self.must_stop():
                        return
                    result = await self._threads.run(work, piece.batch)
                    if result is None:
                        return
                    with anyio.CancelScope(shield=True):
                        await done(piece, result)

        async with anyio.create_task_group() as tasks:
            for _ in range(self._limits.concurrency):
                tasks.start_soon(take_turns)

    async def wait_for_slot(self, files: int) -> None:
        """Keeps the pace: waits until `files` more may begin."""
        if self._limits.per_second is None:
            return
        slot = max(anyio.current_time(), self._next_slot)
        self._next_slot = slot + files / self._limits.per_second
        # No event says that it must stop: it has to ask from time to time.
        while not self.must_stop() and (wait := slot - anyio.current_time()) > 0:  # noqa: ASYNC110
            await anyio.sleep(min(wait, _LONGEST_SLEEP))
