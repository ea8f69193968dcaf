"""Text measured in the cells of a terminal: cut, aligned; and bars.

Stage: report. Input and output: printable text. Pure, no I/O.

A Chinese, Japanese or Korean character and most emoji take two cells, a combining mark
takes none: rich has the tables of Unicode. It is loaded when there is such a character.
"""

from __future__ import annotations

_EIGHTHS = " ▏▎▍▌▋▊▉"
_FULL = "█"


def cells(text: str) -> int:
    """Cells that printable text takes."""
    if text.isascii():
        return len(text)
    from rich.cells import cell_len

    return cell_len(text)


def fitted(text: str, width: int) -> str:
    """Cuts the middle out of a text that is too wide: both ends tell images apart.

    The result may take one cell less: a wide character can't be cut.
    """
    if cells(text) <= width:
        return text
    if width < 1:
        return ""
    head = _beginning(text, (width - 1) // 3)
    tail = _beginning(text[::-1], width - 1 - cells(head))
    return f"{head}…{tail[::-1]}"


def _beginning(text: str, width: int) -> str:
    """As much of the beginning as fits."""
    if text.isascii():
        return text[:width]
    for end, char in enumerate(text):
        width -= cells(char)
        if width < 0:
            return text[:end]
    return text


def left(text: str, width: int) -> str:
    """Aligns text on the left of so many cells."""
    return text + " " * (width - cells(text))


def right(text: str, width: int) -> str:
    """Aligns text on the right of so many cells."""
    return " " * (width - cells(text)) + text


def bar(share: float, width: int) -> str:
    """A bar, drawn in eighths of a cell; a share above 0 draws at least one eighth.

    A share of 1 fills the width.
    """
    eighths = round(min(max(share, 0), 1) * width * 8)
    if share > 0 and width > 0:
        eighths = max(eighths, 1)
    return _FULL * (eighths // 8) + _EIGHTHS[eighths % 8].strip()
