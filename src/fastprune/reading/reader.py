"""Reads many small regular files of one folder, fast both warm and cold.

Stage: read. Input: an open folder and names. Output: contents. I/O: open, fstat, preadv,
read, posix_fadvise, close.

There are two passes. The first takes files from the page cache, with three calls each and
without waiting (`RWF_NOWAIT`). It asks the kernel to fetch the others. The second pass reads
those, when all of them have been requested: so the disk has a full queue, with one thread and
one open file. The second pass is also the careful one: it checks type and size, and reads to
the end. It makes only system calls that every system allows: a filter may refuse those that
make the first pass fast.

Many file systems can't say what is in the page cache: NFS and FUSE, for example. Then there is only
the second pass, because on a network each opening of a file takes a round trip. It opens some files
ahead and asks for them, so that the queue of a disk is full there, too.
"""

from __future__ import annotations

import errno
import os
import stat
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress

from fastprune.reading.identities import SeenFiles
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
"""Errors that may pass: a lease of another program, a confused file server, a shortage."""

NOT_A_FILE = "not a regular file"
"""The reason for a link, a FIFO, a folder or the like."""

_BUFFER_BYTES = 256 * 1024
_OPEN_AHEAD = 32
# No page, and no block of a page, is smaller.
_SECTOR_BYTES = 512
_RWF_NOWAIT: int = getattr(os, "RWF_NOWAIT", 0) if hasattr(os, "preadv") else 0
# The last two come from filters of system calls.
_UNSUPPORTED = (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS, errno.EPERM)
_TOO_MANY_OPEN = (errno.EMFILE, errno.ENFILE)
# O_NOATIME is for the owner and for root only (EPERM), and some file systems don't know it.
_NO_SUCH_FLAG = (*_UNSUPPORTED, errno.EACCES, errno.EROFS)


class FileReader:
    """Reads files by name; keeps its buffer, and the flags that the file system supports."""

    def __init__(
        self, max_bytes: int, *, buffer_bytes: int = _BUFFER_BYTES, nowait: int = _RWF_NOWAIT
    ) -> None:
        """Makes a reader that refuses files larger than `max_bytes`.

        `buffer_bytes` is the room for a file of the first pass; a larger file makes room for
        itself. `nowait` is the flag of `os.preadv` for reading without waiting; 0 where there is
        none.
        """
        self._max_bytes = max_bytes
        self._buffer = memoryview(bytearray(buffer_bytes))
        self._nowait = nowait
        # Reading must not write access times: a dry run changes nothing at all.
        self._flags = OPEN_FLAGS | getattr(os, "O_NOATIME", 0)

    def read_cached(
        self, folder: int, names: Sequence[str], suspects: list[int], seen: SeenFiles | None = None
    ) -> Iterator[Content]:
        """Yields the files that are in the page cache; asks the kernel to fetch the others.

        Where the file system can't tell, all files are left to `read_carefully`.

        A read that does not wait ends where the page cache ends, at the end of a page. So a result
        of whole pages is a suspect, and a result of any other length is the whole file.

        `suspects` receives the positions of files that have to be read carefully, and `seen` the
        status of each file.
        """
        buffer, room = self._buffer, min(len(self._buffer), self._max_bytes + 1)
        buffers = [buffer]
        for row, name in enumerate(names):
            if not self._nowait:
                suspects.extend(range(row, len(names)))
                return
            count = 0
            try:
                descriptor = os.open(name, self._flags, dir_fd=folder)
            except OSError:
                suspects.append(row)
                continue
            try:
                if seen is not None:
                    seen[row] = os.fstat(descriptor)
                count = os.preadv(descriptor, buffers, 0, self._nowait)
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
        self,
        folder: int,
        names: Sequence[str],
        rows: Iterable[int],
        faults: list[Fault],
        seen: SeenFiles | None = None,
    ) -> Iterator[Content]:
        """Yields the whole content of regular files, waiting for each.

        `rows` are the positions of the files to read. `faults` receives those that can't be read,
        and `seen` the status of each file.
        """
        left = deque(rows)
        opened: deque[tuple[int, int]] = deque()
        try:
            while left or opened:
                self._open_some(folder, names, left, opened, faults)
                if not opened:
                    continue
                row, descriptor = opened.popleft()
                try:
                    try:
                        status = os.fstat(descriptor)
                        if seen is not None:
                            seen[row] = status
                        content = self._read_whole(descriptor, status)
                    finally:
                        os.close(descriptor)
                except OSError as error:
                    faults.append(_fault(row, _asked_again(error, names[row], folder)))
                except _RefusedError as error:
                    faults.append(Fault(row, str(error), unknown=True))
                else:
                    yield row, content
        finally:
            for _, descriptor in opened:
                os.close(descriptor)

    def _open_some(
        self,
        folder: int,
        names: Sequence[str],
        left: deque[int],
        opened: deque[tuple[int, int]],
        faults: list[Fault],
    ) -> None:
        """Opens the next file, and some ahead if nothing was asked for in a first pass."""
        most = 1 if self._nowait else _OPEN_AHEAD
        while left and len(opened) < most:
            row = left.popleft()
            try:
                descriptor = self._open(names[row], folder)
            except OSError as error:
                if opened and error.errno in _TOO_MANY_OPEN:
                    left.appendleft(row)
                    return
                faults.append(_fault(row, _asked_again(error, names[row], folder)))
                continue
            opened.append((row, descriptor))
            if most > 1:
                advise(descriptor, "POSIX_FADV_WILLNEED")

    def _open(self, name: str, folder: int) -> int:
        try:
            return os.open(name, self._flags, dir_fd=folder)
        except OSError as error:
            if self._flags == OPEN_FLAGS or error.errno not in _NO_SUCH_FLAG:
                raise
            descriptor = os.open(name, OPEN_FLAGS, dir_fd=folder)
            self._flags = OPEN_FLAGS
            return descriptor

    def _read_whole(self, descriptor: int, status: os.stat_result) -> memoryview:
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
            # Not directly into the buffer: a filter may refuse the calls for that.
            some = os.read(descriptor, min(most, len(self._buffer) - count))
            if not some:
                break
            self._buffer[count : count + len(some)] = some
            count += len(some)
        return self._buffer[:count]


def open_file(name: str, folder: int) -> int:
    """Opens one file as `FileReader` does: no link, no waiting, no new access time."""
    return open_unseen(name, OPEN_FLAGS, folder)


def open_unseen(path: str, flags: int, within: int | None) -> int:
    """Opens a file or folder; its access time does not change if we are the owner or root."""
    try:
        return os.open(path, flags | getattr(os, "O_NOATIME", 0), dir_fd=within)
    except OSError as error:
        if error.errno not in _NO_SUCH_FLAG:
            raise
        return os.open(path, flags, dir_fd=within)


def advise(descriptor: int, advice: str) -> None:
    """Tells the system how a file will be read, by the name of a constant; it may ignore that."""
    if hasattr(os, "posix_fadvise"):
        # A FIFO gives ESPIPE.
        with suppress(OSError):
            os.posix_fadvise(descriptor, 0, 0, getattr(os, advice))


class _RefusedError(Exception):
    """A file that is not to be read, and may be sound; the message is the reason."""


def _asked_again(error: OSError, name: str, folder: int) -> OSError:
    """The error that keeps a file from being read; one that was not found is looked for again.

    A manifest that counts as gone needs no blob, and is not put back from a trash.
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
