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

_NAMES_OF_STDIN = frozenset((STDIN, "/dev/stdin", "/dev/fd/0", "/proc/self/fd/0"))


def is_stdin(path: str) -> bool:
    """Whether a path means standard input: as `-`, or by a name that the system gives it."""
    return path in _NAMES_OF_STDIN


class Inputs:
    """What a run reads from files and from stdin: each once, however often it is named.

    A pipe gives its content only once, and nobody writes to it for a second time.

    Attributes:
        stdin_taken_by: The option that reads stdin; empty if none does.
    """

    def __init__(self) -> None:
        self.stdin_taken_by = ""
        self._contents: dict[str, bytes] = {}

    def take_stdin(self, option: str) -> None:
        """Takes down that an option reads stdin.

        Raises:
            UsageError: Another one does.
        """
        if self.stdin_taken_by not in ("", option):
            raise UsageError(
                f"{option} and {self.stdin_taken_by} both read stdin; give one of them a file"
            )
        self.stdin_taken_by = option

    def read(self, path: str, option: str) -> bytes:
        """The content of a file, or of stdin.

        Args:
            path: The file, or `-` for stdin.
            option: The option that names it.

        Raises:
            OSError: It can't be read.
            UsageError: It is stdin, which another option reads.
        """
        if is_stdin(path):
            self.take_stdin(option)
            path = STDIN
        if path not in self._contents:
            self._contents[path] = self._read(path)
        return self._contents[path]

    @staticmethod
    def _read(path: str) -> bytes:
        if path == STDIN:
            return sys.stdin.buffer.read()
        with open(path, "rb") as file:
            return file.read()


def read_references(
    paths: list[str], option: str = "--keep-from", inputs: Inputs | None = None
) -> tuple[str, ...]:
    """Reads lists of image references, for --keep-from.

    Args:
        paths: Files, or `-` for stdin.
        option: Where they were given, for the message.
        inputs: Reads them, and knows what this run has read before.

    Returns:
        The references in full, each once, sorted.

    Raises:
        UsageError: A file can't be read, a reference is malformed, a file names none, or
            another option reads stdin.
    """
    inputs = inputs or Inputs()
    references: set[str] = set()
    for path in paths:
        source = f"{option} {path}"
        found = set(parse_references(_text(inputs, path, source), source))
        if not found:
            # What made the list may have failed: that must not mean that nothing is in use.
            raise UsageError(f"{source}: names no image, so it can't say what to keep")
        references |= found
    return tuple(sorted(references))


def _text(inputs: Inputs, path: str, source: str) -> str:
    try:
        return inputs.read(path, "--keep-from").decode()
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
