"""Reads many small files of one folder: as fast warm as cold, and nothing but files.

Stage: read. Input: an open folder and names. Output: contents. I/O: open, fstat, preadv,
posix_fadvise, close.

Warm files are copied straight out of the page cache. A file that is not there is not
waited for: the kernel is asked to fetch it, the descriptor is put by, and it is read a
little later, when up to `_MOST_PARKED` others are on their way too. So the depth of the
disk's queue adapts itself, with one thread and without a switch.
"""

from __future__ import annotations

import errno
import os
import stat
from collections import deque
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from fastprune.shards import Fault

FileContent = tuple[int, memoryview, int, int]
"""One file: its position among the names, its bytes (valid until the next file is asked
for), st_mtime_ns, and st_size in bytes when it was opened."""

_MOST_PARKED = 128
_BUFFER_BYTES = 256 * 1024
_OPEN_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_RWF_NOWAIT: int = getattr(os, "RWF_NOWAIT", 0)
_UNSUPPORTED = (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS)


class _Parked(NamedTuple):
    row: int
    descriptor: int
    modified: int
    size: int


class _RefusedError(Exception):
    """A file that is not to be read; the message is the reason."""


class FileReader:
    """Reads files by name; keeps its buffer and what it learned of the file system."""

    def __init__(self, max_bytes: int, descriptor_limit: int | None = None) -> None:
        """Makes a reader.

        Args:
            max_bytes: Larger files are refused.
            descriptor_limit: Soft limit of open descriptors; None asks the system.
        """
        self._max_bytes = max_bytes
        self._most_parked = max(1, min(_MOST_PARKED, (descriptor_limit or _soft_limit()) // 4))
        self._buffer = memoryview(bytearray(_BUFFER_BYTES))
        self._nowait = _RWF_NOWAIT
        # Reading must not write access times: a dry run changes nothing at all.
        self._flags = _OPEN_FLAGS | getattr(os, "O_NOATIME", 0)

    def read(self, folder: int, names: Sequence[str], faults: list[Fault]) -> Iterator[FileContent]:
        """Yields the content of every regular file, in an order of its own.

        Args:
            folder: Descriptor of the open folder.
            names: File names in it.
            faults: Receives what could not be read, with the row and the reason.
        """
        parked: deque[_Parked] = deque()
        try:
            for row, name in enumerate(names):
                try:
                    descriptor = self._open(name, folder)
                except OSError as error:
                    faults.append(_fault(row, error))
                    continue
                # This loop is what a whole scan waits for: the usual case, a small file
                # in the page cache, calls nothing but the system.
                try:
                    status = os.fstat(descriptor)
                    size = status.st_size
                    count = self._read_cached(descriptor) if self._wanted(status) else -1
                except (OSError, _RefusedError) as error:
                    os.close(descriptor)
                    faults.append(_fault(row, error))
                    continue
                if count == size:
                    os.close(descriptor)
                    yield row, self._buffer[:count], status.st_mtime_ns, size
                    continue
                _ask_for(descriptor, size)
                parked.append(_Parked(row, descriptor, status.st_mtime_ns, size))
                if len(parked) >= self._most_parked:
                    yield from self._finish(parked.popleft(), faults)
            while parked:
                yield from self._finish(parked.popleft(), faults)
        finally:
            for waiting in parked:
                os.close(waiting.descriptor)

    def _open(self, name: str, folder: int) -> int:
        try:
            return os.open(name, self._flags, dir_fd=folder)
        except PermissionError:
            # O_NOATIME is for the owner and for root only.
            if self._flags == _OPEN_FLAGS:
                raise
            descriptor = os.open(name, _OPEN_FLAGS, dir_fd=folder)
            self._flags = _OPEN_FLAGS
            return descriptor

    def _wanted(self, status: os.stat_result) -> bool:
        """Whether to try the page cache; raises if the file is not to be read at all."""
        if not stat.S_ISREG(status.st_mode):
            raise _RefusedError("not a regular file")
        if status.st_size > self._max_bytes:
            raise _RefusedError(
                f"larger than the limit: {status.st_size} > {self._max_bytes} bytes"
            )
        return status.st_size <= len(self._buffer)

    def _read_cached(self, descriptor: int) -> int:
        """Reads into the buffer what the page cache holds; -1 if it has to be waited for.

        A short count means nothing: the rest may not be in the page cache.
        """
        if not self._nowait:
            return -1
        try:
            return os.preadv(descriptor, [self._buffer], 0, self._nowait)
        except BlockingIOError:
            return -1
        except OSError as error:
            if error.errno not in _UNSUPPORTED:
                raise
            self._nowait = 0
            return -1

    def _finish(self, waiting: _Parked, faults: list[Fault]) -> Iterator[FileContent]:
        """Waits for a file that was put by, and reads it to its end."""
        try:
            if waiting.size >= len(self._buffer):
                self._buffer = memoryview(bytearray(waiting.size + 1))
            count = 0
            while count < len(self._buffer):
                got = os.preadv(waiting.descriptor, [self._buffer[count:]], count)
                if not got:
                    break
                count += got
        except OSError as error:
            faults.append(_fault(waiting.row, error))
            return
        finally:
            os.close(waiting.descriptor)
        yield waiting.row, self._buffer[:count], waiting.modified, waiting.size


def _ask_for(descriptor: int, size: int) -> None:
    if hasattr(os, "posix_fadvise"):
        os.posix_fadvise(descriptor, 0, size, os.POSIX_FADV_WILLNEED)


def _fault(row: int, error: OSError | _RefusedError) -> Fault:
    if isinstance(error, _RefusedError):
        return Fault(row, str(error))
    if error.errno == errno.ENOENT:
        return Fault(row, "vanished while the cache was read", vanished=True)
    if error.errno in (errno.ELOOP, errno.EISDIR, errno.ENXIO):
        return Fault(row, "not a regular file")
    return Fault(row, f"{errno.errorcode.get(error.errno or 0, 'error')}: {error.strerror}")


def _soft_limit() -> int:
    try:
        import resource
    except ImportError:
        return 256
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return soft if soft != resource.RLIM_INFINITY else 1 << 20
