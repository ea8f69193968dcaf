"""Scans a cache and measures its usage, for the library and the command line.

Stage: walk to report. Input: the path of a cache. Output: `Survey`. Blocking; I/O: reads
only.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from fastprune.executors.executor import Executor
from fastprune.policy.policy import Policy
from fastprune.progress import Progress
from fastprune.scanning.measuring import measure_blobs
from fastprune.scanning.scanner import ScanOptions, scan_and_keep_executor

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from fastprune.index.cache_index import CacheIndex
    from fastprune.index.refcounts import Mask
    from fastprune.usage.ages import Ages
    from fastprune.usage.rows import By, Usage
    from fastprune.usage.units import Units


@dataclass(frozen=True, slots=True, eq=False)
class Survey:
    """A cache with the sizes of its files, for any questions about its usage.

    Attributes:
        index: The cache; which blobs have other names (hard links) is known.
        units: Its images, with what belongs to each.
        blob_bytes: int64: the size of the file of each present blob.
        unreadable_bytes: Bytes of the manifests that can't be read.
        selected: bool (n,): the manifests that are asked for, as a prune would remove
            them; None for all.
    """

    index: CacheIndex
    units: Units
    blob_bytes: NDArray[np.int64]
    unreadable_bytes: int
    selected: Mask | None

    def usage(self, by: By, *, depth: int | None = None, apart: bool = True) -> Usage:
        """Where the space goes.

        Args:
            by: What makes a row.
            depth: Cut the names of repositories down to so many segments.
            apart: Whether dangling and broken images have rows of their own.
        """
        from fastprune.usage.rows import measure

        return measure(
            self.index,
            self.units,
            self.blob_bytes,
            by,
            selected=self.selected,
            depth=depth,
            apart=apart,
            unreadable_bytes=self.unreadable_bytes,
        )

    def ages(self) -> Ages:
        """How long ago files were last pulled, and what a prune by age would free."""
        from fastprune.usage.ages import measure_ages

        return measure_ages(self.index, self.units, self.blob_bytes, selected=self.selected)


def survey_cache(
    root: str,
    policy: Policy,
    open_executor: Callable[[int], Executor],
    options: ScanOptions,
    *,
    progress: Progress | None = None,
    checkpoint: Callable[[], None] = lambda: None,
) -> Survey:
    """Scans a cache and asks for the sizes of its files; for the rest see `pipeline.work_out`.

    The policy says which manifests are asked for; without any criterion, all.

    Raises:
        NoCacheError: There is no cache at this path.
        WorkerError: A worker died.
    """
    options = replace(options, edges=True, pattern_sets=policy.pattern_sets)
    index, executor = scan_and_keep_executor(
        root, open_executor, options, progress=progress, checkpoint=checkpoint
    )
    # The sizes of the files: a blob whose pull was cut off is smaller than its descriptor says.
    files = measure_blobs(index, index.present_digests, executor, progress)
    return survey_of(index.with_linked_blobs(files.linked), policy, files.sizes)


def survey_of(index: CacheIndex, policy: Policy, blob_bytes: NDArray[np.int64]) -> Survey:
    """The survey of a cache that was scanned already.

    Args:
        index: The cache, scanned with edges.
        policy: Which manifests are asked for; without any criterion, all.
        blob_bytes: int64: the size of the file of each present blob.
    """
    from fastprune.index.refcounts import expand, protect
    from fastprune.selection.selecting import select
    from fastprune.usage.units import find_units

    selected = None
    if policy != Policy():
        selection = select(index, policy)
        expanded, _ = expand(index, selection.selected, selection.kept)
        selected, _ = protect(index, expanded)
    unreadable = 0
    for path, _ in index.faults:
        with suppress(OSError):
            unreadable += os.lstat(os.path.join(index.root, path)).st_size
    return Survey(index, find_units(index), blob_bytes, unreadable, selected)
