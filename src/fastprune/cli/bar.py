"""Progress on stderr: a bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import contextlib
import sys
import threading
import time

from fastprune.quantities import format_bytes, format_seconds

_LINE_SECONDS = 30


class TerminalProgress:
    """A bar with count, rate, bytes and time left. Drawn by a thread of its own."""

    def __init__(self) -> None:
        """Draws nothing yet."""
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeRemainingColumn,
        )

        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=None),
            MofNCompleteColumn(),
            TextColumn("{task.fields[unit]}  {task.fields[rate]}  {task.fields[bytes]}"),
            TimeRemainingColumn(compact=True),
            console=Console(stderr=True),
            transient=True,
            refresh_per_second=8,
        )
        self._lock = threading.Lock()

    def start(self, step: str, total: int | None, unit: str) -> None:
        """See `Progress.start`."""
        self._done, self._bytes, self._began = 0, 0, time.monotonic()
        self._task = self._bar.add_task(step, total=total, unit=unit, rate="", bytes="")
        self._bar.start()

    def advance(self, count: int, size: int = 0) -> None:
        """See `Progress.advance`."""
        with self._lock:
            self._done += count
            self._bytes += size
            rate = self._done / max(time.monotonic() - self._began, 0.001)
            self._bar.update(
                self._task,
                completed=self._done,
                rate=f"{rate:,.0f}/s",
                bytes=format_bytes(self._bytes),
            )

    def stop(self) -> None:
        """See `Progress.stop`."""
        self._bar.stop()
        self._bar.remove_task(self._task)


class LineProgress:
    """A plain line every half minute, for log files and pods."""

    def start(self, step: str, total: int | None, unit: str) -> None:
        """See `Progress.start`."""
        self._step, self._total, self._unit = step, total, unit
        self._done, self._bytes, self._began = 0, 0, time.monotonic()
        self._next = self._began + _LINE_SECONDS

    def advance(self, count: int, size: int = 0) -> None:
        """See `Progress.advance`."""
        self._done += count
        self._bytes += size
        if time.monotonic() >= self._next:
            self._next += _LINE_SECONDS
            self._say("")

    def stop(self) -> None:
        """See `Progress.stop`."""
        self._say(f" in {format_seconds(time.monotonic() - self._began)}")

    def _say(self, end: str) -> None:
        total = f" of {self._total:,}" if self._total is not None else ""
        # Nobody may be reading any more, which is no reason to stop.
        with contextlib.suppress(OSError):
            print(
                f"fastprune: {self._step}: {self._done:,}{total} {self._unit}, "
                f"{format_bytes(self._bytes)}{end}",
                file=sys.stderr,
                flush=True,
            )
