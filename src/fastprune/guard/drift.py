"""What changed in a cache since it was scanned: new manifests, young or replaced blobs.

Stage: rim. Input: a `CacheIndex`. Output: masks, paths. I/O: lists folders, asks for times.
"""

from __future__ import annotations

import os
import stat
import time

import numpy as np

from fastprune.executors.executor import Executor, piece_size
from fastprune.executors.inline import InlineExecutor, here_if_remote
from fastprune.index.cache_index import CacheIndex, Rows
from fastprune.index.digests import DigestTable, as_digests
from fastprune.index.refcounts import Mask
from fastprune.model import file_names, in_chunks
from fastprune.progress import Progress, WhenSlow, under_way
from fastprune.reading.chunks import kind_of
from fastprune.reading.file_systems import where_it_waits
from fastprune.reading.folders import (
    GONE_TIME,
    StatTask,
    list_folder,
    opened_folder,
    times_of_files,
)

# Asking about one file costs as much as listing so many. A folder is listed with few round trips.
_ENTRIES_PER_STAT, _ENTRIES_PER_ROUND_TRIP = 3, 1_000
_MOST_IN_TASK = 1_024


def young_blobs(
    index: CacheIndex,
    blobs: Rows,
    seconds: float,
    progress: Progress | None = None,
    executor: Executor | None = None,
) -> Rows:
    """Which of some blobs were written in the last so many seconds.

    Args:
        index: The cache.
        blobs: Ids.
        seconds: How young is too young.
        progress: Is told how many were asked about.
        executor: Where to ask, unless its workers are elsewhere; None for here.

    Returns:
        The ids of the young ones. A time in the future is young, too.
    """
    youngest = max(GONE_TIME, (time.time() - seconds) * 1e9)
    # A worker elsewhere may not see yet that a blob was written anew.
    executor = here_if_remote(executor or InlineExecutor())
    folder = os.path.join(index.root, index.layout.blob_folder)
    most = piece_size(len(blobs), executor.jobs, _MOST_IN_TASK)
    names = index.blob_digests[blobs].tobytes()
    tasks = [StatTask(folder, *chunk) for chunk in in_chunks(names, most)]
    young = np.zeros(len(blobs), dtype=bool)
    with under_way(WhenSlow(progress), "checking ages", len(blobs), "blobs") as slow:
        for part in executor.map_unordered(times_of_files, tasks):
            slow.advance(len(part.times))
            times = np.frombuffer(part.times, dtype=np.int64)
            young[part.first : part.first + len(times)] = times > youngest
    return blobs[young]


def young_manifests(index: CacheIndex, rows: Rows, seconds: float) -> Rows:
    """Which of some manifests were written in the last so many seconds.

    Args:
        index: The cache.
        rows: The manifests.
        seconds: How young is too young.

    Raises:
        OSError: The system does not say.
    """
    youngest = time.time() - seconds
    paths = (os.path.join(index.root, index.path(row)) for row in rows.tolist())
    young = (_is_young(path, youngest) for path in paths)
    return rows[np.fromiter(young, dtype=np.bool_, count=len(rows))]


def _is_young(path: str, youngest: float) -> bool:
    """Whether a file was written after a time; one that is gone was not."""
    try:
        return os.lstat(path).st_mtime > youngest
    except FileNotFoundError:
        return False


def replaced_blobs(index: CacheIndex, blobs: Rows) -> Mask:
    """Which of some blobs are no regular files any more.

    Asks about each if they are few, and lists the folder if they are many: both cost far
    less than asking before each deletion, on all threads at once.

    Args:
        index: The cache.
        blobs: Ids.

    Returns:
        bool (n,): True where there is a link, a FIFO or the like; False for a blob that is gone.
    """
    path = os.path.join(index.root, index.layout.blob_folder)
    per_stat = _ENTRIES_PER_ROUND_TRIP if where_it_waits([path]) else _ENTRIES_PER_STAT
    with opened_folder(path) as folder:
        if len(blobs) * per_stat < index.blobs_present:
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


def manifests_changed_at(index: CacheIndex) -> tuple[int, ...]:
    """When the folders of manifests last got or lost a file: nanoseconds; 0 for a missing one.

    Raises:
        OSError: The system does not say.
    """
    times = []
    for folder in index.layout.manifest_folders:
        try:
            times.append(os.lstat(os.path.join(index.root, folder)).st_mtime_ns)
        except FileNotFoundError:
            times.append(0)
    return tuple(times)


def new_manifests(index: CacheIndex, removed: Mask) -> tuple[str, ...]:
    """Manifest files that are there now although they were removed or not there before.

    Args:
        index: The cache when it was scanned.
        removed: bool (n,): the manifests that were removed since; one that is there
            again was pulled again.

    Returns:
        Their paths, sorted.

    Raises:
        OSError: A folder can't be listed, or one that held manifests is gone.
    """
    known_faults = {path for path, _ in index.faults}
    found = []
    for folder, first, last in index.folder_rows:
        stay = ~removed[first:last]
        table = DigestTable(index.digests[first:last][stay])
        path = os.path.join(index.root, folder)
        if first == last and not os.path.lexists(path):
            continue
        for part in list_folder(path):
            digests = as_digests(part.digests)
            unknown = digests[table.find(digests) < 0].tobytes()
            found += [f"{folder}/{name}" for name in file_names(unknown)]
            # The server may read a link or the like as a manifest, too.
            found += [f"{folder}/{name}" for name in part.irregular if kind_of(f"{path}/{name}")]
    return tuple(sorted(set(found) - known_faults))
