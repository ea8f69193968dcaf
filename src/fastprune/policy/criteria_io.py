"""The input of criteria: lists of references, and the free space of a file system.

Stage: rim. Input: paths. Output: references, bytes. I/O: reads files or stdin, asks the system.
"""

from __future__ import annotations

import logging
import math
import os
import sys
from contextlib import nullcontext

from fastprune.errors import UsageError
from fastprune.layouts.layout import Layout
from fastprune.reading.folders import check_root, open_folder, reading
from fastprune.text.quantities import parse_percentage, parse_size
from fastprune.text.references import parse_references

STDIN = "-"
_INSTEAD = "give --free or --max-size instead"

_log = logging.getLogger("fastprune")

_NAMES_OF_STDIN = frozenset((STDIN, "/dev/stdin", "/dev/fd/0", "/proc/self/fd/0"))


def is_stdin(path: str) -> bool:
    """Whether a path means standard input: as `-`, or by a name that the system gives it."""
    return path in _NAMES_OF_STDIN


class Inputs:
    """What a run reads from files and from stdin: each once, however often it is named.

    A pipe gives its content only once.

    Attributes:
        stdin_taken_by: The option that reads stdin; empty if none does.
    """

    def __init__(self) -> None:
        self.stdin_taken_by = ""
        self._contents: dict[str, bytes] = {}

    def take_stdin(self, option: str) -> None:
        """Notes that an option reads stdin.

        Raises:
            UsageError: Another option reads it.
        """
        if self.stdin_taken_by not in ("", option):
            raise UsageError(
                f"{option} and {self.stdin_taken_by} both read stdin; give one of them a file"
            )
        self.stdin_taken_by = option

    def read(self, path: str, option: str) -> bytes:
        """The content of a file, or of stdin for `-`.

        Raises:
            OSError: It can't be read.
            UsageError: It is stdin, which another option reads.
        """
        if is_stdin(path):
            self.take_stdin(option)
            path = STDIN
        if path not in self._contents:
            with open(path, "rb") if path != STDIN else nullcontext(sys.stdin.buffer) as file:
                self._contents[path] = file.read()
        return self._contents[path]


def read_references(
    paths: list[str], option: str = "--keep-from", inputs: Inputs | None = None
) -> tuple[str, ...]:
    """Reads lists of image references, for --keep-from, from files, or from stdin for `-`.

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
        try:
            text = inputs.read(path, "--keep-from").decode()
        except OSError as error:
            raise UsageError(f"{source}: can't be read: {error.strerror}") from None
        except UnicodeDecodeError:
            raise UsageError(f"{source}: not text in UTF-8") from None
        found = set(parse_references(text, source))
        if not found:
            # The command that made the list may have failed: empty is not "nothing in use".
            raise UsageError(f"{source}: names no image, so it can't say what to keep")
        references |= found
    return tuple(sorted(references))


def space_to_free(text: str, option: str, root: str, layout: Layout) -> int:
    """How many bytes must come free so that the free space is as --min-free-space says.

    The file system of the blobs counts, because blobs take most of the space. If a folder of
    manifests is on another file system, a warning says which one counts. The text is a size, or a
    percentage of the whole file system.

    Raises:
        UsageError: The text is neither, or the file system can't have so much space, or does
            not say how much it has.
        NoCacheError: There is no cache at the path.
        CacheReadError: The file system can't be asked.
    """
    share = parse_percentage(text, option) if text.endswith("%") else None
    wanted = parse_size(text, option) if share is None else 0
    check_root(root, layout)
    path, space = _space_of_blobs(root, option, layout)
    size, free = space.f_blocks * space.f_frsize, space.f_bavail * space.f_frsize
    if size <= 0:
        raise UsageError(
            f"{option}: the file system of {path} reports no size, so how much of it is free "
            f"can't be known; {_INSTEAD}"
        )
    if not 0 <= free <= size:
        raise UsageError(
            f"{option}: the file system of {path} reports a size of {size} bytes and {free} of "
            f"them free, so how much is free can't be known; {_INSTEAD}"
        )
    if share is not None:
        wanted = math.ceil(size * share)
    elif wanted > size:
        raise UsageError(
            f"{option}: the file system of {path} has {size} bytes in all, so {wanted} can't be "
            "free"
        )
    # As in df, space that only root may use is not free.
    return max(0, wanted - free)


def _space_of_blobs(root: str, option: str, layout: Layout) -> tuple[str, os.statvfs_result]:
    """The folder whose file system was asked, that of the blobs; and the answer."""
    path = os.path.join(root, layout.blob_folder)
    with reading(root):
        try:
            folder = open_folder(path)
        except FileNotFoundError:
            # Without blobs, manifests are all that there is to free.
            path = os.path.join(root, layout.manifest_folders[0])
            folder = open_folder(path)
        try:
            device, space = os.fstat(folder).st_dev, os.statvfs(folder)
        finally:
            os.close(folder)
        elsewhere = [name for name in layout.manifest_folders if _is_off(root, name, device)]
    if elsewhere:
        _log.warning(
            "%s: the file system of %s was asked; %s on another one, which was not asked",
            option,
            path,
            " and ".join(f"{name}/" for name in elsewhere) + (" are" if elsewhere[1:] else " is"),
        )
    return path, space


def _is_off(root: str, name: str, device: int) -> bool:
    """Whether a folder of the cache is on another file system than that of a device."""
    try:
        return os.lstat(os.path.join(root, name)).st_dev != device
    except FileNotFoundError:
        return False
