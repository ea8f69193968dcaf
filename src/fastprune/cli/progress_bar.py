"""Progress on stderr: a bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import threading
import time
from contextlib import suppress

from fastprune.cli.messages import notice
from fastprune.executors.threads import CANT_START
from fastprune.text.quantities import format_bytes, format_seconds

LINE_SECONDS = 30
"""How often a line is written where there is no terminal."""


_DRAWN_PER_SECOND = 8
_WIDTH_OF_ALL = 76
_WIDTH_WITH_REMEMBERED = 100
# The colours of rich are too pale on a light background, or too dark on a dark one.
_STYLES = {
    "bar.back": "dim",
    "bar.complete": "magenta",
    "bar.finished": "magenta",
    "bar.pulse": "magenta",
    "progress.download": "none",
    "progress.remaining": "none",
}


class TerminalProgress:
    """A bar with count, rate, bytes and time left. Drawn by a thread, if one can be started.

    It does not stop the work if the terminal has gone away.
    """

    def __init__(self, *, color: bool) -> None:
        """Draws nothing yet.

        Args:
            color: Whether to use colours.
        """
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            ProgressColumn,
            TextColumn,
            TimeRemainingColumn,
        )
        from rich.theme import Theme

        console = Console(stderr=True, no_color=not color, theme=Theme(_STYLES))
        name, left = TextColumn("{task.description}"), TimeRemainingColumn(compact=True)
        figures = "{task.fields[unit]}  {task.fields[rate]}  {task.fields[bytes]}"
        between: list[ProgressColumn] = [
            BarColumn(bar_width=None),
            MofNCompleteColumn(),
            TextColumn(figures),
        ]
        if console.width < _WIDTH_OF_ALL:
            # Without room for both, numbers instead of the bar: they say more.
            between = [MofNCompleteColumn(), TextColumn("{task.fields[rate]}")]
        self._bar = Progress(
            *(name, *between, left),
            console=console,
            transient=True,
            refresh_per_second=_DRAWN_PER_SECOND,
        )
        self._is_wide = console.width >= _WIDTH_WITH_REMEMBERED
        self._lock = threading.Lock()
        self._drawn: float | None = None

    def start(self, step: str, total: int | None, unit: str) -> None:
        """See `Progress.start`."""
        self._done, self._bytes, self._began = 0, 0, time.monotonic()
        self._remembered = 0
        self._task = self._bar.add_task(step, total=total, unit=unit, rate="", bytes="")
        try:
            with suppress(OSError):
                self._bar.start()
        except CANT_START:
            # Without a thread, `advance` draws it.
            self._drawn = self._began

    def advance(self, count: int, size: int = 0) -> None:
        """See `Progress.advance`."""
        with self._lock:
            self._done += count
            self._bytes += size
            passed = max(time.monotonic() - self._began, 0.001)
            rate = self._done / passed
            self._bar.update(
                self._task,
                completed=self._done,
                rate=f"{rate:,.0f}/s",
                bytes=self._amount(passed),
            )
            now = self._began + passed
            if self._drawn is not None and now - self._drawn > 1 / _DRAWN_PER_SECOND:
                self._drawn = now
                with suppress(OSError):
                    self._bar.refresh()

    def _amount(self, passed: float) -> str:
        """How much was read: bytes; or, if not all was, how many of the units."""
        if not self._remembered:
            return _bytes_and_rate(self._bytes, passed)
        if self._is_wide:
            return _read_and_remembered(self._done, self._remembered)
        return f"{self._remembered:,} remembered"

    def remembered(self, count: int) -> None:
        """See `Progress.remembered`."""
        with self._lock:
            self._remembered += count

    def stop(self) -> None:
        """See `Progress.stop`."""
        with suppress(OSError):
            self._bar.stop()
        self._bar.remove_task(self._task)


class LineProgress:
    """A plain line every half minute, for log files and pods."""

    def start(self, step: str, total: int | None, unit: str) -> None:
        """See `Progress.start`."""
        self._step, self._total, self._unit = step, total, unit
        self._done, self._bytes, self._began = 0, 0, time.monotonic()
        self._remembered = 0
        self._next = self._began + LINE_SECONDS

    def advance(self, count: int, size: int = 0) -> None:
        """See `Progress.advance`."""
        self._done += count
        self._bytes += size
        now = time.monotonic()
        if now >= self._next:
            self._next = now + LINE_SECONDS
            self._say(now, "under way")

    def remembered(self, count: int) -> None:
        """See `Progress.remembered`."""
        self._remembered += count

    def stop(self) -> None:
        """See `Progress.stop`."""
        self._say(time.monotonic(), "ended")

    def _say(self, now: float, state: str) -> None:
        passed = max(now - self._began, 1e-9)
        rate = self._done / passed
        text = f"{self._done:,}"
        if self._total is not None:
            text += f" of {self._total:,}"
        text += f" {self._unit}"
        if self._remembered:
            text += f" ({_read_and_remembered(self._done, self._remembered)})"
        # Zero if the files have no size or their bytes do not count.
        if self._bytes:
            text += f", {_bytes_and_rate(self._bytes, passed)}"
        left = None
        if state == "ended":
            text += f" in {format_seconds(passed)} ({rate:,.0f}/s)"
        else:
            text += f", {rate:,.0f}/s"
            if self._total is not None and self._done:
                left = (self._total - self._done) / rate
                text += f", {format_seconds(left)} left"
        notice(
            "%s: %s",
            self._step,
            text,
            step=self._step,
            state=state,
            done=self._done,
            total=self._total,
            unit=self._unit,
            remembered=self._remembered or None,
            bytes=self._bytes,
            per_second=round(rate, 1),
            seconds=round(passed, 3),
            seconds_left=None if left is None else round(left, 1),
        )


def _read_and_remembered(done: int, remembered: int) -> str:
    return f"{done - remembered:,} read, {remembered:,} remembered"


def _bytes_and_rate(size: int, seconds: float) -> str:
    return f"{format_bytes(size)} ({format_bytes(int(size / seconds))}/s)" if size else ""
