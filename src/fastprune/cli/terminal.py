"""The terminal: its width, whether to use colours, and questions on it.

`fastprune.text.cells` aligns lines; `fastprune.text.style` has the colours.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from typing import TextIO

from fastprune.cli.options import Color
from fastprune.text.style import Paint, colored, plain

_TERMINAL = "/dev/tty"

WIDTH_ELSEWHERE = 120
"""Columns of a table that goes into a file or a pipe; $COLUMNS overrides it."""


def terminal_width() -> int:
    """Columns of the terminal that is stdout; $COLUMNS overrides it."""
    columns = os.environ.get("COLUMNS", "")
    if columns.isdecimal() and int(columns) > 0:
        return int(columns)
    # Not shutil's, which asks the stream that Python began with: that may have been replaced.
    with suppress(OSError, ValueError, AttributeError):
        return os.get_terminal_size(sys.stdout.fileno()).columns or WIDTH_ELSEWHERE
    return WIDTH_ELSEWHERE


def confirmed(question: str, *, stdin_taken: bool = False) -> bool:
    """Asks a yes-or-no question; without a terminal it does not ask, and goes on.

    If an option has taken stdin, the answer is read from the terminal of the process.
    """
    if not sys.stderr.isatty():
        return True
    if sys.stdin.isatty():
        return _is_yes(question, sys.stdin)
    if not stdin_taken:
        return True
    try:
        terminal = open(_TERMINAL, encoding="utf-8", errors="replace")  # noqa: SIM115
    except OSError:
        # The process has no terminal, as a job of cron.
        return True
    with terminal:
        return _is_yes(question, terminal)


def _is_yes(question: str, terminal: TextIO) -> bool:
    print(f"{question} [y/N] ", end="", file=sys.stderr, flush=True)
    try:
        return terminal.readline().strip().lower() in ("y", "yes")
    except OSError:
        return False


def wants_color(choice: Color | None, stream: TextIO) -> bool:
    """Whether colours are wanted on a stream.

    `--color always` or `never` decides; else NO_COLOR (https://no-color.org) and then
    FORCE_COLOR (https://force-color.org), if they are not empty; else whether it is a
    terminal, and one that knows colours.
    """
    if choice in (Color.always, Color.never):
        return choice is Color.always
    if os.environ.get("NO_COLOR"):
        return False
    if os.environ.get("FORCE_COLOR"):
        return True
    return stream.isatty() and os.environ.get("TERM") != "dumb"


def paint_for(choice: Color | None, stream: TextIO) -> Paint:
    """The `Paint` for text on a stream."""
    return colored if wants_color(choice, stream) else plain
