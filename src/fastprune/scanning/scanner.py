"""The scan: from a path to a `CacheIndex`.

Stage: walk, read, parse, index. Input: the path of a cache, an executor. Output:
`CacheIndex`. I/O: reads only; workers list the folders and read the manifests, unless there
are only a few. For workers elsewhere, this process lists.

The scan does not decide what a prune removes, but a prune is safe only if the scan is whole. So
every file that can't be read is in `faults`, and a worker that dies ends the scan.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain, islice
from typing import TYPE_CHECKING

from fastprune.errors import UsageError
from fastprune.executors.executor import Executor
from fastprune.executors.inline import here_if_remote
from fastprune.index.recalled import Recalled
from fastprune.layouts.default import DEFAULT_LAYOUT
from fastprune.layouts.layout import Layout
from fastprune.model import DIGEST_BYTES
from fastprune.progress import NoProgress, Progress, WhenSlow, under_way
from fastprune.reading.chunks import PatternSets, ReadTask
from fastprune.reading.folders import check_root, reading
from fastprune.reading.marks import Known
from fastprune.scanning.manifest_names import ManifestNames
from fastprune.scanning.measuring import sizes_of
from fastprune.scanning.memory import ScanMemory, StateFolder, memory_of
from fastprune.scanning.pieces import (
    LARGE_CACHE,
    ListTask,
    PieceTask,
    Result,
    Sizes,
    Work,
    handed_out,
    run_task,
    sizes_of_work,
)
from fastprune.scanning.results import Positions, ScanResults, Unread
from fastprune.scanning.seen_cache import see_cache
from fastprune.text.quantities import format_count

if TYPE_CHECKING:
    from fastprune.index.builder import IndexBuilder
    from fastprune.index.cache_index import CacheIndex
    from fastprune.server.listing import ServerListing

_log = logging.getLogger("fastprune")

MAX_MANIFEST_BYTES = 64 * 1024 * 1024
"""Larger manifest files are refused: the most that registries accept is 4 MiB."""

SMALL_CACHE = 4_000
"""With no more manifests than this, starting workers costs more than they save."""

_MOST_READ_AGAIN = 1_024
# A server rewrites a manifest in place: for a moment it is empty or cut off.
_RETRY_DELAYS = (0.02, 0.1, 0.3)


@dataclass(frozen=True, slots=True)
class ScanOptions:
    """How to scan.

    Attributes:
        edges: Whether references between manifests and blobs are wanted. Blobs/ is listed for
            them. An index without edges is enough for a list of manifests.
        pattern_sets: Patterns to match URLs with, a bit of `url_matches` per set.
        max_manifest_bytes: Larger manifest files are faults.
        chunk: Manifests per piece of work; None picks by their number.
        merge: Whether workers merge what they read before they send it; None picks by the number
            of manifests.
        check_names: Whether to check that the content of manifests matches their names.
        layout: What kind of cache it is; the index carries it.
        state: Where scans are remembered, so that only what changed is read; None for nowhere.
            A scan with `check_names` neither uses nor leaves anything there.
        listing: What a running server says that it knows: the index then tells by which URLs
            (`CacheIndex.known`). It is never remembered.
    """

    edges: bool = True
    pattern_sets: PatternSets = ()
    max_manifest_bytes: int = MAX_MANIFEST_BYTES
    chunk: int | None = None
    merge: bool | None = None
    check_names: bool = False
    layout: Layout = DEFAULT_LAYOUT
    state: StateFolder | None = None
    listing: ServerListing | None = None


def scan_cache(
    root: str,
    open_executor: Callable[[int], Executor],
    options: ScanOptions,
    *,
    progress: Progress | None = None,
    checkpoint: Callable[[], None] = lambda: None,
) -> CacheIndex:
    """Scans a cache. Blocking; `fastprune.api.scan` is its asynchronous face.

    `open_executor` gives the executor for a number of manifests. `checkpoint` is called often, and
    raises if the scan is to end.

    Raises:
        NoCacheError: There is no cache at this path.
        CacheReadError: A folder can't be listed, or the system gives no status of a file.
        WorkerError: A worker died.
    """
    index, _ = scan_and_keep_executor(
        root, open_executor, options, progress=progress, checkpoint=checkpoint
    )
    return index


def scan_and_keep_executor(
    root: str,
    open_executor: Callable[[int], Executor],
    options: ScanOptions,
    *,
    progress: Progress | None = None,
    checkpoint: Callable[[], None] = lambda: None,
) -> tuple[CacheIndex, Executor]:
    """Scans a cache as `scan_cache` does, and gives the executor that was opened as well."""
    run = _Run(root, options, progress or NoProgress(), checkpoint)
    with reading(root):
        return run.scan(open_executor)


class _Run:
    """One scan: the tasks that were handed out, and the results so far."""

    def __init__(
        self, root: str, options: ScanOptions, progress: Progress, checkpoint: Callable[[], None]
    ) -> None:
        self._root, self._options, self._layout = root, options, options.layout
        self._progress, self._checkpoint = progress, checkpoint
        self._names = ManifestNames(root, self._layout, checkpoint)
        self._memory: ScanMemory | None = None

    def scan(self, open_executor: Callable[[int], Executor]) -> tuple[CacheIndex, Executor]:
        """Walks, hands out, merges; see `scan_and_keep_executor`."""
        scanned_at = time.time()
        options = self._options
        if options.chunk is not None and options.chunk < 1:
            raise UsageError(f"chunk={options.chunk}: must be at least 1")
        check_root(self._root, self._layout)
        memory = self._memory = memory_of(
            self._root,
            self._layout,
            None if options.check_names else options.state,
            scanned_at=scanned_at,
            max_manifest_bytes=options.max_manifest_bytes,
        )
        if memory is not None:
            memory.recall(open_executor)
        listings = self._list_manifests(open_executor)
        total = sum(map(len, listings)) // DIGEST_BYTES
        self._results = results = ScanResults(
            self._layout.blob_folder, total, self._progress, self._checkpoint
        )
        executor = open_executor(total)
        if executor.remote:
            executor.require(see_cache(self._root, self._layout))
        with under_way(self._progress, "scanning", total, "manifests"):
            work = self._work(total, executor, list(listings))
            arriving = iter(executor.map_unordered(run_task, work))
            # The workers are busy from here on; now is the time for heavy imports.
            first = list(islice(arriving, 1))
            from fastprune.index.builder import IndexBuilder

            builder = IndexBuilder(
                self._root,
                scanned_at,
                listings,
                options.pattern_sets,
                layout=self._layout,
                edges=options.edges,
                remember=memory is not None,
                ordered=None if self._recalled is None else self._recalled.digests(),
            )
            listings.clear()
            results.build(builder)
            if self._recalled is not None and self._recalled.is_same[-1]:
                results.set_blobs(self._recalled.blobs(), self._recalled.folders[-1].foreign)
            arriving = chain(first, self._with_blobs(arriving, executor))
            results.take(arriving, edges=self._edges, doubted=executor.remote)
            here = here_if_remote(executor)
            for delay in _RETRY_DELAYS:
                if any(unread.fault.retry for unread in results.unread):
                    time.sleep(delay)
                    again = here.map_unordered(run_task, list(self._to_read_again()))
                    results.take(again, edges=self._edges)
        if self._recalled is not None:
            builder.add_remembered(self._recalled)
        if options.edges:
            self._measure(builder, executor)
        index = self._finish(builder)
        if memory is not None:
            _log.debug(
                "%s: %s read, %s remembered",
                format_count(total, "manifest"),
                f"{total - results.remembered:,}",
                f"{results.remembered:,}",
            )
            memory.keep(builder.outcome(), irregular=self._names.irregular)
        return self._with_known_urls(index), executor

    def _with_known_urls(self, index: CacheIndex) -> CacheIndex:
        listing = self._options.listing
        if listing is None:
            return index
        from fastprune.index.known_urls import with_known_urls

        return with_known_urls(index, listing)

    @property
    def _recalled(self) -> Recalled | None:
        return None if self._memory is None else self._memory.recalled

    @property
    def _edges(self) -> bool:
        """Whether edges are read: what is remembered serves scans with and without them."""
        return self._options.edges or self._memory is not None

    def _finish(self, builder: IndexBuilder) -> CacheIndex:
        unread, irregular = self._results.unread, self._names.irregular
        faults = [one for one in unread if not one.fault.vanished]
        unknown = {self._path(one) for one in faults if one.fault.unknown}
        reasons = {self._path(one): one.fault.reason for one in faults}
        return builder.finish(
            (reasons | irregular).items(),
            {*self._names.foreign, *self._results.foreign},
            len({self._path(one) for one in unread if one.fault.vanished}),
            unknown=unknown | irregular.keys(),
        )

    def _list_manifests(self, open_executor: Callable[[int], Executor]) -> list[bytes | memoryview]:
        """The names in each folder of manifests, 32 raw bytes each."""
        recalled, names = self._recalled, self._names
        listings: dict[int, bytes | memoryview] = {}
        to_list = list(range(len(self._layout.manifest_folders)))
        if recalled is not None:
            for number in [number for number in to_list if recalled.is_same[number]]:
                to_list.remove(number)
                listings[number] = recalled.names(number)
                names.foreign += recalled.folders[number].foreign
        with under_way(WhenSlow(self._progress), "listing", None, "manifests") as slow:
            listings |= zip(to_list, names.listed(to_list, open_executor, slow), strict=True)
        in_order = [listings[number] for number in sorted(listings)]
        if recalled is not None:
            recalled.compare(in_order)
        return in_order

    @property
    def _blobs_are_wanted(self) -> bool:
        """Whether the blobs are to be listed."""
        return self._edges and not (self._recalled is not None and self._recalled.is_same[-1])

    def _list_blobs(self, *, sort: bool) -> ListTask:
        return ListTask(os.path.join(self._root, self._layout.blob_folder), sort=sort)

    def _with_blobs(self, results: Iterator[Result], executor: Executor) -> Iterator[Result]:
        """The results, and between them the blobs if this process lists them.

        A worker elsewhere may have an old listing, without a blob that is there.
        """
        here = executor.remote and self._blobs_are_wanted
        parts = iter(run_task(self._list_blobs(sort=True)) if here else ())
        for result in results:
            yield result
            yield from islice(parts, 1)
        yield from parts

    def _work(
        self, total: int, executor: Executor, listings: list[bytes | memoryview]
    ) -> Iterator[Work]:
        comparing, options = self._recalled is not None, self._options
        merging = options.merge
        if merging is None:
            # Workers elsewhere have numpy, and pieces that are merged are large.
            merging = executor.remote or total > LARGE_CACHE
        merging = merging and not comparing
        if self._blobs_are_wanted and not executor.remote:
            yield self._list_blobs(sort=merging)
        sizes = sizes_of_work(total, executor.jobs, comparing=comparing, merging=merging)
        if options.chunk is not None:
            sizes = Sizes(options.chunk, options.chunk, 1)
        for folder, first, digests in handed_out(listings, sizes):
            task = self._task(folder, slice(first, first + len(digests) // DIGEST_BYTES), digests)
            yield PieceTask(task) if merging else task

    def _known(self, folder: int, positions: Positions, count: int) -> Known | None:
        """What is remembered of files that are to be read for the first time."""
        if self._memory is None:
            return None
        if self._recalled is None or isinstance(positions, list):
            return Known(self._memory.racy, b"")
        urls = bool(self._options.pattern_sets)
        return self._recalled.known(folder, positions.start, count, urls=urls)

    def _task(self, folder: int, positions: Positions, digests: bytes) -> ReadTask:
        return ReadTask(
            folder=os.path.join(self._root, self._layout.manifest_folders[folder]),
            chunk=self._results.expect(folder, positions),
            digests=digests,
            max_bytes=self._options.max_manifest_bytes,
            edges=self._edges,
            pattern_sets=self._options.pattern_sets,
            layout=self._layout,
            check_names=self._options.check_names,
            known=self._known(folder, positions, len(digests) // DIGEST_BYTES),
        )

    def _to_read_again(self) -> Iterator[ReadTask]:
        """Files that the server may have been writing."""
        for folder, unread in self._results.to_be_read_again():
            for first in range(0, len(unread), _MOST_READ_AGAIN):
                some = unread[first : first + _MOST_READ_AGAIN]
                digests = b"".join(one.digest for one in some)
                yield self._task(folder, [one.position for one in some], digests)

    def _measure(self, builder: IndexBuilder, executor: Executor) -> None:
        """Asks for the sizes of the blobs that no descriptor gives: the orphans."""
        names = builder.unsized_blobs()
        path = os.path.join(self._root, self._layout.blob_folder)
        builder.set_sizes(sizes_of(path, names, executor, self._progress, "blobs"))

    def _path(self, unread: Unread) -> str:
        return f"{self._layout.manifest_folders[unread.folder]}/{unread.digest.hex()}"
