"""The folders of the trash, opened step by step.

Stage: walk. Input: the path of a cache. Output: open folders. I/O: reads only.

A run has the folders of a cache. The first one is made first and removed last.

Every folder on the way is opened relative to the one before, and must be a real folder. So
nobody can redirect the work by putting a symbolic link in its place.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from fastprune.errors import TrashError
from fastprune.layouts.layout import Layout
from fastprune.reading.folders import open_folder, status_of

STEPS = (".fastprune", "trash")
"""The way from the cache to its trash."""


def open_root(root: str, opened: ExitStack) -> int:
    """Opens the folder of a cache, which may be behind a symbolic link; `opened` closes it."""
    descriptor = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    opened.callback(os.close, descriptor)
    return descriptor


def open_step(name: str, parent: int, opened: ExitStack) -> int:
    """Opens a folder in an open folder; `opened` closes it in the end.

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
def opened_run(root: str, run: str, layout: Layout) -> Iterator[dict[str, int]]:
    """Opens the folders of a run, by its id.

    Yields:
        Descriptors by name; a folder that does not exist is left out.

    Raises:
        FileNotFoundError: There is no such run.
        TrashError: Something on the way is no folder.
    """
    with ExitStack() as opened:
        at = open_root(root, opened)
        for step in (*STEPS, run):
            at = open_step(step, at, opened)
        yield _open_all(layout, at, opened)


@contextmanager
def opened_cache(root: str, layout: Layout) -> Iterator[dict[str, int]]:
    """Opens the folders of a cache, as `opened_run` does those of a run."""
    with ExitStack() as opened:
        yield _open_all(layout, open_root(root, opened), opened)


def _open_all(layout: Layout, parent: int, opened: ExitStack) -> dict[str, int]:
    folders = {}
    for name in layout.folders:
        try:
            folders[name] = open_step(name, parent, opened)
        except FileNotFoundError as error:
            # Ask once more: a folder that is there must not count as one without files.
            if status_of(name, within=parent):
                raise OSError(errno.ESTALE, os.strerror(errno.ESTALE), name) from error
    return folders
