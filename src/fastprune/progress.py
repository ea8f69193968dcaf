"""Progress of long steps: the protocol, one that shows nothing, and the rate of late.

Stage: all that do I/O. The terminal's own is `fastprune.cli.progress_bar`.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol, TypeVar

_SLOW_SECONDS = 1
_SMOOTH_SECONDS = 30


class Progress(Protocol):
    """Is told about steps, one at a time. May be called from another thread."""

    def start(self, step: str, total: int | None, unit: str) -> None:
        """A step begins.

        Args:
            step: What is being done, in a word or two.
            total: How many units there will be; None if that is not known.
            unit: What is counted.
        """
        ...

    def expect(self, size: int) -> None:
        """The units of this step have so many bytes together: time left goes by bytes, not units.

        Is told right after `start`, and only where it is known: when blobs are read.
        """
        ...

    def advance(self, count: int, size: int = 0) -> None:
        """Some more units are done, with some bytes."""
        ...

    def remembered(self, count: int) -> None:
        """So many of the units that `advance` tells of next were not read: they were remembered.

        Is told only by a scan that is given a folder for state.
        """
        ...

    def stop(self) -> None:
        """The step has ended."""
        ...


Told = TypeVar("Told", bound=Progress)


@contextmanager
def under_way(progress: Told, step: str, total: int | None, unit: str) -> Iterator[Told]:
    """Tells that a step begins, and in any case that it has ended; see `Progress.start`."""
    progress.start(step, total, unit)
    try:
        yield progress
    finally:
        progress.stop()


class SmoothRate:
    """Bytes per second of late: the mean over about half a minute, with the newest counting most.

    What was done longer ago counts less and less (exponential decay). At the beginning it is the
    mean so far.
    """

    def __init__(self, now: float) -> None:
        """Nothing is done yet."""
        self._at, self._size, self._seconds = now, 0.0, 0.0

    def add(self, size: int, now: float) -> None:
        """So many bytes were done since the last call; `now` is in seconds."""
        passed = max(0.0, now - self._at)
        kept = math.exp(-passed / _SMOOTH_SECONDS)
        self._size = self._size * kept + size
        self._seconds = self._seconds * kept + passed
        self._at = now

    @property
    def per_second(self) -> float:
        """Bytes per second; 0 as long as nothing is known."""
        return self._size / self._seconds if self._seconds else 0.0


class NoProgress:
    """Says nothing."""

    def start(self, step: str, total: int | None, unit: str) -> None:
        """See `Progress.start`."""

    def expect(self, size: int) -> None:
        """See `Progress.expect`."""

    def advance(self, count: int, size: int = 0) -> None:
        """See `Progress.advance`."""

    def remembered(self, count: int) -> None:
        """See `Progress.remembered`."""

    def stop(self) -> None:
        """See `Progress.stop`."""


class WhenSlow:
    """Passes a step on when it has taken a second: most steps are shorter."""

    def __init__(self, progress: Progress | None) -> None:
        """Says nothing yet."""
        self._progress = progress or NoProgress()
        self._started = False

    def start(self, step: str, total: int | None, unit: str) -> None:
        """See `Progress.start`."""
        self._step, self._total, self._unit = step, total, unit
        self._expected: int | None = None
        self._count = self._size = self._remembered = 0
        self._from = time.monotonic() + _SLOW_SECONDS

    def expect(self, size: int) -> None:
        """See `Progress.expect`."""
        self._expected = size

    def advance(self, count: int, size: int = 0) -> None:
        """See `Progress.advance`."""
        self._count += count
        self._size += size
        if not self._started:
            if time.monotonic() < self._from:
                return
            self._progress.start(self._step, self._total, self._unit)
            if self._expected is not None:
                self._progress.expect(self._expected)
            self._started = True
        if self._remembered:
            self._progress.remembered(self._remembered)
        self._progress.advance(self._count, self._size)
        self._count = self._size = self._remembered = 0

    def remembered(self, count: int) -> None:
        """See `Progress.remembered`."""
        self._remembered += count

    def stop(self) -> None:
        """See `Progress.stop`."""
        if self._started:
            self._progress.stop()
            self._started = False
