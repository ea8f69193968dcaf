"""Limits: how fast files are deleted, and until when.

Stage: apply. A value; pure, no I/O.
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
