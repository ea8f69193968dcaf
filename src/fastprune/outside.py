"""What criteria take from outside: lists of references, and the space of a file system.

Stage: rim. Input: paths. Output: references, bytes. I/O: reads files or stdin, asks the system.
"""

from __future__ import annotations

import math
import os
import sys

from fastprune.errors import UsageError
from fastprune.quantities import parse_percentage, parse_size
from fastprune.references import parse_references
from fastprune.scanner import check_root

STDIN = "-"


def read_references(paths: list[str], option: str = "--keep-from") -> tuple[str, ...]:
    """Reads lists of image references, for --keep-from.

    Args:
        paths: Files, or `-` for stdin.
        option: Where they were given, for the message.

    Returns:
        The references in full, each once, sorted.

    Raises:
        UsageError: A file can't be read, a reference is malformed, or a file names none.
    """
    references: set[str] = set()
    for path in paths:
        source = f"{option} {path}"
        found = set(parse_references(_read(path, source), source))
        if not found:
            # What made the list may have failed: that must not mean that nothing is in use.
            raise UsageError(f"{source}: names no image, so it can't say what to keep")
        references |= found
    return tuple(sorted(references))


def _read(path: str, source: str) -> str:
    try:
        if path == STDIN:
            return sys.stdin.buffer.read().decode()
        with open(path, "rb") as file:
            return file.read().decode()
    except OSError as error:
        raise UsageError(f"{source}: can't be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise UsageError(f"{source}: not text in UTF-8") from None


def space_to_free(text: str, option: str, root: str) -> int:
    """How much must come free so that a file system has so much space, for --min-free-space.

    Args:
        text: A size, or a percentage of the whole file system.
        option: Where it was given, for the message.
        root: Path of a cache on the file system.

    Returns:
        Bytes; 0 if there is enough.

    Raises:
        UsageError: The text is neither.
        NoCacheError: There is no cache at the path.
    """
    share = parse_percentage(text, option) if text.endswith("%") else None
    size = parse_size(text, option) if share is None else 0
    check_root(root)
    space = os.statvfs(root)
    if share is not None:
        size = math.ceil(space.f_blocks * space.f_frsize * share)
    # As df does: what only root may use is not free.
    return max(0, size - space.f_bavail * space.f_frsize)
