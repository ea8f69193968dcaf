"""A pull through a server that is held up at one point of its work."""

from __future__ import annotations

import threading
from collections.abc import Callable

from .asked_server import AskedServer
from .stand_in.hooks import Point

_MOST_SECONDS = 60


class PausedPull:
    """A pull on a thread of its own that has come to a point, and waits there.

    Attributes:
        error: What the client got instead of the image; None if it got it.
    """

    def __init__(self, server: AskedServer, url: str, point: Point, subject: str = "") -> None:
        """Begins the pull, and returns when it has come to the point that is about the subject."""
        self.error: Exception | None = None
        self._reached, self._go_on = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._pull, args=(server, url), daemon=True)

        def wait() -> None:
            if threading.current_thread() is self._thread:
                self._reached.set()
                assert self._go_on.wait(_MOST_SECONDS)

        server.hooks.on(point, lambda about: wait() if subject in about else None)
        self._thread.start()
        assert self._reached.wait(_MOST_SECONDS)

    def _pull(self, server: AskedServer, url: str) -> None:
        try:
            server.pull(url)
        except Exception as error:
            self.error = error

    def finish(self) -> PausedPull:
        """Lets it go on to its end."""
        self._go_on.set()
        self._thread.join(_MOST_SECONDS)
        assert not self._thread.is_alive()
        return self


def at_first(what: str, action: Callable[[], object]) -> Callable[[str], None]:
    """For `AskedServer.before` and `after`: does something at the first request of a kind."""
    waiting = [action]

    def step(kind: str) -> None:
        if kind == what and waiting:
            waiting.pop()()

    return step
