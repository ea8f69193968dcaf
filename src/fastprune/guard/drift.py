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
    status_of,
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
    """Which of some blobs were written in the last so many seconds, or in the future.

    The executor asks, unless its workers are elsewhere; without one, this process does.
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

    Raises:
        OSError: The system does not say.
    """
    youngest = time.time() - seconds
    found = (status_of(os.path.join(index.root, index.path(row))) for row in rows.tolist())
    young = (status is not None and status.st_mtime > youngest for status in found)
    return rows[np.fromiter(young, dtype=np.bool_, count=len(rows))]


def replaced_blobs(index: CacheIndex, blobs: Rows) -> Mask:
    """Which of some blobs are no regular files any more, bool (n,); not those that are gone.

    Asks about each if they are few, and lists the folder if they are many: both cost far
    less than asking before each deletion, on all threads at once.
    """
    path = os.path.join(index.root, index.layout.blob_folder)
    per_stat = _ENTRIES_PER_ROUND_TRIP if where_it_waits([path]) else _ENTRIES_PER_STAT
    with opened_folder(path) as folder:
        if len(blobs) * per_stat < index.blobs_present:
            found = ((name, status_of(name, within=folder)) for name in index.blob_names(blobs))
            odd = {name for name, status in found if status and not stat.S_ISREG(status.st_mode)}
        else:
            with os.scandir(folder) as entries:
                odd = {entry.name for entry in entries if not entry.is_file(follow_symlinks=False)}
    is_odd = (name in odd for name in index.blob_names(blobs))
    return np.fromiter(is_odd, dtype=np.bool_, count=len(blobs))


def manifests_changed_at(index: CacheIndex) -> tuple[int, ...]:
    """When the folders of manifests last got or lost a file: nanoseconds; 0 for a missing one.

    Raises:
        OSError: The system does not say.
    """
    found = (status_of(os.path.join(index.root, name)) for name in index.layout.manifest_folders)
    return tuple(status.st_mtime_ns if status else 0 for status in found)


def new_manifests(index: CacheIndex, removed: Mask) -> tuple[str, ...]:
    """Paths of manifest files that are there now, and were removed or not there before.

    `removed` is bool (n,): the manifests that were removed since the scan. One of them that is
    there again was pulled again. The paths are sorted.

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
