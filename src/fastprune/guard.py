"""Who else uses the cache: a second fastprune, and whoever adds manifests.

Stage: rim. I/O: flock on the folder of the cache, /proc/locks, listings.

The lock is on the folder itself: no file is made, so it works on a full disk, and the
kernel frees it when the process ends, however it ends.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise

import numpy as np

from fastprune.digests import DigestTable, as_digests
from fastprune.errors import CacheReadError, CantLockError, FastpruneError, LockedError
from fastprune.index import CacheIndex, Rows
from fastprune.layouts import ociregistry
from fastprune.progress import Progress, WhenSlow, under_way
from fastprune.refcounts import Mask
from fastprune.tasks import file_names, kind_of, list_folder, opened_folder

_POLL_SECONDS = 0.2
# What is said where there are no locks: a file system, a file server or a filter of calls.
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL, errno.EPERM)
# To ask about a file costs as much as to list so many.
_ENTRIES_PER_STAT = 3


@contextmanager
def cache_lock(
    root: str,
    wait: float = 0,
    checkpoint: Callable[[], None] = lambda: None,
    *,
    no_lock: bool = False,
) -> Iterator[str]:
    """Holds the exclusive lock on a cache.

    Args:
        root: Path of the cache, which exists.
        wait: Seconds to wait for another process to end.
        checkpoint: Called while waiting; raises if the wait is to end.
        no_lock: Go on without where the file system can't lock. What another process has
            locked stays refused.

    Yields:
        Why the cache is not locked; empty if it is.

    Raises:
        LockedError: Another process holds it; the message says which.
        CantLockError: The file system can't lock.
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
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            command = file.read(4096).replace(b"\0", b" ").decode("utf-8", "replace").strip()
    except OSError:
        return ""
    from fastprune.text import printable

    return f" ({printable(command[:200])})" if command else ""


def young_blobs(
    index: CacheIndex, blobs: Rows, seconds: float, progress: Progress | None = None
) -> Rows:
    """Which of some blobs were written in the last so many seconds.

    Args:
        index: The cache.
        blobs: Ids.
        seconds: How young is too young.
        progress: Is told how many were asked about.

    Returns:
        The ids of the young ones. A time in the future is young, too.
    """
    youngest = time.time() - seconds
    young = np.zeros(len(blobs), dtype=bool)
    with (
        opened_folder(os.path.join(index.root, ociregistry.blob_folder)) as folder,
        under_way(WhenSlow(progress), "checking ages", len(blobs), "blobs") as slow,
    ):
        for position, name in enumerate(index.blob_names(blobs)):
            slow.advance(1)
            try:
                status = os.stat(name, dir_fd=folder, follow_symlinks=False)
            except FileNotFoundError:
                continue
            young[position] = status.st_mtime > youngest
    return blobs[young]


def replaced_blobs(index: CacheIndex, blobs: Rows) -> Mask:
    """Which of some blobs are no regular files any more.

    Asks about each if they are few, and lists the folder if they are many: either costs
    far less than a question before each deletion, on all threads at once, would.

    Args:
        index: The cache.
        blobs: Ids.

    Returns:
        bool (n,): True where there is a link, a FIFO or the like. What is gone is not.
    """
    with opened_folder(os.path.join(index.root, ociregistry.blob_folder)) as folder:
        if len(blobs) * _ENTRIES_PER_STAT < index.blobs_present:
            odd = {name for name in index.blob_names(blobs) if _is_odd(name, folder)}
        else:
            with os.scandir(folder) as entries:
                odd = {entry.name for entry in entries if not entry.is_file(follow_symlinks=False)}
    is_odd = (name in odd for name in index.blob_names(blobs))
    return np.fromiter(is_odd, dtype=np.bool_, count=len(blobs))


def _is_odd(name: str, folder: int) -> bool:
    try:
        return not stat.S_ISREG(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode)
    except FileNotFoundError:
        return False


def manifests_changed_at(root: str) -> tuple[int, ...]:
    """When the folders of manifests last got or lost a file: nanoseconds; 0 for a missing one.

    Args:
        root: Path of the cache.

    Raises:
        OSError: The system does not say.
    """
    times = []
    for folder in ociregistry.manifest_folders:
        try:
            times.append(os.lstat(os.path.join(root, folder)).st_mtime_ns)
        except FileNotFoundError:
            times.append(0)
    return tuple(times)


def new_manifests(index: CacheIndex, removed: Mask) -> tuple[str, ...]:
    """Manifest files that are there now and should not be.

    Args:
        index: What was there when the cache was scanned.
        removed: bool (n,): the manifests that were removed since; one that is there
            again was pulled again.

    Returns:
        Their paths, sorted.

    Raises:
        OSError: A folder can't be listed, or one that held manifests is gone.
    """
    known_faults = {path for path, _ in index.faults}
    found = []
    for folder, (first, last) in zip(
        ociregistry.manifest_folders, pairwise(index.folder_starts), strict=True
    ):
        stay = ~removed[first:last]
        table = DigestTable(index.digests[first:last][stay])
        path = os.path.join(index.root, folder)
        if first == last and not os.path.lexists(path):
            continue
        for part in list_folder(path):
            digests = as_digests(part.digests)
            unknown = digests[table.find(digests) < 0].tobytes()
            found += [f"{folder}/{name}" for name in file_names(unknown)]
            # What is no regular file may be a manifest to the server, too.
            found += [f"{folder}/{name}" for name in part.irregular if kind_of(f"{path}/{name}")]
    return tuple(sorted(set(found) - known_faults))
