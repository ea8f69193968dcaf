"""Limits: how fast files are deleted, and until when; and how large requests to a server are.

Stage: apply. Values; pure, no I/O.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

DEFAULT_CONCURRENCY = 32
"""Threads that delete. What suits best depends on the file system."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How fast, and until when.

    Attributes:
        concurrency: Batches that are worked on at the same time, each on a thread.
        stopped: Asked between two batches; says why the run must end, or nothing.
        per_second: At most so many files a second; None for no limit.
    """

    concurrency: int = DEFAULT_CONCURRENCY
    stopped: Callable[[], str] = lambda: ""
    per_second: float | None = None

    def or_when(self, asked: Callable[[], str]) -> Limits:
        """These limits, ending as well when something else says why."""
        return replace(self, stopped=lambda: self.stopped() or asked())

    def until(self, deadline: float | None, clock: Callable[[], float]) -> Limits:
        """These limits, ending when a clock passes the deadline; None for no end."""
        if deadline is None:
            return self

        return self.or_when(lambda: "--max-duration" if clock() >= deadline else "")


FIRST_REQUEST = 20
"""How many image URLs the first request to a server names."""
MOST_IN_REQUEST = 500
"""How many image URLs a request names at most."""
REQUEST_SECONDS = 0.3
"""How long a request should take: while the server works on it, its clients wait."""


class RequestSizes:
    """How many image URLs the next request to a server may name, by how long the others took.

    The server compares every manifest with every URL of a request. So the time grows with their
    number. The number at most doubles from one request to the next.

    Attributes:
        urls: At most so many.
    """

    def __init__(self) -> None:
        """No request was sent yet."""
        self.urls = FIRST_REQUEST

    def took(self, urls: int, seconds: float) -> None:
        """Notes how long a request with so many URLs took."""
        most = min(2 * self.urls, MOST_IN_REQUEST)
        if seconds > 0:
            most = min(most, int(urls * REQUEST_SECONDS / seconds))
        self.urls = max(1, most)
