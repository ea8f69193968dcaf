"""A Dask cluster from the side of its client, in the event loop of that client.

Stage: rim. Input: an address. Output: futures, and answers in a queue. I/O: talks to a scheduler.

All that talks to Dask runs in this one event loop, on a thread of its own: so a signal that ends
the program comes in between, and everything is put away in order.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from queue import SimpleQueue
from typing import Any

import anyio

from fastprune.errors import ClusterError
from fastprune.executors.dask_worker import answer_demands, run_piece, surroundings

_LOOKS_EVERY = 0.5
_LOOKS_OFTEN = 0.02
_CLOSES_WITHIN = 5.0
# A worker of this machine that can't be reached has ended: Dask would try again for 30 seconds.
_OWN_SETTINGS = {
    "distributed.scheduler.http.routes": [],
    "distributed.comm.timeouts.connect": "5s",
}

Arrived = SimpleQueue[tuple[str, bytes | Exception]]
"""What came of pieces: the key of each, and the bytes of an answer or what Dask says instead."""


class Cluster:
    """A cluster that a client is connected to. Everything runs in the event loop of the client.

    Attributes:
        name: The address of the scheduler.
        security: The certificates that its workers need; None if they are not ours.
        threads: How many threads each worker has, by its address; as of a moment ago.
        demands: What workers have to be like: see `pack_demands`.
        refused: Workers that came later and are not like that: see `refusals`.
        alone_since: Since when there is no worker, by `time.monotonic`; None while there is one.
    """

    def __init__(self, client: Any, name: str, security: Any) -> None:
        self.name, self.security = name, security
        self.threads: Mapping[str, int] = {}
        self.demands = b""
        self.refused: dict[str, str | Exception] = {}
        self.alone_since: float | None = time.monotonic()
        self._client = client
        self._asked: set[str] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def is_lost(self) -> bool:
        """Whether there is no connection to the scheduler; may be asked from any thread."""
        # Dask would go on with a new connection, but it has forgotten our pieces then.
        return bool(self._client.status != "running")

    async def watch(self) -> None:
        """Keeps the attributes as they are now, for ever."""
        while True:
            # The client finds out by itself whether the scheduler is gone.
            with suppress(OSError, TimeoutError):
                await self.look()
                await self._ask_newcomers()
            await asyncio.sleep(_LOOKS_EVERY)

    async def _ask_newcomers(self) -> None:
        """Asks workers that came later. One that can't even unpack a piece would keep it."""
        demands = self.demands
        newcomers = [worker for worker in self.threads if worker not in self._asked]
        if newcomers and demands:
            refused = await self._ask(newcomers)
            # What was demanded may have changed, and with it the answers.
            self.refused |= refused if demands is self.demands else {}

    async def look(self) -> None:
        """Asks which workers there are."""
        self.threads = await self._client.scheduler.ncores()
        if self.threads:
            self.alone_since = None
        elif self.alone_since is None:
            self.alone_since = time.monotonic()

    async def wait_for_workers(self, seconds: float) -> None:
        """Waits until there is a worker.

        Raises:
            TimeoutError: There is none in this time.
            OSError: The scheduler is lost.
        """
        async with asyncio.timeout(seconds):
            await self.look()
            while not self.threads:
                await asyncio.sleep(_LOOKS_OFTEN)
                await self.look()

    async def refusals(self, demands: bytes, seconds: float) -> dict[str, str | Exception]:
        """Asks scheduler and workers for what is not as it has to be.

        `demands` is what `pack_demands` gave. Workers that come later are asked the same.

        Returns:
            By their names, why they can't be used, or what was raised where they were asked.

        Raises:
            TimeoutError: Some did not answer in so many seconds.
            OSError: The scheduler is lost.
        """
        self.demands = demands
        self.refused.clear()
        async with asyncio.timeout(seconds):
            answers = await asyncio.gather(self._ask_scheduler(), self._ask(None))
        return {name: reason for found in answers for name, reason in found.items()}

    async def _ask_scheduler(self) -> dict[str, str | Exception]:
        """Asks the scheduler for the package: it unpacks pieces to hand them out."""
        try:
            await self._client.run_on_scheduler(surroundings)
        except OSError:
            raise
        except Exception as error:
            return {f"the scheduler {self.name}": error}
        return {}

    async def _ask(self, workers: Sequence[str] | None) -> dict[str, str | Exception]:
        """Asks workers, or all, whether they are as they have to be; see `refusals`."""
        answers = await self._client.run(
            answer_demands, self.demands, workers=workers, on_error="return"
        )
        self._asked |= answers.keys()
        # One that is lost meanwhile is no reason: the others do the work.
        return {
            f"worker {worker}": answer
            for worker, answer in answers.items()
            if answer and not isinstance(answer, OSError)
        }

    async def hand_out(self, pieces: Mapping[str, bytes], arrived: Arrived) -> Sequence[Any]:
        """Hands pieces out, by keys that no other piece has. Gives a future for each.

        What comes of them is put into a queue, and then forgotten by Dask.
        """
        futures: list[Any] = self._client.map(
            run_piece, list(pieces.values()), key=list(pieces), pure=False
        )
        for key, future in zip(pieces, futures, strict=True):
            task = asyncio.create_task(self._fetch(key, future, arrived))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return futures

    async def forget(self, futures: Sequence[Any]) -> None:
        """Gives futures up: what of them is queued is not run any more."""
        for future in futures:
            future.release()

    async def _fetch(self, key: str, future: Any, arrived: Arrived) -> None:
        answer: bytes | Exception
        try:
            answer = await future
        except Exception as error:
            answer = error
        finally:
            future.release()
        arrived.put((key, answer))


