"""The lock on a cache: one fastprune at a time.

Stage: rim. I/O: `flock` on the folder of the cache itself, so that there is no file to clean up.
"""

from __future__ import annotations

import errno
import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from fastprune.errors import CacheReadError, CantLockError, FastpruneError, LockedError
from fastprune.guard.process_table import PROC, command_line

_POLL_SECONDS = 0.2
# The errors where locks are not offered: by a file system, a file server, a filter of system calls.
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL, errno.EPERM)


@contextmanager
def cache_lock(
    root: str,
    wait: float = 0,
    checkpoint: Callable[[], None] = lambda: None,
    *,
    no_lock: bool = False,
) -> Iterator[str]:
    """Holds the exclusive lock on a cache. Yields why it is not locked; empty if it is.

    It waits so many seconds for another process to end. Meanwhile `checkpoint` is called, which
    raises if the wait is to end. See `Exclusion` for `no_lock`.

    Raises:
        LockedError: Another process holds it; the message says which.
        CantLockError: The file system can't lock, and `no_lock` was not given.
        FastpruneError: The folder can't be opened, or locking failed.
    """
    try:
        descriptor = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise CacheReadError(f"{root} can't be opened: {error.strerror}") from error
    try:
        unlocked = ""
        try:
            _lock(descriptor, root, wait, checkpoint)
        except CantLockError as error:
            if not no_lock:
                raise
            unlocked = error.reason
        yield unlocked
    finally:
        os.close(descriptor)


def _lock(descriptor: int, root: str, wait: float, checkpoint: Callable[[], None]) -> None:
    deadline = time.monotonic() + wait
    while not _try_lock(descriptor, root):
        left = deadline - time.monotonic()
        if left <= 0:
            raise LockedError(f"{root} is locked by {_holder(descriptor)}")
        checkpoint()
        time.sleep(min(_POLL_SECONDS, left))


def _try_lock(descriptor: int, root: str) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno in _NO_LOCKS:
            raise CantLockError(root, error.strerror or str(error)) from error
        raise FastpruneError(f"{root} can't be locked: {error.strerror}") from error
    return True


def _holder(descriptor: int) -> str:
    """Names the process that holds the lock, as far as /proc shows (proc(5), /proc/locks)."""
    status = os.fstat(descriptor)
    device = f"{os.major(status.st_dev):02x}:{os.minor(status.st_dev):02x}:{status.st_ino}"
    try:
        with open("/proc/locks", encoding="ascii") as locks:
            fields = [line.split() for line in locks]
    except OSError:
        return "another process"
    for lock in fields:
        if len(lock) > 5 and lock[1] == "FLOCK" and lock[5] == device:
            return f"process {lock[4]}{_command(lock[4])}"
    return "another process"


def _command(pid: str) -> str:
    from fastprune.text.escaping import printable

    line = command_line(f"{PROC}/{pid}")
    command = line.replace(b"\0", b" ").decode("utf-8", "replace").strip()
    return f" ({printable(command[:200])})" if command else ""
