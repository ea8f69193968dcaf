"""The files that one run leaves for the next: one of a kind for each cache, in a folder of its own.

Stage: rim. Input: the path of a file. Output: its bytes, mapped. I/O: maps, checks and writes these
files; never anything in a cache. What is in them is known by `fastprune.index.remembered` and
`fastprune.index.verified_blobs`.

What is remembered decides what a prune removes, and what is not read again. So a file is believed
only if nobody else could have written it: it and its folder belong to us or to root, and nobody
else may write them. It is written whole or not at all. It need not be durable: what a crash leaves
of it has wrong checksums.
"""

from __future__ import annotations

import logging
import mmap
import os
import re
import stat
import time
import zlib
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import NamedTuple

from fastprune.errors import NotBelievedError
from fastprune.whole_files import write_whole

SCANS = ".scan"
"""How the names of remembered scans end."""

VERIFIED = ".verified"
"""How the names of files end that say which blobs were found sound."""

_DAY = 24 * 60 * 60
KEPT_SECONDS = 90 * _DAY
"""A file that was not used for so long is removed."""

_log = logging.getLogger("fastprune")
_WRITTEN_BY_OTHERS = stat.S_IWGRP | stat.S_IWOTH
# Other files with the same ending may lie in a folder that a user has named.
_NAME = rf"[0-9a-f]{{16}}-[0-9]+(?:{re.escape(SCANS)}|{re.escape(VERIFIED)})"
_IS_OURS = re.compile(_NAME).fullmatch
_IS_LEFT = re.compile(rf"\.{_NAME}-[0-9a-f]+").fullmatch


class PieceTask(NamedTuple):
    """A part of a file that is to be checked: where it is, and its CRC-32.

    The inode is that of the file that is mapped.
    """

    path: str
    inode: int
    start: int
    size: int
    checksum: int


class MappedFile(NamedTuple):
    """A file that is mapped; it stays as it is, whatever another scan puts in its place.

    No other file gets its inode as long as it is mapped. A scan used or wrote it last at `used_at`:
    nanoseconds since the epoch.
    """

    content: mmap.mmap
    inode: int
    used_at: int


def mapped_file(path: str) -> MappedFile:
    """Maps a file, which is not checked yet.

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
        content = mmap.mmap(file, status.st_size, prot=mmap.PROT_READ)
        return MappedFile(content, status.st_ino, status.st_mtime_ns)
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
    """Whether a part of a file is not as it was written. A function for workers.

    It says so as well of a file that can't be read, or that is not the one that is mapped.
    """
    try:
        with open(task.path, "rb", buffering=0) as file:
            inode = os.fstat(file.fileno()).st_ino
            content = os.pread(file.fileno(), task.size, task.start)
    except OSError:
        yield True
    else:
        is_whole = inode == task.inode and len(content) == task.size
        yield not is_whole or zlib.crc32(content) != task.checksum


def is_replaced(path: str, mapped: MappedFile) -> bool:
    """Whether another file has taken the place of one that is mapped.

    Raises:
        OSError: The system does not say, or nothing is there.
    """
    return os.lstat(path).st_ino != mapped.inode


def store(path: str, content: Iterable[bytes | memoryview]) -> None:
    """Writes a whole file, and removes those that nobody used for long.

    Its folder is made if there is none.

    Raises:
        OSError: It can't be written.
        NotBelievedError: Others may write to the folder, so the file would not be believed.
    """
    # A scan that writes nothing need not wait for the import.
    from fastprune.executors.threads import made_ahead

    folder = os.path.dirname(path)
    os.makedirs(folder, mode=0o700, exist_ok=True)
    _check_owner(os.stat(folder), "its folder")
    # What is written is computed, which takes as long as to write it.
    write_whole(path, made_ahead(content), mode=0o600, durable=False)
    _remove_old(folder)


def used_now(path: str) -> None:
    """Notes that a file was used, so that it is kept."""
    try:
        os.utime(path)
    except OSError as error:
        _log.debug("%s: %s", path, error.strerror)


def _remove_old(folder: str) -> None:
    now = time.time()
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if _IS_OURS(entry.name):
                kept = KEPT_SECONDS
            elif _IS_LEFT(entry.name):
                # A process that was killed left it. Nobody writes a file for a day.
                kept = _DAY
            else:
                continue
            # Another scan may just have removed it.
            with suppress(OSError):
                if entry.stat(follow_symlinks=False).st_mtime < now - kept:
                    os.unlink(entry.path)
                    _log.debug("%s was not used for long and is removed", entry.path)
