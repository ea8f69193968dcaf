"""The scan: from a path to a `CacheIndex`.

Stage: walk, read, parse, index. Input: the path of a cache, an executor. Output:
`CacheIndex`. I/O: reads only; this process lists the manifests, workers list the blobs
and read the manifests.

The scan does not decide what a prune removes, but a prune is safe only if the scan is whole. So
every file that can't be read is in `faults`, and a worker that dies ends the scan.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, islice
from typing import TYPE_CHECKING, NamedTuple

from fastprune.errors import UsageError, WorkerError
from fastprune.executors.executor import Executor
from fastprune.executors.inline import here_if_remote
from fastprune.index.recalled import Recalled
from fastprune.layouts.default import DEFAULT_LAYOUT
from fastprune.layouts.layout import Layout
from fastprune.model import DIGEST_BYTES
from fastprune.progress import NoProgress, Progress, WhenSlow, under_way
from fastprune.reading.chunks import REGULAR, PatternSets, ReadTask, kind_of, read_chunk
from fastprune.reading.folders import (
    ListingPart,
    _list_if_there,
    check_root,
    reading,
)
from fastprune.reading.marks import NO_IDENTITY, Known
from fastprune.reading.shards import Fault, ShardIndex
from fastprune.scanning.measuring import sizes_of
from fastprune.scanning.memory import ScanMemory, StateFolder, memory_of
from fastprune.scanning.seen_cache import see_cache
from fastprune.text.quantities import format_count

if TYPE_CHECKING:
    from fastprune.index.builder import IndexBuilder
    from fastprune.index.cache_index import CacheIndex
    from fastprune.index.gathering import ShardGatherer
    from fastprune.server.listing import ServerListing

_log = logging.getLogger("fastprune")

MAX_MANIFEST_BYTES = 64 * 1024 * 1024
"""Larger manifest files are refused: the most that registries accept is 4 MiB."""

SMALL_CACHE = 4_000
"""With no more manifests than this, starting workers costs more than they save."""

_MOST_IN_CHUNK = 1_024
_MOST_IN_LARGE_CHUNK = 4_096
_LEAST_IN_CHUNK = 64
_LEAST_IN_REMOTE_CHUNK = 512
_PARTS_PER_RESULT = 3
_CHUNKS_PER_JOB = 8
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

    Args:
        root: Path of the cache.
        open_executor: Gives the executor for a number of manifests.
        options: How to scan.
        progress: Is told how many manifests were read.
        checkpoint: Called often; raises if the scan is to end.

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
    """Scans a cache as `scan_cache` does, for callers that need the workers afterwards.

    Returns:
        The index, and the executor that was opened.
    """
    run = _Run(root, options, progress or NoProgress(), checkpoint)
    with reading(root):
        return run.scan(open_executor)


def _run_task(work: str | ReadTask) -> Iterable[ListingPart | ShardIndex]:
    """The function that a worker runs: it lists a folder, or reads a chunk."""
    return _list_if_there(work) if isinstance(work, str) else read_chunk(work)


def _handed_out(
    listings: list[bytes | memoryview], folder: int, size: int
) -> Iterator[tuple[int, bytes]]:
    """Chunks of the names in a listing, each with the position of its first one."""
    names, listings[folder] = listings[folder], b""
    if isinstance(names, memoryview):
        # They lie in a file that is mapped.
        yield from (
            (first, bytes(names[first * DIGEST_BYTES : (first + size) * DIGEST_BYTES]))
            for first in range(0, len(names) // DIGEST_BYTES, size)
        )
        return
    # Names that were handed out are dropped, so that their memory is free for the columns.
    left = bytearray(names)
    del names
    for first in range(0, len(left) // DIGEST_BYTES, size):
        digests = bytes(left[: size * DIGEST_BYTES])
        del left[: size * DIGEST_BYTES]
        yield first, digests


class _Unread(NamedTuple):
    """A file that could not be read yet."""

    folder: int
    position: int
    digest: bytes
    fault: Fault


class _Run:
    """One scan: the tasks that were handed out, and the results so far."""

    def __init__(
        self, root: str, options: ScanOptions, progress: Progress, checkpoint: Callable[[], None]
    ) -> None:
        self._root, self._options, self._layout = root, options, options.layout
        self._progress, self._checkpoint = progress, checkpoint
        self._names: list[bytes | memoryview] = []
        self._foreign: list[str] = []
        # Chunks without a result yet: chunk -> folder and positions in its listing.
        self._sent: dict[int, tuple[int, slice | list[int]]] = {}
        self._chunks = self._to_read = self._remembered = 0
        self._blobs_listed = False
        # Whether what a worker finds odd is read once more by this process.
        self._doubts = False
        self._unread: list[_Unread] = []
        self._memory: ScanMemory | None = None
        # Files that are not read, but that the server may read as manifests: path -> reason.
        self._irregular: dict[str, str] = {}

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
        self._list_manifests()
        total = self._to_read = sum(map(len, self._names)) // DIGEST_BYTES
        executor = open_executor(total)
        if executor.remote:
            executor.require(see_cache(self._root, self._layout))
        with under_way(self._progress, "scanning", total, "manifests"):
            results = iter(
                executor.map_unordered(_run_task, self._tasks(total, executor, list(self._names)))
            )
            # The workers are busy from here on; now is the time for heavy imports.
            first = list(islice(results, 1))
            from fastprune.index.builder import IndexBuilder
            from fastprune.index.gathering import ShardGatherer

            builder = IndexBuilder(
                self._root,
                scanned_at,
                self._names,
                options.pattern_sets,
                layout=self._layout,
                edges=options.edges,
                remember=memory is not None,
                ordered=None if self._recalled is None else self._recalled.digests(),
            )
            self._names.clear()
            gatherer = ShardGatherer(builder)
            if self._recalled is not None and self._recalled.is_same[-1]:
                builder.set_blobs(self._recalled.blobs())
                self._foreign += self._recalled.folders[-1].foreign
                self._blobs_listed = True
            self._doubts = executor.remote
            self._merge(builder, gatherer, chain(first, self._with_blobs(results, executor)))
            self._check_whole()
            for delay in _RETRY_DELAYS:
                if any(unread.fault.retry for unread in self._unread):
                    time.sleep(delay)
                    self._read_again(builder, gatherer, here_if_remote(executor))
        if self._recalled is not None:
            builder.add_remembered(self._recalled)
        if options.edges:
            self._measure(builder, executor)
        index = self._finish(builder)
        if memory is not None:
            _log.debug(
                "%s: %s read, %s remembered",
                format_count(total, "manifest"),
                f"{total - self._remembered:,}",
                f"{self._remembered:,}",
            )
            memory.keep(builder.outcome(), irregular=self._irregular)
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
        faults = [unread for unread in self._unread if not unread.fault.vanished]
        unknown = {self._path(unread) for unread in faults if unread.fault.unknown}
        reasons = {self._path(unread): unread.fault.reason for unread in faults}
        return builder.finish(
            (reasons | self._irregular).items(),
            set(self._foreign),
            len({self._path(unread) for unread in self._unread if unread.fault.vanished}),
            unknown=unknown | self._irregular.keys(),
        )

    def _list_manifests(self) -> None:
        recalled = self._recalled
        with under_way(WhenSlow(self._progress), "listing", None, "manifests") as slow:
            for number, folder in enumerate(self._layout.manifest_folders):
                if recalled is not None and recalled.is_same[number]:
                    self._names.append(recalled.names(number))
                    self._foreign += recalled.folders[number].foreign
                else:
                    self._names.append(self._list(folder, slow))
        if recalled is not None:
            recalled.compare(self._names)

    def _list(self, folder: str, progress: Progress) -> bytes:
        digests = bytearray()
        for part in _list_if_there(os.path.join(self._root, folder)):
            self._checkpoint()
            progress.advance(len(part.digests) // DIGEST_BYTES)
            digests += part.digests
            foreign = set(part.foreign)
            for name in part.irregular:
                digests += self._look_at(f"{folder}/{name}", name)
                if f"{folder}/{name}" not in self._irregular:
                    foreign.discard(name)
            self._foreign += [f"{folder}/{name}" for name in foreign]
        return bytes(digests)

    def _look_at(self, path: str, name: str) -> bytes:
        """Looks at a name that was not listed as a regular file.

        On file systems that don't list types, a file that was just being replaced is one, too.

        Returns:
            The raw digest if it is a regular file now, to be read; else nothing.
        """
        kind = kind_of(os.path.join(self._root, path))
        if kind == REGULAR:
            return bytes.fromhex(name)
        if kind is not None:
            self._irregular[path] = f"{kind}, and the server may read it as a manifest"
        return b""

    def _tasks(
        self, total: int, executor: Executor, listings: list[bytes | memoryview]
    ) -> Iterator[str | ReadTask]:
        if self._blobs_are_wanted and not executor.remote:
            yield os.path.join(self._root, self._layout.blob_folder)
        # Comparing takes a fraction of the time that reading takes, and so does a message to a
        # worker elsewhere.
        large = executor.remote or self._recalled is not None
        least, most = (
            (_LEAST_IN_REMOTE_CHUNK if executor.remote else _LEAST_IN_CHUNK),
            (_MOST_IN_LARGE_CHUNK if large else _MOST_IN_CHUNK),
        )
        size = self._options.chunk or min(
            most, max(least, total // (executor.jobs * _CHUNKS_PER_JOB))
        )
        for folder in range(len(listings)):
            for first, digests in _handed_out(listings, folder, size):
                yield self._task(folder, slice(first, first + size), digests)

    @property
    def _blobs_are_wanted(self) -> bool:
        """Whether the blobs are to be listed."""
        return self._edges and not (self._recalled is not None and self._recalled.is_same[-1])

    def _with_blobs(
        self, results: Iterator[ListingPart | ShardIndex], executor: Executor
    ) -> Iterator[ListingPart | ShardIndex]:
        """The results, and between them the blobs, if this process is to list them.

        A worker elsewhere may have an old listing, without a blob that is there.
        """
        if not (executor.remote and self._blobs_are_wanted):
            yield from results
            return
        path = os.path.join(self._root, self._layout.blob_folder)
        parts = iter(_list_if_there(path))
        for result in results:
            yield result
            yield from islice(parts, _PARTS_PER_RESULT)
        yield from parts

    def _known(self, folder: int, positions: slice | list[int], count: int) -> Known | None:
        """What is remembered of files that are to be read for the first time."""
        if self._memory is None:
            return None
        if self._recalled is None or isinstance(positions, list):
            return Known(self._memory.racy, NO_IDENTITY * count)
        urls = bool(self._options.pattern_sets)
        return self._recalled.known(folder, positions.start, count, urls=urls)

    def _task(self, folder: int, positions: slice | list[int], digests: bytes) -> ReadTask:
        chunk = self._chunks
        self._chunks += 1
        self._sent[chunk] = (folder, positions)
        return ReadTask(
            folder=os.path.join(self._root, self._layout.manifest_folders[folder]),
            chunk=chunk,
            digests=digests,
            max_bytes=self._options.max_manifest_bytes,
            edges=self._edges,
            pattern_sets=self._options.pattern_sets,
            layout=self._layout,
            check_names=self._options.check_names,
            known=self._known(folder, positions, len(digests) // DIGEST_BYTES),
        )

    def _merge(
        self,
        builder: IndexBuilder,
        gatherer: ShardGatherer,
        results: Iterable[ListingPart | ShardIndex],
    ) -> None:
        """Merges results, which come in any order."""
        from fastprune.index.digests import DigestSorter, as_digests

        blobs = DigestSorter()
        listing = False
        for result in results:
            self._checkpoint()
            if isinstance(result, ShardIndex):
                self._add(builder, gatherer, result)
                continue
            if not self._to_read and not listing:
                # All manifests are read; a worker still lists the blobs.
                listing = True
                self._progress.stop()
                self._progress.start("listing", None, "blobs")
            if listing:
                self._progress.advance(len(result.digests) // DIGEST_BYTES)
            blobs.add(as_digests(result.digests))
            self._foreign += [f"{self._layout.blob_folder}/{name}" for name in result.foreign]
            if result.last:
                builder.set_blobs(blobs.table())
                self._blobs_listed = True
        gatherer.flush()

    def _check_whole(self) -> None:
        """Makes sure that no result is missing: the index would be incomplete."""
        if self._sent or self._edges != self._blobs_listed:
            raise WorkerError("the scan is not whole: workers left something out")

    def _add(self, builder: IndexBuilder, gatherer: ShardGatherer, shard: ShardIndex) -> None:
        folder, positions = self._sent.pop(shard.chunk)
        rows = builder.rows_of(folder, positions)
        read = range(len(rows)) if shard.read is None else shard.read
        if len(read) < len(rows):
            builder.set_matches(rows, read, shard.known_matches)
        gatherer.add(shard, rows if shard.read is None else rows[read])
        for fault in shard.faults:
            if self._doubts:
                # A worker elsewhere may not see what is there: nothing is gone for its word.
                fault = fault._replace(retry=True, vanished=False)  # noqa: PLW2901
            place = read[fault.row]
            row = int(rows[place])
            at = positions.start + place if isinstance(positions, slice) else positions[place]
            self._unread.append(_Unread(folder, at, builder.digest_of(row), fault))
        self._to_read -= len(rows)
        if remembered := len(rows) - len(read):
            self._remembered += remembered
            self._progress.remembered(remembered)
        self._progress.advance(len(rows), sum(shard.file_sizes))

    def _read_again(
        self, builder: IndexBuilder, gatherer: ShardGatherer, executor: Executor
    ) -> None:
        """Reads files again that the server may have been writing."""
        self._doubts = False
        again = [unread for unread in self._unread if unread.fault.retry]
        self._unread = [unread for unread in self._unread if not unread.fault.retry]
        tasks = []
        for folder in range(len(self._layout.manifest_folders)):
            here = [unread for unread in again if unread.folder == folder]
            for first in range(0, len(here), _MOST_IN_CHUNK):
                some = here[first : first + _MOST_IN_CHUNK]
                digests = b"".join(unread.digest for unread in some)
                tasks.append(self._task(folder, [unread.position for unread in some], digests))
        for shard in executor.map_unordered(_run_task, tasks):
            assert isinstance(shard, ShardIndex)
            self._add(builder, gatherer, shard)
        gatherer.flush()
        self._check_whole()

    def _measure(self, builder: IndexBuilder, executor: Executor) -> None:
        """Asks for the sizes of the blobs that no descriptor gives: the orphans."""
        names = builder.unsized_blobs()
        path = os.path.join(self._root, self._layout.blob_folder)
        builder.set_sizes(sizes_of(path, names, executor, self._progress, "blobs"))

    def _path(self, unread: _Unread) -> str:
        return f"{self._layout.manifest_folders[unread.folder]}/{unread.digest.hex()}"
