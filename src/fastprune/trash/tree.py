"""The tree of the trash: the runs in it, and what else.

Stage: walk. Input: the path of a cache. Output: names. I/O: reads only.
"""

from __future__ import annotations

import os
from contextlib import ExitStack
from typing import NamedTuple

from fastprune.errors import TrashError
from fastprune.layouts.layout import Layout
from fastprune.reading.trash_folders import STEPS, open_root, open_step
from fastprune.trash.run_ids import run_time


class TrashListing(NamedTuple):
    """The ids of the runs in the trash, oldest first, and paths in the cache that are no runs."""

    runs: tuple[str, ...]
    foreign: tuple[str, ...]


def trash_path(root: str, *more: str) -> str:
    """The path of the trash of a cache, or of something in it."""
    return os.path.join(root, *STEPS, *more)


def list_trash(root: str, layout: Layout) -> TrashListing:
    """Lists the trash of a cache; one that does not exist is empty.

    Raises:
        TrashError: Something on the way to it is no folder, or it can't be listed.
    """
    runs, foreign = [], []
    for name, is_folder in _entries(root):
        if is_folder and run_time(name) is not None and _is_run(root, name, layout):
            runs.append(name)
        else:
            foreign.append(os.path.join(*STEPS, name))
    return TrashListing(tuple(runs), tuple(foreign))


def _is_run(root: str, name: str, layout: Layout) -> bool:
    """Whether a folder is empty, as a crash may leave it, or looks like a cache."""
    within = [within for within, _ in _entries(root, name)]
    return not within or layout.manifest_folders[0] in within


def foreign_in_run(root: str, run: str, layout: Layout) -> tuple[str, ...]:
    """Paths, relative to the run, of everything beside its folders."""
    return tuple(name for name, _ in _entries(root, run) if name not in layout.folders)


def _entries(root: str, *run: str) -> list[tuple[str, bool]]:
    """What is in the trash, or in a run: names, sorted, and whether each is a folder.

    A trash or run that does not exist is empty.

    Raises:
        TrashError: Something on the way is no folder, or it can't be listed.
    """
    path = trash_path(root, *run)
    with ExitStack() as opened:
        try:
            at = open_root(root, opened)
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