@asynccontextmanager
async def connected(
    address: str, seconds: float, *, name: str = "", security: Any = None, direct: bool = False
) -> AsyncIterator[Cluster]:
    """A connection to a scheduler, which has so many seconds to answer.

    Workers reach the scheduler by `name`, if that is another address. Without certificates, those
    of Dask's own configuration are taken. If workers can be reached from here (`direct`), answers
    need not pass through the scheduler.

    Raises:
        ClusterError: There is no connection.
    """
    from distributed import Client

    client = Client(
        address,
        asynchronous=True,
        security=security,
        set_as_default=False,
        timeout=seconds,
        direct_to_workers=direct or None,
    )
    cluster = Cluster(client, name or address, security)
    watch: asyncio.Task[None] | None = None
    try:
        try:
            await client
        except (OSError, TimeoutError, ValueError, RuntimeError, TypeError) as error:
            raise ClusterError(f"the Dask scheduler {address} can't be reached: {error}") from error
        watch = asyncio.create_task(cluster.watch())
        yield cluster
    finally:
        if watch is not None:
            watch.cancel()
        # What is lost is not waited for.
        await _within(client.__aexit__(OSError if cluster.is_lost else None, None, None))


@asynccontextmanager
async def own_scheduler(seconds: float) -> AsyncIterator[Cluster]:
    """A scheduler in this event loop, with certificates that only we and our workers have.

    Who reaches a scheduler can have its workers run anything.

    Raises:
        ClusterError: It can't be started.
    """
    import dask
    from distributed import Scheduler
    from distributed.security import Security

    security = Security.temporary()
    async with AsyncExitStack() as closing:
        try:
            closing.enter_context(dask.config.set(_OWN_SETTINGS))
            # We are in its process: to reach it, we need no connection and no encryption.
            scheduler = Scheduler(
                host=["127.0.0.1", ""],
                port=0,
                protocol=["tls://", "inproc://"],
                security=security,
                dashboard=False,
                dashboard_address="127.0.0.1:0",
            )
            closing.push_async_callback(lambda: _within(scheduler.close()))
            async with asyncio.timeout(seconds):
                await scheduler
        except (OSError, RuntimeError, ValueError) as error:
            raise ClusterError(f"a Dask scheduler can't be started here: {error}") from error
        outside, inside = (listener.contact_address for listener in scheduler.listeners)
        yield await closing.enter_async_context(
            connected(inside, seconds, name=outside, security=security, direct=True)
        )


async def _within(closing: Any) -> None:
    """Waits for something to close, but not for ever; also if we were cancelled."""
    with anyio.move_on_after(_CLOSES_WITHIN, shield=True), suppress(OSError, RuntimeError):
        await closing
