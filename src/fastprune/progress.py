"""Progress of long steps: the protocol, and one that shows nothing.

Stage: all that do I/O. The terminal's own is `fastprune.cli.progress_bar`.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol, TypeVar

_SLOW_SECONDS = 1


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
    """Tells that a step begins, and in any case that it has ended.

    Args:
        progress: The progress to tell; the context gives it back.
        step: See `Progress.start`.
        total: See `Progress.start`.
        unit: See `Progress.start`.
    """
    progress.start(step, total, unit)
    try:
        yield progress
    finally:
        progress.stop()


class NoProgress:
    """Says nothing."""

    def start(self, step: str, total: int | None, unit: str) -> None:
        """See `Progress.start`."""

    def advance(self, count: int, size: int = 0) -> None:
        """See `Progress.advance`."""

    def remembered(self, count: int) -> None:
        """See `Progress.remembered`."""

    def stop(self) -> None:
        """See `Progress.stop`."""


class WhenSlow:
    """Passes a step on when it has taken a second: most steps are shorter."""

    def __init__(self, progress: Progress | None) -> None:
        """Says nothing yet.

        Args:
            progress: The progress to tell, if any.
        """
        self._progress = progress or NoProgress()
        self._started = False

    def start(self, step: str, total: int | None, unit: str) -> None:
        """See `Progress.start`."""
        self._step, self._total, self._unit = step, total, unit
        self._count = self._size = self._remembered = 0
        self._from = time.monotonic() + _SLOW_SECONDS

    def advance(self, count: int, size: int = 0) -> None:
        """See `Progress.advance`."""
        self._count += count
        self._size += size
        if not self._started:
            if time.monotonic() < self._from:
                return
            self._progress.start(self._step, self._total, self._unit)
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
