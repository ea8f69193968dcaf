"""A folder that looks like a cache full of orphans, and is removed whatever happens.

Stage: tune. Input: the path of a cache. Output: the path of the folder. I/O: makes and
removes one folder beside the cache, and the files in it; nothing else.
"""

from __future__ import annotations

import errno
import os
import secrets
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial

from fastprune.deletion.deleter import Batch, Unlinker
from fastprune.errors import FastpruneError
from fastprune.executors.threads import CANT_START
from fastprune.layouts.layout import Layout
from fastprune.model import file_names, in_chunks
from fastprune.reading.folders import list_folder, opened_folder
from fastprune.tuning.figures import FILE_BYTES

SCRATCH_PREFIX = ".fastprune-tune-"

MOST_OF_FREE = 0.1
"""The part of the free space that may be used: other programs may write to this disk."""

_FULL = (errno.ENOSPC, errno.EDQUOT)
_NO_FALLOCATE = (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS)
_CREATE_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
_CLEARING_THREADS = 8


def scratch_parent(root: str) -> str:
    """Where to make a folder for files that are there to be deleted.

    Beside the image path if that is the same file system and can be written to, else in
    it, beside the folders of the cache.

    Raises:
        FastpruneError: Neither can be written to.
    """
    root = os.path.realpath(root)
    parent = os.path.dirname(root)
    folders = [root]
    if os.stat(parent).st_dev == os.stat(root).st_dev and parent != root:
        folders.insert(0, parent)
    for folder in folders:
        if os.access(folder, os.W_OK | os.X_OK):
            return folder
    raise FastpruneError(
        f"{' and '.join(folders)} can't be written to: deleting is measured with temporary "
        "files, in a folder beside the cache or in it"
    )


@contextmanager
def scratch_cache(parent: str, layout: Layout) -> Iterator[str]:
    """Makes a folder that looks like an empty cache, with one for blobs; removes it in the end.

    Raises:
        FastpruneError: It can't be made, or not be removed.
    """
    path = os.path.join(parent, SCRATCH_PREFIX + secrets.token_hex(6))
    blobs = os.path.join(path, layout.blob_folder)
    with making_files(parent):
        os.mkdir(path, 0o700)
        try:
            os.mkdir(blobs, 0o700)
        except OSError:
            os.rmdir(path)
            raise
    try:
        yield path
    finally:
        _clear(path, blobs)


def _clear(path: str, blobs: str) -> None:
    """Removes the folder and all files that are left in it."""
    try:
        with opened_folder(blobs) as folder, ThreadPoolExecutor(_CLEARING_THREADS) as threads:
            for part in list_folder(blobs):
                chunks = in_chunks(part.digests, Unlinker.batch_size)
                names = (file_names(digests) for _, digests in chunks)
                batches = [Batch(some, [0] * len(some)) for some in names]
                remove = partial(Unlinker().remove, folder)
                try:
                    list(threads.map(remove, batches))
                except CANT_START:
                    # A file that a thread has already removed is no error.
                    list(map(remove, batches))
        os.rmdir(blobs)
        os.rmdir(path)
    except OSError as error:
        raise FastpruneError(
            f"the folder with temporary files {path} can't be removed: {error.strerror}"
        ) from error


def room_for_files(path: str) -> int:
    """How many files of `FILE_BYTES` fit into `MOST_OF_FREE`."""
    free = os.statvfs(path)
    blocks = free.f_bavail * free.f_frsize // FILE_BYTES
    # Some file systems have no fixed number of inodes, and say 0.
    inodes = free.f_favail if free.f_files else blocks
    return int(min(blocks, inodes) * MOST_OF_FREE)


def create_file(name: str, folder: int) -> None:
    """Creates a file of `FILE_BYTES`, with a new name, whose blocks are allocated.

    Raises:
        OSError: It can't be made, as when the disk is full.
    """
    descriptor = os.open(name, _CREATE_FLAGS, 0o600, dir_fd=folder)
    try:
        _allocate(descriptor)
    finally:
        os.close(descriptor)


def _allocate(descriptor: int) -> None:
    if hasattr(os, "posix_fallocate"):
        try:
            os.posix_fallocate(descriptor, 0, FILE_BYTES)
        except OSError as error:
            if error.errno not in _NO_FALLOCATE:
                raise
        else:
            return
    # Random bytes: some file systems would store nothing for zeros.
    if os.write(descriptor, os.urandom(FILE_BYTES)) != FILE_BYTES:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@contextmanager
def making_files(folder: str) -> Iterator[None]:
    """Makes a `FastpruneError`, which names the folder, if files or folders can't be made in it."""
    try:
        yield
    except OSError as error:
        problem = (
            "no room for temporary files"
            if error.errno in _FULL
            else "no temporary files can be made"
        )
        raise FastpruneError(f"{problem} in {folder}: {error.strerror}") from error
