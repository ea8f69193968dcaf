"""The stand-in for the running server: starts, stops, is killed, starts again.

I/O: the cache, and a port of loopback.
"""

from __future__ import annotations

import socket
import ssl
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from .answering import Answering
from .commands import Commands
from .faults import BEFORE, DROPPED, Fault, Faults, Kind, waited
from .hooks import Hooks, Killed, Point
from .http import CutError, HttpServer, after_its_answer, at_once, held_port
from .memory import Memory
from .messages import Answer, Request
from .pulling import Puller
from .storage import Storage
from .upstream import Upstream


def wall_clock() -> str:
    """The time of now as the server writes it: local, without a zone."""
    return time.strftime("%Y-%m-%dT%H:%M:%S")


@dataclass(slots=True)
class Settings:
    """How a server is set up.

    Attributes:
        root: The image path.
        upstream: What it pulls from; None: nothing can be reached, which is a 500.
        air_gapped: It does not pull: what is not there is a 404.
        always_latest: It pulls the tag `latest` each time.
        default_registry: The registry of requests that name none.
        port: 0 for any that is free.
        tls: For HTTPS.
        seed: Of what is random: which ones of too many are listed.
    """

    root: Path
    upstream: Upstream | None = None
    air_gapped: bool = False
    always_latest: bool = False
    default_registry: str = ""
    port: int = 0
    tls: ssl.SSLContext | None = None
    seed: int = 0


class StandIn:
    """A server that runs in a thread of its own. It is a context that stops it at the end.

    Attributes:
        settings: How it is set up; changes count from the next start on.
        hooks: What happens at which point; kept over a restart.
        faults: Which answers go wrong; kept over a restart.
        requests: The method and path, with the query, of each request so far.
        stopped: Set while it does not run.
    """

    def __init__(self, settings: Settings) -> None:
        """Sets it up; it starts with `start`."""
        self.settings = settings
        self.hooks = Hooks()
        self.faults = Faults()
        self.requests: list[str] = []
        self.stopped = threading.Event()
        self._running: _Running | None = None
        self._held: socket.socket | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    @property
    def memory(self) -> Memory:
        """What it has in memory."""
        assert self._running is not None, "it does not run"
        return self._running.memory

    @property
    def url(self) -> str:
        """Where it listens."""
        scheme = "http" if self.settings.tls is None else "https"
        return f"{scheme}://127.0.0.1:{self.settings.port}"

    def start(self) -> None:
        """Loads the cache and listens, on the same port as before.

        Raises:
            BadReferenceError: A file names an image that can't be understood.
        """
        assert self._running is None, "it runs already"
        if self._held is None:
            self._held = held_port(self.settings.port)
            self.settings.port = self._held.getsockname()[1]
        try:
            self._running = _Running(self)
        except BaseException:
            self.stop()
            raise
        self.stopped.clear()

    def stop(self) -> None:
        """Lets running pulls end, as the server does, and stops."""
        running, self._running = self._running, None
        if running is not None:
            running.http.close(after_its_answer)
        if self._held is not None:
            self._held.close()
            self._held = None
        self.stopped.set()

    def kill(self) -> None:
        """Stops at once: no work goes further than to its next point."""
        running, self._running = self._running, None
        if running is not None:
            running.hooks.kill()
            running.http.close(at_once)
        self.stopped.set()

    def kill_soon(self) -> None:
        """Kills it from one of its own threads, at a point; it ends before it gets further."""
        running = self._running
        assert running is not None
        running.hooks.kill()
        self.kill()

    def restart(self) -> None:
        """Kills it and starts it again."""
        self.kill()
        self.start()


class _Running:
    """One run, from the loading of the cache to the end."""

    def __init__(self, owner: StandIn) -> None:
        settings = owner.settings
        self._owner = owner
        self.hooks = _RunningHooks(owner.hooks)
        storage = Storage(settings.root, self.hooks)
        self.memory = Memory(storage, self.hooks, wall_clock, settings.seed)
        self.memory.load()
        puller = Puller(
            self.memory,
            storage,
            self.hooks,
            wall_clock,
            upstream=settings.upstream,
            always_latest=settings.always_latest,
        )
        commands = Commands(self.memory, self.hooks, self._stop, settings.seed)
        self._answering = Answering(
            commands,
            self.memory,
            puller,
            storage,
            air_gapped=settings.air_gapped,
            default_registry=settings.default_registry,
        )
        self.http = HttpServer(self._answer, port=settings.port, tls=settings.tls, silent=(Killed,))

    def _answer(self, request: Request) -> Answer:
        query = f"?{request.query}" if request.query else ""
        self._owner.requests.append(f"{request.method} {request.path}{query}")
        fault = self._owner.faults.for_request(request)
        if fault is not None and fault.kind in BEFORE:
            answer = self._wrong(fault, Answer(500))
        else:
            answer = self._answering.answer(request)
            self.hooks.at(Point.BEFORE_ANSWER, request.path)
            if fault is not None:
                answer = self._wrong(fault, answer)
        return answer

    def _wrong(self, fault: Fault, answer: Answer) -> Answer:
        match fault.kind:
            case Kind.SLOW:
                waited(fault)
                return answer
            case Kind.CUT:
                raise CutError(answer)
            case Kind.FAILED | Kind.FAILED_AFTER:
                return Answer(500)
            case Kind.OTHER:
                return fault.answer
            case Kind.RESTART | Kind.RESTART_AFTER:
                self._owner.restart()
        assert fault.kind in DROPPED
        raise CutError

    def _stop(self) -> None:
        # The answer goes out first.
        threading.Thread(target=self._stop_soon, daemon=True).start()

    def _stop_soon(self) -> None:
        self._owner.stop()


class _RunningHooks(Hooks):
    """The hooks of the owner, until this run is killed."""

    def __init__(self, of_owner: Hooks) -> None:
        super().__init__()
        self._of_owner = of_owner

    def at(self, point: Point, subject: str) -> None:
        super().at(point, subject)
        self._of_owner.at(point, subject)
        super().at(point, subject)
