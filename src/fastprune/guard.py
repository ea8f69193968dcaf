"""Who else uses the cache: a second fastprune, a running server, new manifests.

Stage: rim. I/O: flock on the folder of the cache, /proc, listings.

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
from pathlib import Path
from typing import NamedTuple

import numpy as np

from fastprune.digests import DigestTable, as_digests
from fastprune.errors import CacheReadError, CantLockError, FastpruneError, LockedError
from fastprune.index import CacheIndex, Rows
from fastprune.layouts import ociregistry
from fastprune.progress import Progress, WhenSlow, under_way
from fastprune.refcounts import Mask
from fastprune.tasks import file_names, list_folder, opened_folder

_POLL_SECONDS = 0.2
# What is said where there are no locks: a file system, a file server or a filter of calls.
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL, errno.EPERM)
# To ask about a file costs as much as to list so many.
_ENTRIES_PER_STAT = 3
# Links of a path can lead round in a circle.
_MOST_STEPS = 1_000
# Where the kernel shows processes.
_PROC = Path("/proc")
_DEFAULT_IMAGE_PATH = "/var/lib/ociregistry"


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


class ServerProcess(NamedTuple):
    """A process that seems to serve a cache."""

    pid: int
    command: str


def running_servers(root: str) -> list[ServerProcess]:
    """Looks for servers that run on a cache, in all processes that can be seen.

    A server holds no lock, no pid file and no open file in its cache. It is known by its
    arguments: `serve`, and an image path that leads to this cache, seen from its own
    working directory and, in a container, from its own root.

    Args:
        root: Path of the cache.
    """
    import psutil

    servers = []
    for process in psutil.process_iter():
        try:
            arguments = process.cmdline()
            if "serve" not in arguments[1:] or process.pid == os.getpid():
                continue
            if _serves(arguments, _PROC / str(process.pid), root):
                command = " ".join(arguments)
                servers.append(ServerProcess(process.pid, command))
        except psutil.Error:
            continue
    return servers


def _serves(arguments: list[str], process: Path, root: str) -> bool:
    given = _value_of(arguments, "image-path")
    if given is None:
        config = _value_of(arguments, "config-file")
        given = _image_path_of(_seen_from(process, config)) if config else None
    path = given or _DEFAULT_IMAGE_PATH
    try:
        return os.path.samefile(_seen_from(process, path), root)
    except OSError:
        # Its root can't be seen from here: another user's, or it has just ended.
        return os.path.isabs(path) and os.path.realpath(path) == os.path.realpath(root)


def _value_of(arguments: list[str], option: str) -> str | None:
    """The value of `--option X`, `--option=X` or the same with one dash; the last one counts."""
    value = None
    for argument, following in zip(arguments, [*arguments[1:], ""], strict=True):
        name, equals, inline = argument.partition("=")
        if name in (f"--{option}", f"-{option}"):
            value = inline if equals else following
    return value


def _seen_from(process: Path, path: str) -> str:
    """Where a path of a process leads, in its own root: an absolute link in it, too."""
    root = f"{process}/root"
    at = root if os.path.isabs(path) else f"{process}/cwd"
    ahead = path.split("/")
    for _ in range(_MOST_STEPS):
        if not ahead:
            break
        name = ahead.pop(0)
        if name in ("", ".") or (name == ".." and at == root):
            continue
        try:
            target = os.readlink(f"{at}/{name}")
        except OSError:
            at = f"{at}/{name}"
            continue
        if os.path.isabs(target):
            at = root
        ahead[:0] = target.split("/")
    return at


def _image_path_of(config_file: str) -> str | None:
    import yaml

    try:
        with open(config_file, "rb") as file:
            document = yaml.safe_load(file)
    except (OSError, ValueError, yaml.YAMLError):
        return None
    if not isinstance(document, dict):
        return None
    keys = {str(key).lower(): value for key, value in document.items()}
    path = keys.get("imagepath")
    return path if isinstance(path, str) else None


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
    return tuple(sorted(set(found) - known_faults))
