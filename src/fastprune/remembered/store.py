"""The files of remembered scans: one for each cache, in a folder of its own.

Stage: rim. Input: the path of a file. Output: its bytes, mapped. I/O: maps, checks and writes these
files; never anything in a cache. What is in them is known by `fastprune.index.remembered`.

What is remembered decides what a prune removes. So a file is believed only if nobody else could
have written it: it and its folder belong to us or to root, and nobody else may write them. It is
written whole or not at all. It need not be durable: what a crash leaves of it has wrong checksums.
"""

from __future__ import annotations

import logging
import mmap
import os
import stat
import time
import zlib
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from fastprune.errors import NotBelievedError
from fastprune.whole_files import write_whole

ENDING = ".scan"
KEPT_SECONDS = 90 * 24 * 60 * 60
"""The file of a cache that was not scanned for so long is removed."""

_log = logging.getLogger("fastprune")
_WRITTEN_BY_OTHERS = stat.S_IWGRP | stat.S_IWOTH


class PieceTask(NamedTuple):
    """A part of a file that is to be checked.

    Attributes:
        path: The file.
        start: Where the part begins.
        size: Its bytes.
        checksum: Its CRC-32.
    """

    path: str
    start: int
    size: int
    checksum: int


def mapped_file(path: str) -> mmap.mmap:
    """Maps the file of a remembered scan, which is not checked yet.

    Args:
        path: The file.

    Raises:
        FileNotFoundError: There is none.
        OSError: It can't be read.
        NotBelievedError: Others may have written it.
    """
    folder = os.open(os.path.dirname(path), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        _check_owner(os.fstat(folder), "its folder")
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        file = os.open(os.path.basename(path), flags, dir_fd=folder)
    finally:
        os.close(folder)
    try:
        status = os.fstat(file)
        _check_owner(status, "it")
        if not stat.S_ISREG(status.st_mode) or not status.st_size:
            raise NotBelievedError("it is damaged")
        return mmap.mmap(file, status.st_size, prot=mmap.PROT_READ)
    finally:
        os.close(file)


def forget_pages(mapped: mmap.mmap, start: int, size: int) -> None:
    """Gives back the memory of a part of a mapped file that is not needed again soon."""
    first = start // mmap.PAGESIZE * mmap.PAGESIZE
    if size and hasattr(mapped, "madvise"):
        mapped.madvise(mmap.MADV_DONTNEED, first, start + size - first)


def _check_owner(status: os.stat_result, what: str) -> None:
    if status.st_uid not in (0, os.geteuid()):
        raise NotBelievedError(f"{what} belongs to another user")
    if status.st_mode & _WRITTEN_BY_OTHERS:
        raise NotBelievedError(f"others may write {'to it' if what == 'it' else what}")


def damaged(task: PieceTask) -> Iterator[bool]:
    """Whether a part of a file is not as it was written. A function for workers."""
    with open(task.path, "rb", buffering=0) as file:
        content = os.pread(file.fileno(), task.size, task.start)
    yield len(content) != task.size or zlib.crc32(content) != task.checksum


def store(path: str, content: Iterable[bytes]) -> None:
    """Writes the file of a remembered scan, and removes those that nobody used for long.

    Args:
        path: The file. Its folder is made if there is none.
        content: All of it.

    Raises:
        OSError: It can't be written.
        NotBelievedError: Others may write to the folder, so the file would not be believed.
    """
    folder = os.path.dirname(path)
    os.makedirs(folder, mode=0o700, exist_ok=True)
    _check_owner(os.stat(folder), "its folder")
    write_whole(path, content, mode=0o600, durable=False)
    _remove_old(folder)


def used_now(path: str) -> None:
    """Notes that a file was used, so that it is kept."""
    try:
        os.utime(path)
    except OSError as error:
        _log.debug("%s: %s", path, error.strerror)


def _remove_old(folder: str) -> None:
    oldest = time.time() - KEPT_SECONDS
    with os.scandir(folder) as entries:
        for entry in entries:
            # What a crash left of a file begins with a dot.
            ours = entry.name.endswith(ENDING) or (ENDING + "-") in entry.name
            if ours and entry.stat(follow_symlinks=False).st_mtime < oldest:
                os.unlink(entry.path)
                _log.debug("%s was not used for 90 days and is removed", entry.path)
