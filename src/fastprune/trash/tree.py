"""The tree of the trash: its folders, opened step by step, and the runs in it.

Stage: walk. Input: the path of a cache. Output: open folders and names. I/O: reads only.

Every folder on the way is opened relative to the one before, and must be a real folder. So
nobody can redirect the work by putting a symbolic link in its place.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import NamedTuple

from fastprune.errors import TrashError
from fastprune.layouts import ociregistry
from fastprune.reading.folders import open_folder
from fastprune.trash.run_ids import run_time

STEPS = (".fastprune", "trash")
"""The way from the cache to its trash."""

RUN_FOLDERS = (*ociregistry.manifest_folders, ociregistry.blob_folder)
"""What a run consists of; the first one is made first and removed last."""


class TrashListing(NamedTuple):
    """What is in the trash.

    Attributes:
        runs: The ids of the runs, oldest first.
        foreign: Paths, relative to the cache, that are no runs.
    """

    runs: tuple[str, ...]
    foreign: tuple[str, ...]


def trash_path(root: str, *more: str) -> str:
    """The path of the trash of a cache, or of something in it."""
    return os.path.join(root, *STEPS, *more)


def open_root(root: str) -> int:
    """Opens the folder of a cache, which may be behind a symbolic link."""
    return os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)


def open_step(name: str, parent: int, opened: ExitStack) -> int:
    """Opens a folder in an open folder.

    Args:
        name: Its name.
        parent: The open folder that it is in.
        opened: Closes it in the end.

    Raises:
        FileNotFoundError: There is none.
        TrashError: There is something else of this name.
    """
    try:
        descriptor = open_folder(name, within=parent)
    except OSError as error:
        if error.errno in (errno.ENOTDIR, errno.ELOOP):
            raise TrashError(
                f"{name} on the way to the trash is not a folder (or is a symbolic link)"
            ) from None
        raise
    opened.callback(os.close, descriptor)
    return descriptor


@contextmanager
def opened_run(root: str, run: str) -> Iterator[dict[str, int]]:
    """Opens the folders of a run.

    Args:
        root: Path of the cache.
        run: A run id.

    Yields:
        Descriptors by name; a folder that does not exist is left out.

    Raises:
        FileNotFoundError: There is no such run.
        TrashError: Something on the way is no folder.
    """
    with ExitStack() as opened:
        at = open_root(root)
        opened.callback(os.close, at)
        for step in (*STEPS, run):
            at = open_step(step, at, opened)
        yield _open_all(at, opened)


@contextmanager
def opened_cache(root: str) -> Iterator[dict[str, int]]:
    """Opens img/, lts/ and blobs/ of a cache, as `opened_run` does those of a run."""
    with ExitStack() as opened:
        at = open_root(root)
        opened.callback(os.close, at)
        yield _open_all(at, opened)


def _open_all(parent: int, opened: ExitStack) -> dict[str, int]:
    folders = {}
    for name in RUN_FOLDERS:
        try:
            folders[name] = open_step(name, parent, opened)
        except FileNotFoundError as error:
            # Ask once more: a folder that is there must not count as one without files.
            if _is_there(name, parent):
                raise OSError(errno.ESTALE, os.strerror(errno.ESTALE), name) from error
    return folders


def _is_there(name: str, parent: int) -> bool:
    try:
        os.stat(name, dir_fd=parent, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


def list_trash(root: str) -> TrashListing:
    """Lists the trash of a cache; one that does not exist is empty.

    Raises:
        TrashError: Something on the way to it is no folder, or it can't be listed.
    """
    runs, foreign = [], []
    for name, is_folder in _entries(root):
        if is_folder and run_time(name) is not None and _is_run(root, name):
            runs.append(name)
        else:
            foreign.append(os.path.join(*STEPS, name))
    return TrashListing(tuple(runs), tuple(foreign))


def _is_run(root: str, name: str) -> bool:
    """Whether a folder is empty, as a crash may leave it, or looks like a cache."""
    within = [within for within, _ in _entries(root, name)]
    return not within or RUN_FOLDERS[0] in within


def foreign_in_run(root: str, run: str) -> tuple[str, ...]:
    """Paths, relative to the run, of everything beside its three folders.

    Raises:
        TrashError: It can't be listed.
    """
    return tuple(name for name, _ in _entries(root, run) if name not in RUN_FOLDERS)


def _entries(root: str, *run: str) -> list[tuple[str, bool]]:
    """What is in the trash, or in a run: names, sorted, and whether each is a folder.

    A trash or run that does not exist is empty.

    Raises:
        TrashError: Something on the way is no folder, or it can't be listed.
    """
    path = trash_path(root, *run)
    with ExitStack() as opened:
        try:
            at = open_root(root)
            opened.callback(os.close, at)
            for step in (*STEPS, *run):
                at = open_step(step, at, opened)
            with os.scandir(at) as entries:
                # A set: some folders list a name twice.
                return sorted(
                    {(entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries}
                )
        except OSError as error:
            # Ask once more: a folder that is there must not count as empty.
            if isinstance(error, FileNotFoundError) and not os.path.lexists(path):
                return []
            raise TrashError(f"{path} can't be listed: {error.strerror}") from error
