"""Progress on stderr: a bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import dataclasses
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from fastprune.cli.messages import notice
from fastprune.executors.threads import CANT_START
from fastprune.progress import SmoothRate
from fastprune.text.quantities import format_bytes, format_seconds

if TYPE_CHECKING:
    from rich.progress import ProgressColumn
    from rich.text import Text

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
        """Draws nothing yet."""
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
        from rich.theme import Theme

        console = Console(stderr=True, no_color=not color, theme=Theme(_STYLES))
        name, left = TextColumn("{task.description}"), TimeRemainingColumn(compact=True)
        figures = "{task.fields[unit]}  {task.fields[rate]}  {task.fields[bytes]}"
        between: list[ProgressColumn] = [
            BarColumn(bar_width=None),
            _done_column(),
            TextColumn(figures),
        ]
        if console.width < _WIDTH_OF_ALL:
            # Without room for both, numbers instead of the bar: they say more.
            between = [_done_column(), TextColumn("{task.fields[rate]}")]
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
        self._remembered, self._total = 0, total
        self._recent: SmoothRate | None = None
        self._task = self._bar.add_task(step, total=total, unit=unit, rate="", bytes="")
        try:
            with suppress(OSError):
                self._bar.start()
        except CANT_START:
            # Without a thread, `advance` draws it.
            self._drawn = self._began

    def expect(self, size: int) -> None:
        """See `Progress.expect`."""
        with self._lock:
            self._recent = SmoothRate(self._began)
            self._bar.update(self._task, total=size, done_of=(0, self._total))

    def advance(self, count: int, size: int = 0) -> None:
        """See `Progress.advance`."""
        with self._lock:
            self._done += count
            self._bytes += size
            passed = max(time.monotonic() - self._began, 0.001)
            rate = self._done / passed
            now = self._began + passed
            if self._recent is not None:
                self._recent.add(size, now)
                self._bar.update(self._task, done_of=(self._done, self._total))
            self._bar.update(
                self._task,
                completed=self._done if self._recent is None else self._bytes,
                rate=f"{rate:,.0f}/s",
                bytes=self._amount(passed),
            )
            if self._drawn is not None and now - self._drawn > 1 / _DRAWN_PER_SECOND:
                self._drawn = now
                with suppress(OSError):
                    self._bar.refresh()

    def _amount(self, passed: float) -> str:
        """How much was read: bytes; or, if not all was, how many of the units."""
        if self._recent is not None:
            return _bytes_at(self._bytes, self._recent.per_second)
        if not self._remembered:
            return _bytes_at(self._bytes, self._bytes / passed)
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
        self._expected: int | None = None
        self._recent = SmoothRate(self._began)
        self._next = self._began + LINE_SECONDS

    def expect(self, size: int) -> None:
        """See `Progress.expect`."""
        self._expected = size

    def advance(self, count: int, size: int = 0) -> None:
        """See `Progress.advance`."""
        self._done += count
        self._bytes += size
        now = time.monotonic()
        self._recent.add(size, now)
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
        rate, ended = self._done / passed, state == "ended"
        by_bytes = self._expected is not None and not ended
        bytes_rate = self._recent.per_second if by_bytes else self._bytes / passed
        text = f"{self._done:,}"
        if self._total is not None:
            text += f" of {self._total:,}"
        text += f" {self._unit}"
        if self._remembered:
            text += f" ({_read_and_remembered(self._done, self._remembered)})"
        # Zero if the files have no size or their bytes do not count.
        if self._bytes:
            text += f", {_bytes_at(self._bytes, bytes_rate, self._expected)}"
        left = None
        if ended:
            text += f" in {format_seconds(passed)} ({rate:,.0f}/s)"
        else:
            text += f", {rate:,.0f}/s"
            if self._expected is not None:
                if bytes_rate:
                    # Files may have grown since they were measured.
                    left = max(0, self._expected - self._bytes) / bytes_rate
            elif self._total is not None and self._done:
                left = (self._total - self._done) / rate
            if left is not None:
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
            total_bytes=self._expected,
            bytes_per_second=None if self._expected is None else round(bytes_rate, 1),
            per_second=round(rate, 1),
            seconds=round(passed, 3),
            seconds_left=None if left is None else round(left, 1),
        )


def _read_and_remembered(done: int, remembered: int) -> str:
    return f"{done - remembered:,} read, {remembered:,} remembered"


def _bytes_at(size: int, per_second: float, expected: int | None = None) -> str:
    if not size:
        return ""
    of = "" if expected is None else f" of {format_bytes(expected)}"
    return f"{format_bytes(size)}{of} ({format_bytes(int(per_second))}/s)"


def _done_column() -> ProgressColumn:
    """A column with the units that are done, also where the bar shows bytes."""
    from rich.progress import MofNCompleteColumn, Task

    class DoneColumn(MofNCompleteColumn):
        def render(self, task: Task) -> Text:
            done, total = task.fields.get("done_of", (task.completed, task.total))
            return super().render(dataclasses.replace(task, completed=done, total=total))

    return DoneColumn()
