"""What a piece of text means, and the codes that show it on a terminal.

Stage: report. Input and output: text. Pure, no I/O. The command line decides on colours
(`fastprune.cli.terminal`): it passes a `Paint` to the functions that make lines.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum


class Style(Enum):
    """What text means; the value is its parameters of SGR (ECMA-48, 8.3.117).

    Bold, red and magenta can be read on white and on black; yellow, green and cyan are too
    pale for white, blue is too dark for black. 39 is the colour of other text.
    """

    HEADING = "1"
    ERROR = "1;31"
    WARNING = "1;35"
    HINT = "1;39"
    LIST = "35"
    GOES = "31"
    STAYS = "39"


Paint = Callable[[Style, str], str]
"""Gives text the looks of a style."""


def plain(_: Style, text: str) -> str:
    """Leaves text as it is. A `Paint`."""
    return text


def colored(style: Style, text: str) -> str:
    """Puts the codes of a style around text that is safe to print. A `Paint`."""
    return f"\x1b[{style.value}m{text}\x1b[0m" if text else text
