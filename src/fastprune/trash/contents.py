"""What a run in the trash holds, in the order in which it can be put back.

Stage: walk to plan. Input: the path of a cache and a run id. Output: `RunContents`. I/O:
reads only. A run is scanned as the small cache that it is.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from fastprune.executors.executor import Executor
from fastprune.index.cache_index import CacheIndex
from fastprune.index.digests import as_digests
from fastprune.index.refcounts import list_levels
from fastprune.layouts.layout import Layout
from fastprune.progress import Progress
from fastprune.reading.trash_folders import opened_run
from fastprune.scanning.measuring import measure_blobs
from fastprune.scanning.scanner import MAX_MANIFEST_BYTES, ScanOptions, scan_cache
from fastprune.trash.model import FileGroup, RunContents
from fastprune.trash.tree import foreign_in_run, trash_path


def read_run(
    root: str,
    run: str,
    executor: Executor,
    *,
    layout: Layout,
    max_manifest_bytes: int = MAX_MANIFEST_BYTES,
    progress: Progress | None = None,
) -> RunContents:
    """Reads what a run holds that `list_trash` has found.

    Larger manifest files than `max_manifest_bytes` are unreadable. The progress is told how many
    manifests were read.

    Raises:
        TrashError: Something on the way to it is no folder.
        FastpruneError: It can't be listed.
    """
    with opened_run(root, run, layout) as folders:
        foreign = foreign_in_run(root, run, layout)
        if not folders:
            return RunContents(run, layout, (), as_digests(b""), foreign)
    options = ScanOptions(max_manifest_bytes=max_manifest_bytes, layout=layout)
    index = scan_cache(trash_path(root, run), lambda _: executor, options, progress=progress)
    sizes = measure_blobs(index, index.present_digests, executor, progress).sizes
    return RunContents(
        run=run,
        layout=layout,
        groups=tuple(group for group in _groups(index, sizes) if len(group.digests)),
        needs=index.blob_digests[index.blobs_present :],
        foreign=tuple(sorted(index.foreign + foreign)),
    )


def _groups(index: CacheIndex, blob_sizes: NDArray[np.int64]) -> Iterator[FileGroup]:
    yield FileGroup("blob", index.layout.blob_folder, index.present_digests, blob_sizes)
    lists = list_levels(index, np.flatnonzero(index.is_list))
    phases = [("image", 0, np.flatnonzero(~index.is_list))]
    phases += [("list", level, rows) for level, rows in enumerate(reversed(lists))]
    for kind, level, rows in phases:
        for folder, first, last in index.folder_rows:
            here = rows[(first <= rows) & (rows < last)]
            sizes = index.file_sizes[here].astype(np.int64)
            yield FileGroup(kind, folder, index.digests[here], sizes, level)
    # Only regular files are ever moved there: others are no part of the run.
    files = sorted({path for path, _ in index.faults} - set(index.foreign))
    for folder in index.layout.manifest_folders:
        names = [path.partition("/")[2] for path in files if path.startswith(f"{folder}/")]
        found = [_size(os.path.join(index.root, folder, name)) for name in names]
        digests = as_digests(bytes.fromhex("".join(names)))
        yield FileGroup("unreadable", folder, digests, np.array(found, dtype=np.int64))


def _size(path: str) -> int:
    try:
        return os.lstat(path).st_size
    except FileNotFoundError:
        return 0
