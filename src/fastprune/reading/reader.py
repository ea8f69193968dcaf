"""Reads many small files of one folder: as fast warm as cold, and nothing but files.

Stage: read. Input: an open folder and names. Output: contents. I/O: open, fstat, preadv,
read, posix_fadvise, close.

There are two passes. The first takes what lies in the page cache, with three calls a
file and without waiting for anything: `RWF_NOWAIT`. What does not come at once, the
kernel is asked to fetch. The second pass reads those files for good, when they have all
been on their way for a while: so the depth of the disk's queue adapts itself, with one
thread, one open file, and without a switch. The second pass also is the careful one:
it looks at type and size, and reads to the end. It asks the system for nothing but what
every system grants: a filter of system calls may refuse all that makes the first fast.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress

from fastprune.reading.shards import Fault

Content = tuple[int, memoryview]
"""A file's position among the names, and its bytes: valid until the next one is asked for."""

OPEN_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
"""Never through a symbolic link, and never waiting for the other end of a FIFO."""

PASSING = frozenset(
    {
        *(errno.EAGAIN, errno.EINTR, errno.EBUSY, errno.ESTALE, errno.ETIMEDOUT),
        *(errno.EMFILE, errno.ENFILE, errno.ENOMEM),
    }
)
"""What may be over soon: a lease of another program, a file server in confusion, a shortage."""

NOT_A_FILE = "not a regular file"
"""The reason for a link, a FIFO, a folder or the like."""

_BUFFER_BYTES = 256 * 1024
# No page, and no block of a page, is smaller.
_SECTOR_BYTES = 512
_RWF_NOWAIT: int = getattr(os, "RWF_NOWAIT", 0) if hasattr(os, "preadv") else 0
# Filters of system calls answer with the last two.
_UNSUPPORTED = (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS, errno.EPERM)
# O_NOATIME is for the owner and for root only (EPERM), and some file systems don't know it.
_NO_SUCH_FLAG = (*_UNSUPPORTED, errno.EACCES, errno.EROFS)


class FileReader:
    """Reads files by name; keeps its buffer and what it learned of the file system."""

    def __init__(self, max_bytes: int) -> None:
        """Makes a reader.

        Args:
            max_bytes: Larger files are refused.
        """
        self._max_bytes = max_bytes
        self._buffer = memoryview(bytearray(_BUFFER_BYTES))
        self._nowait = _RWF_NOWAIT
        # Reading must not write access times: a dry run changes nothing at all.
        self._flags = OPEN_FLAGS | getattr(os, "O_NOATIME", 0)

    def read_cached(
        self, folder: int, names: Sequence[str], suspects: list[int]
    ) -> Iterator[Content]:
        """Yields what the page cache holds of the files; asks for what it doesn't.

        A read that does not wait comes back short where the page cache ends, which is at
        the end of a page. So what has the length of whole pages is a suspect, and what
        has another is the whole file.

        Args:
            folder: Descriptor of the open folder.
            names: File names in it.
            suspects: Receives the positions of files that have to be read carefully.
        """
        buffer, room = self._buffer, min(len(self._buffer), self._max_bytes + 1)
        for row, name in enumerate(names):
            count = 0
            try:
                descriptor = os.open(name, self._flags, dir_fd=folder)
            except OSError:
                suspects.append(row)
                continue
            try:
                count = os.preadv(descriptor, [buffer], 0, self._nowait) if self._nowait else 0
            except OSError as error:
                if error.errno in _UNSUPPORTED:
                    self._nowait = 0
            whole = 0 < count < room and count % _SECTOR_BYTES
            if not whole:
                advise(descriptor, "POSIX_FADV_WILLNEED")
                suspects.append(row)
            os.close(descriptor)
            if whole:
                yield row, buffer[:count]

    def read_carefully(
        self, folder: int, names: Sequence[str], rows: Iterable[int], faults: list[Fault]
    ) -> Iterator[Content]:
        """Yields the whole content of regular files, waiting for each.

        Args:
            folder: Descriptor of the open folder.
            names: File names in it.
            rows: Positions of the files to read.
            faults: Receives what can't be read, with the position and the reason.
        """
        for row in rows:
            try:
                descriptor = self._open(names[row], folder)
                try:
                    content = self._read_whole(descriptor)
                finally:
                    os.close(descriptor)
            except OSError as error:
                faults.append(_fault(row, _asked_again(error, names[row], folder)))
            except _RefusedError as error:
                faults.append(Fault(row, str(error), unknown=True))
            else:
                yield row, content

    def _open(self, name: str, folder: int) -> int:
        try:
            return os.open(name, self._flags, dir_fd=folder)
        except OSError as error:
            if self._flags == OPEN_FLAGS or error.errno not in _NO_SUCH_FLAG:
                raise
            descriptor = os.open(name, OPEN_FLAGS, dir_fd=folder)
            self._flags = OPEN_FLAGS
            return descriptor

    def _read_whole(self, descriptor: int) -> memoryview:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise _RefusedError(NOT_A_FILE)
        if status.st_size > self._max_bytes:
            raise _RefusedError(
                f"larger than the limit: {status.st_size} > {self._max_bytes} bytes "
                "(--max-manifest-size)"
            )
        if status.st_size >= len(self._buffer):
            self._buffer = memoryview(bytearray(status.st_size + 1))
        count, most = 0, status.st_size + 1
        while count < len(self._buffer):
            # Not into the buffer at once: that takes calls which may be refused.
            some = os.read(descriptor, min(most, len(self._buffer) - count))
            if not some:
                break
            self._buffer[count : count + len(some)] = some
            count += len(some)
        return self._buffer[:count]


