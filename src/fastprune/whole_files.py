"""Files that fastprune writes beside a cache: there whole, or as they were before.

Stage: rim. Input: paths, bytes. Output: a file. I/O: never in a folder of the cache.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterable, Mapping
from contextlib import suppress

from fastprune.errors import UsageError
from fastprune.layouts.layout import Layout

# The errors where fsync is not offered: for folders on some FUSE file systems, and for a FIFO.
# EROFS is not among them: the kernel makes a file system read-only when its disk has failed.
_NOT_OFFERED = (errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS)


class NotDurableError(OSError):
    """The file system can't make anything durable here; all else was done."""


def sync(*descriptors: int) -> None:
    """Makes open files or folders durable, one after the other.

    Raises:
        NotDurableError: A file system does not offer it; the others were made durable.
        OSError: It failed, so data may be lost; those that follow were not tried.
    """
    refused: OSError | None = None
    for descriptor in descriptors:
        try:
            os.fsync(descriptor)
        except OSError as error:
            if error.errno not in _NOT_OFFERED:
                raise
            refused = error
    if refused is not None:
        raise NotDurableError(refused.errno, refused.strerror)


def sync_if_offered(*descriptors: int) -> None:
    """Makes files or folders durable, as far as the file system offers it.

    Raises:
        OSError: It failed.
    """
    with suppress(NotDurableError):
        sync(*descriptors)


# The errors of file systems that keep no permissions (vfat, some FUSE), even to a file's owner.
_NO_MODES = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS)


def checked_target(path: str, root: str, layout: Layout) -> str:
    """Checks that a file may be written to a path, and gives that with all links followed.

    Raises:
        UsageError: It leads into the cache, or to something that is no regular file.
    """
    target = os.path.realpath(path)
    folder = os.path.dirname(target)
    if found := folder_of_cache(path, root, layout):
        raise UsageError(f"{path} is in the cache's folder {found[0]}/: write it elsewhere")
    try:
        if not stat.S_ISREG(os.stat(target).st_mode):
            raise UsageError(f"{path} is no regular file")
    except FileNotFoundError:
        if not os.path.isdir(folder):
            raise UsageError(f"{path}: there is no folder {folder}") from None
    except OSError as error:
        raise UsageError(f"{path} can't be written: {error.strerror}") from None
    return target


def folder_of_cache(path: str, root: str, layout: Layout) -> tuple[str, str] | None:
    """In which folder of a cache a file lies, by whatever links and mounts; it need not be there.

    Returns:
        The name of the folder of the cache, and the folder above the path that leads to it; None
        if the path lies in none.

    Raises:
        OSError: A folder of the cache can't be asked about.
    """
    folders: dict[tuple[int, int], str] = {}
    for name in layout.folders:
        with suppress(FileNotFoundError, NotADirectoryError):
            status = os.stat(os.path.join(root, name))
            folders[status.st_dev, status.st_ino] = name
    return _first_above(os.path.dirname(os.path.realpath(path)), folders)


def lies_in(path: str, folder: str) -> bool:
    """Whether a path is a folder, or lies in it, by whatever links and mounts.

    The path need not be there.

    Raises:
        OSError: The folder can't be asked about.
    """
    status = os.stat(folder)
    above = os.path.realpath(path)
    return _first_above(above, {(status.st_dev, status.st_ino): folder}) is not None


def _first_above(above: str, folders: Mapping[tuple[int, int], str]) -> tuple[str, str] | None:
    """The first of some folders, by device and inode, on the way up from a resolved path."""
    while True:
        with suppress(OSError):
            status = os.stat(above)
            if found := folders.get((status.st_dev, status.st_ino)):
                return found, above
        if above == os.path.dirname(above):
            return None
        above = os.path.dirname(above)


def write_whole(
    path: str,
    content: Iterable[bytes | memoryview],
    *,
    mode: int | None = None,
    durable: bool = True,
) -> None:
    """Writes a file that is there whole and on disk, or as it was before.

    Args:
        path: Where to; its folder must be there.
        content: All of it, in pieces of any size.
        mode: Its permissions, whatever the umask; None for those that the umask leaves.
        durable: Whether it has to be on disk before it counts. If not, a crash of the machine may
            leave a part of it.

    Raises:
        OSError: It can't be written.
    """
    descriptor, temporary = _open_beside(path, 0o666 if mode is None else mode)
    try:
        with open(descriptor, "wb") as file:
            file.writelines(content)
            file.flush()
            if mode is not None:
                _give_mode(descriptor, mode)
            if durable:
                sync_if_offered(descriptor)
        os.replace(temporary, path)
    except BaseException:
        with suppress(OSError):
            os.unlink(temporary)
        raise
    if not durable:
        return
    folder = os.open(os.path.dirname(path) or ".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        sync_if_offered(folder)
    finally:
        os.close(folder)


def check_writable(path: str) -> None:
    """Checks that `write_whole` can make a file beside the path.

    Raises:
        OSError: It can't.
    """
    descriptor, temporary = _open_beside(path, 0o600)
    os.close(descriptor)
    os.unlink(temporary)


def _open_beside(path: str, mode: int) -> tuple[int, str]:
    """Makes an empty file in the same folder; gives its descriptor and its path."""
    folder, name = os.path.split(path)
    # It begins with a dot and has another ending, so nobody takes it for the file itself.
    temporary = os.path.join(folder, f".{name}-{os.urandom(8).hex()}")
    return os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode), temporary


def _give_mode(descriptor: int, mode: int) -> None:
    """Sets the permissions of a file of our own, where the file system knows of any."""
    try:
        os.fchmod(descriptor, mode)
    except OSError as error:
        if error.errno not in _NO_MODES:
            raise
