"""Folders of a cache: opened without following links, listed in parts, asked for sizes.

Stage: walk. Input: a path, or a task. Output: parts of a listing, sizes. I/O: reads only.
Top-level functions and picklable values, so that any executor can run them; no numpy.
"""

from __future__ import annotations

import errno
import os
import stat
from array import array
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from typing import NamedTuple

from fastprune.errors import CacheReadError, FastpruneError, NoCacheError, NoMemoryError
from fastprune.layouts.layout import Layout
from fastprune.model import LARGEST_INT64, file_names, is_hex_name, pack_names
from fastprune.reading.marks import FileSizes
from fastprune.reading.reader import open_unseen

# Large enough to be worth a message, small enough to stay in the processor's cache.
_LISTING_PART = 4_096

GONE_TIME = -(2**63)
"""The time of a file that is gone."""

_FOLDER_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class ListingPart(NamedTuple):
    """A part of the names in one folder.

    Attributes:
        digests: The names that are digests, 32 raw bytes each.
        foreign: Names that are not cached files: not a digest, or not a regular file.
        last: Whether it is the last part; there always is one.
    """

    digests: bytes
    foreign: tuple[str, ...]
    last: bool = False

    @property
    def irregular(self) -> list[str]:
        """The foreign names that are digests: of links, FIFOs, folders and the like."""
        return [name for name in self.foreign if is_hex_name(name)]


class StatTask(NamedTuple):
    """Files that the system is asked about, by their names: 32 raw bytes each.

    `first` is a number that is given back with the answer.
    """

    folder: str
    first: int
    digests: bytes


def open_folder(path: str, *, within: int | None = None) -> int:
    """Opens a folder of the cache, relative to `within` if given; it must be no symbolic link.

    The access time does not change if we are the owner or root.

    Raises:
        OSError: It can't be opened.
    """
    return open_unseen(path, _FOLDER_FLAGS, within)


@contextmanager
def opened_folder(path: str) -> Iterator[int]:
    """Opens a folder as `open_folder` does, and closes it in the end."""
    descriptor = open_folder(path)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def list_folder(path: str, *, part_size: int = _LISTING_PART) -> Iterator[ListingPart]:
    """Lists one folder in parts, so that a large one needs no large memory.

    Raises:
        FileNotFoundError: There is no such folder.
        OSError: It can't be listed to its end.
    """
    with opened_folder(path) as descriptor:
        try:
            with os.scandir(descriptor) as entries:
                while part := list(islice(entries, part_size)):
                    yield _listing_part(part)
        except FileNotFoundError:
            # The folder was there when it was opened: the listing is not whole.
            raise OSError(errno.ESTALE, os.strerror(errno.ESTALE), path) from None
    yield ListingPart(b"", (), last=True)


def _listing_part(entries: list[os.DirEntry[str]]) -> ListingPart:
    names = [entry.name for entry in entries if entry.is_file(follow_symlinks=False)]
    foreign: list[str] = []
    if len(names) != len(entries):
        # Each entry is asked once: a second answer could differ from the first.
        regular = set(names)
        foreign = [entry.name for entry in entries if entry.name not in regular]
    try:
        digests = pack_names(names)
    except ValueError:
        foreign += [name for name in names if not is_hex_name(name)]
        digests = pack_names([name for name in names if is_hex_name(name)])
    return ListingPart(digests, tuple(foreign))


def stat_files(task: StatTask) -> Iterator[FileSizes]:
    """Asks the file system for sizes, and which files have other names.

    Raises:
        OSError: The folder can't be opened, or the system gives no status of a file.
    """
    sizes, linked = array("q"), []
    for position, status in enumerate(statuses(task)):
        sizes.append(0 if status is None else status.st_size)
        if status is not None and status.st_nlink > 1:
            linked.append(position)
    yield FileSizes(task.first, sizes, tuple(linked))


class FileTimes(NamedTuple):
    """When the content of files last changed, from the `first` of the task on.

    `times` are nanoseconds since 1970; the least int64 for a file that is gone.
    """

    first: int
    times: array[int]


def times_of_files(task: StatTask) -> Iterator[FileTimes]:
    """Asks the file system when files were written.

    Raises:
        OSError: The folder can't be opened, or the system gives no status of a file.
    """
    found = (GONE_TIME if status is None else status.st_mtime_ns for status in statuses(task))
    # A time after the year 2262, or before 1677, does not fit into 64 bits.
    times = (max(GONE_TIME, min(time, LARGEST_INT64)) for time in found)
    yield FileTimes(task.first, array("q", times))


def statuses(task: StatTask) -> Iterator[os.stat_result | None]:
    """Asks the file system about files, one after the other; None for one that is gone.

    Raises:
        OSError: The folder can't be opened, or the system gives no status of a file.
    """
    with opened_folder(task.folder) as folder:
        for name in file_names(task.digests):
            try:
                status = os.stat(name, dir_fd=folder, follow_symlinks=False)
            except FileNotFoundError:
                yield None
            else:
                yield status


def status_of(path: str, *, within: int | None = None) -> os.stat_result | None:
    """What the system says of a path, not following a link there; None if nothing is there.

    Raises:
        OSError: The system does not say.
    """
    try:
        return os.stat(path, dir_fd=within, follow_symlinks=False)
    except FileNotFoundError:
        return None


@contextmanager
def reading(root: str) -> Iterator[None]:
    """Turns errors of the system while a cache is read into errors that name the path.

    Raises:
        CacheReadError: Something could not be read.
        NoMemoryError: Memory ran out.
    """
    try:
        yield
    except MemoryError as error:
        raise NoMemoryError(f"memory ran out while {root} was read; nothing was deleted") from error
    except OSError as error:
        # A file name is relative to some folder of the cache, and a number is an open folder.
        path = error.filename if os.path.isabs(str(error.filename)) else root
        raise CacheReadError(f"{path} can't be read: {error.strerror}") from error


def check_root(root: str, layout: Layout) -> None:
    """Checks that a path holds a cache: a folder with the first folder of manifests in it.

    Raises:
        NoCacheError: It does not. Nothing is created.
        CacheReadError: The system does not say.
    """
    with reading(root):
        try:
            there = stat.S_ISDIR(os.stat(root).st_mode)
        except (FileNotFoundError, NotADirectoryError):
            there = False
    if not there:
        raise NoCacheError(f"no cache at {root}: no such folder")
    first = layout.manifest_folders[0]
    with reading(root):
        status = status_of(os.path.join(root, first))
    if status is None or not stat.S_ISDIR(status.st_mode):
        raise NoCacheError(f"no cache at {root}: it has no folder {first}/")


def list_if_there(path: str) -> Iterator[ListingPart]:
    """Lists a folder; one that does not exist is empty."""
    try:
        yield from list_folder(path)
    except FileNotFoundError as error:
        # Ask once more: if a folder of manifests counted as empty, its blobs would be orphans.
        if os.path.lexists(path):
            raise CacheReadError(f"{path} can't be listed: {error.strerror}") from error
        yield ListingPart(b"", (), last=True)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENOTDIR):
            raise FastpruneError(f"{path} is not a folder (or is a symbolic link)") from None
        raise CacheReadError(f"{path} can't be listed: {error.strerror}") from error