def open_file(name: str, folder: int) -> int:
    """Opens one file as `FileReader` does: no link, no waiting, no new access time.

    Args:
        name: Its name.
        folder: Descriptor of the open folder.

    Raises:
        OSError: It can't be opened.
    """
    return open_unseen(name, OPEN_FLAGS, folder)


def open_unseen(path: str, flags: int, within: int | None) -> int:
    """Opens a file or folder, and leaves its access time alone where we may.

    Args:
        path: Which.
        flags: How, as of `os.open`.
        within: The open folder that the path is relative to.

    Raises:
        OSError: It can't be opened.
    """
    try:
        return os.open(path, flags | getattr(os, "O_NOATIME", 0), dir_fd=within)
    except OSError as error:
        if error.errno not in _NO_SUCH_FLAG:
            raise
        return os.open(path, flags, dir_fd=within)


def advise(descriptor: int, advice: str) -> None:
    """Tells the system how a file will be read; no harm where it does not listen.

    Args:
        descriptor: The open file, or anything else.
        advice: The name of a constant of `os`.
    """
    if hasattr(os, "posix_fadvise"):
        # Of what is no regular file it says ESPIPE.
        with suppress(OSError):
            os.posix_fadvise(descriptor, 0, 0, getattr(os, advice))


class _RefusedError(Exception):
    """A file that is not to be read, and may be sound; the message is the reason."""


def _asked_again(error: OSError, name: str, folder: int) -> OSError:
    """What keeps a file from being read; of one that was not found, it is asked once more.

    What is taken for gone needs no blob, and is not put back from a trash.
    """
    if error.errno != errno.ENOENT:
        return error
    try:
        os.stat(name, dir_fd=folder, follow_symlinks=False)
    except OSError as again:
        return again
    return OSError(errno.ESTALE, os.strerror(errno.ESTALE), name)


def _fault(row: int, error: OSError) -> Fault:
    if error.errno == errno.ENOENT:
        return Fault(row, "vanished while the cache was read", vanished=True)
    if error.errno in (errno.ELOOP, errno.EISDIR, errno.ENXIO):
        return Fault(row, NOT_A_FILE, unknown=True)
    return Fault(row, reason_of(error), retry=error.errno in PASSING, unknown=True)


def reason_of(error: OSError) -> str:
    """Why the system refuses something, in words and with the name of the error."""
    return f"{errno.errorcode.get(error.errno or 0, 'error')}: {error.strerror}"
