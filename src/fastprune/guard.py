"""Who else uses the cache: the lock against a second fastprune.

Stage: rim. I/O: flock on the folder of the cache, /proc/locks.

The lock is on the folder itself: no file is made, so it works on a full disk, and the
kernel frees it when the process ends, however it ends.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio

from fastprune.errors import FastpruneError, LockedError

_POLL_SECONDS = 0.2


@asynccontextmanager
async def cache_lock(root: str, wait: float = 0) -> AsyncIterator[None]:
    """Holds the exclusive lock on a cache.

    Args:
        root: Path of the cache, which exists.
        wait: Seconds to wait for another process to end.

    Raises:
        LockedError: Another process holds it; the message says which.
        FastpruneError: The file system can't lock.
    """
    descriptor = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        deadline = anyio.current_time() + wait
        while not _try_lock(descriptor, root):
            if anyio.current_time() >= deadline:
                raise LockedError(f"{root} is locked by {_holder(descriptor)}")
            await anyio.sleep(min(_POLL_SECONDS, max(0.0, deadline - anyio.current_time())))
        yield
    finally:
        os.close(descriptor)


def _try_lock(descriptor: int, root: str) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
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
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            command = file.read(4096).replace(b"\0", b" ").decode("utf-8", "replace").strip()
    except OSError:
        return ""
    from fastprune.text import printable

    return f" ({printable(command[:200])})" if command else ""
