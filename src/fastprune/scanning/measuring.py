"""Asks for the sizes of files of a cache, many at a time.

Stage: walk. Input: a `CacheIndex` and names. Output: sizes. I/O: reads only, in workers.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from fastprune.executors.executor import Executor, piece_size
from fastprune.model import DIGEST_BYTES, in_chunks
from fastprune.progress import Progress, WhenSlow, under_way
from fastprune.reading.folders import StatTask, stat_files
from fastprune.reading.marks import FileSizes

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from fastprune.index.cache_index import CacheIndex
    from fastprune.index.digests import Digests

_MOST_IN_TASK = 1_024
_MOST_IN_REMOTE_TASK = 8_192


class Measured(NamedTuple):
    """The sizes of files, 0 for one that is gone; and which have other hard links.

    To remove those frees nothing.
    """

    sizes: NDArray[np.int64]
    linked: NDArray[np.bool_]


def measure_files(
    index: CacheIndex,
    folder: str,
    digests: Digests,
    executor: Executor,
    progress: Progress | None = None,
) -> Measured:
    """Asks for the sizes of files in a folder and whether they have other names, many at a time."""
    import numpy as np

    sizes = np.zeros(len(digests), dtype=np.int64)
    linked = np.zeros(len(digests), dtype=np.bool_)
    path = os.path.join(index.root, folder)
    unit = "blobs" if folder == index.layout.blob_folder else "manifests"
    for part in sizes_of(path, digests.tobytes(), executor, progress, unit):
        sizes[part.first : part.first + len(part.sizes)] = part.sizes
        linked[[part.first + position for position in part.linked]] = True
    return Measured(sizes, linked)


def measure_blobs(
    index: CacheIndex, digests: Digests, executor: Executor, progress: Progress | None = None
) -> Measured:
    """The same of blobs: a descriptor says what one should have; one that was cut off has less."""
    return measure_files(index, index.layout.blob_folder, digests, executor, progress)


def sizes_of(
    path: str, digests: bytes, executor: Executor, progress: Progress | None, unit: str
) -> Iterator[FileSizes]:
    """Asks for the sizes of files, whose names are 32 raw bytes each; `unit` is what they are."""
    most = _MOST_IN_REMOTE_TASK
    if not executor.remote:
        most = piece_size(len(digests) // DIGEST_BYTES, executor.jobs, _MOST_IN_TASK)
    tasks = [StatTask(path, *chunk) for chunk in in_chunks(digests, most)]
    if not tasks:
        return
    with under_way(WhenSlow(progress), "measuring", len(digests) // DIGEST_BYTES, unit) as slow:
        for sizes in executor.map_unordered(stat_files, tasks):
            slow.advance(len(sizes.sizes))
            yield _asked_here(path, digests, sizes) if executor.remote else sizes


def _asked_here(path: str, digests: bytes, sizes: FileSizes) -> FileSizes:
    """The sizes; those of files that a worker elsewhere does not see are asked for here."""
    found, linked = sizes.sizes[:], [*sizes.linked]
    for at, size in enumerate(found):
        if size == 0:
            row = sizes.first + at
            name = digests[row * DIGEST_BYTES : (row + 1) * DIGEST_BYTES]
            (here,) = stat_files(StatTask(path, 0, name))
            found[at] = here.sizes[0]
            linked += [at] if here.linked and at not in sizes.linked else []
    return FileSizes(sizes.first, found, tuple(sorted(linked)))
