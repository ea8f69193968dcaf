"""What the terminal is like: how wide, whether it is to show colours, what it answers.

What lines look like is not decided here: `fastprune.text.cells` measures and aligns,
`fastprune.text.style` says what a colour means.
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
"""Columns of a table that goes into a file or a pipe; $COLUMNS beats it."""


def terminal_width() -> int:
    """Columns of the terminal that stdout is; $COLUMNS beats it."""
    columns = os.environ.get("COLUMNS", "")
    if columns.isdecimal() and int(columns) > 0:
        return int(columns)
    # Not shutil's, which asks the stream that Python began with: that may have been replaced.
    with suppress(OSError, ValueError, AttributeError):
        return os.get_terminal_size(sys.stdout.fileno()).columns or WIDTH_ELSEWHERE
    return WIDTH_ELSEWHERE


def confirmed(question: str, *, stdin_taken: bool = False) -> bool:
    """Asks a question that y answers; without a terminal to ask on, nothing is asked.

    Args:
        question: What to ask.
        stdin_taken: Whether an option has read stdin: then the answer is not to be found there,
            and the terminal that the process belongs to is asked.
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
        # The process belongs to none, as a job of cron.
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

    Args:
        choice: What --color says.
        stream: stdout or stderr.
    """
    if choice in (Color.always, Color.never):
        return choice is Color.always
    if os.environ.get("NO_COLOR"):
        return False
    if os.environ.get("FORCE_COLOR"):
        return True
    return stream.isatty() and os.environ.get("TERM") != "dumb"


def paint_for(choice: Color | None, stream: TextIO) -> Paint:
    """What gives text on a stream its looks.

    Args:
        choice: What --color says.
        stream: stdout or stderr.
    """
    return colored if wants_color(choice, stream) else plain
