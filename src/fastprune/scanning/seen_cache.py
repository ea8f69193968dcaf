"""What this process sees of a cache, for a worker to compare with what it sees itself.

Stage: walk. Input: the path of a cache. Output: `SeenCache`. I/O: reads a few files.

A worker on another machine may have no file system at the path of the cache, another one, or an
older copy. What such a worker finds would be taken for the cache. So the folders have to be the
same, by their inodes, and a sample of the files, by their sizes and content.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain, islice
from typing import NamedTuple

from fastprune.errors import UsageError
from fastprune.layouts.layout import Layout
from fastprune.model import is_hex_name
from fastprune.reading.folders import opened_folder
from fastprune.reading.reader import open_file

_LOOKED_AT = 64
_COMPARED = 8
_MOST_READ = 1 << 20
# The names of the errors that mean that nothing is there.
_NOTHING = (errno.ENOENT, errno.ENOTDIR)
_MARK_BYTES = 8


class SeenFile(NamedTuple):
    """A file of a cache: its path there, its bytes, and the sha256 of its first MiB.

    A blob is not read, so that is empty.
    """

    path: str
    size: int
    content: bytes


@dataclass(frozen=True, slots=True)
class SeenCache:
    """What is seen at the path of a cache: a `View` for the workers of an executor.

    Attributes:
        root: The path, an absolute one.
        layout: What kind of cache it is.
        inodes: The inode of the cache and of each of its folders; 0 for one that is not there.
        files: Some of the manifests and blobs.
        mark: Random bytes, so that a worker that has seen the same in an earlier run looks again.
    """

    root: str
    layout: Layout
    inodes: tuple[int, ...]
    files: tuple[SeenFile, ...]
    mark: bytes

    def differs_here(self) -> str:
        """See `View.differs_here`."""
        folders = zip(_folders(self.root, self.layout), self.inodes, strict=True)
        reasons = chain(
            (_other_folder(path, inode) for path, inode in folders),
            (_other_file(self.root, file) for file in self.files),
        )
        return next(filter(None, reasons), "")

    def renewed(self) -> SeenCache:
        """See `View.renewed`."""
        return see_cache(self.root, self.layout)


def see_cache(root: str, layout: Layout) -> SeenCache:
    """Looks at a cache.

    Raises:
        UsageError: The path is relative: workers have other working folders.
        OSError: Something can't be read.
    """
    if not os.path.isabs(root):
        raise UsageError(f"{root}: workers on other machines need the absolute path of the cache")
    files = [
        file
        for folder in layout.folders
        for file in _sample(root, folder, read=folder != layout.blob_folder)
    ]
    inodes = tuple(map(_inode, _folders(root, layout)))
    return SeenCache(root, layout, inodes, tuple(files), os.urandom(_MARK_BYTES))


def _folders(root: str, layout: Layout) -> list[str]:
    return [root, *(os.path.join(root, folder) for folder in layout.folders)]


def _other_folder(path: str, inode: int) -> str:
    try:
        found = _inode(path)
    except OSError as error:
        return f"{path} can't be read there: {error.strerror}"
    if found and inode and found != inode:
        return f"it sees another folder at {path} (inode {found}, not {inode})"
    return "" if found == inode else f"there is {'a' if found else 'no'} folder {path}"


def _other_file(root: str, file: SeenFile) -> str:
    path = os.path.join(root, file.path)
    try:
        found = _seen(root, file.path, read=bool(file.content))
    except OSError as error:
        if error.errno in _NOTHING:
            return f"there is no file {path}"
        return f"{path} can't be read there: {error.strerror}"
    return "" if found == file else f"it sees another file at {path}"


def _inode(path: str) -> int:
    try:
        return os.stat(path).st_ino
    except OSError as error:
        if error.errno in _NOTHING:
            return 0
        raise


def _sample(root: str, folder: str, *, read: bool) -> Iterator[SeenFile]:
    """Some files of a folder: those that have not changed for the longest time."""
    oldest: list[tuple[int, str]] = []
    with suppress(FileNotFoundError), os.scandir(os.path.join(root, folder)) as entries:
        for entry in islice(entries, _LOOKED_AT):
            # One that is removed in this moment is left out.
            with suppress(FileNotFoundError):
                if is_hex_name(entry.name) and entry.is_file(follow_symlinks=False):
                    oldest.append((entry.stat(follow_symlinks=False).st_mtime_ns, entry.name))
    for _, name in sorted(oldest)[:_COMPARED]:
        with suppress(OSError):
            yield _seen(root, f"{folder}/{name}", read=read)


def _seen(root: str, path: str, *, read: bool) -> SeenFile:
    folder, _, name = path.rpartition("/")
    with opened_folder(os.path.join(root, folder)) as descriptor:
        if not read:
            size = os.stat(name, dir_fd=descriptor, follow_symlinks=False).st_size
            return SeenFile(path, size, b"")
        from hashlib import sha256

        file = open_file(name, descriptor)
        try:
            size = os.fstat(file).st_size
            return SeenFile(path, size, sha256(os.read(file, _MOST_READ)).digest())
        finally:
            os.close(file)
