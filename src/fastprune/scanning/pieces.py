"""Pieces of work: which manifests a worker reads in one go, and what it sends back.

Stage: read, parse, index. Input: a task. Output: `MergedShard`. I/O: reads only, in workers.
Top-level functions and picklable values, so that any executor can run them.

A worker that has numpy merges what it read before it sends it. So the process that builds the index
has a fraction of the work, and keeps up with many workers. A piece depends on nothing but its task,
and its result has all of it: one that runs twice, because a worker was lost, counts once.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from fastprune.executors.executor import PIECES_PER_JOB, piece_size
from fastprune.model import DIGEST_BYTES, in_chunks
from fastprune.reading.chunks import ReadTask, read_chunk
from fastprune.reading.folders import ListingPart, list_if_there
from fastprune.reading.shards import ShardIndex

if TYPE_CHECKING:
    from fastprune.index.merging import MergedShard

LARGE_CACHE = 200_000
"""With more manifests than this, workers merge: to import numpy costs each of them 0.1 s."""

_MOST_IN_PIECE = 8_192
_MOST_IN_LAST_PIECE = 4_096
_MOST_IN_CHUNK = 1_024
_MOST_COMPARED = 4_096
_NAMES_IN_PART = 1 << 16
_SILENT_SECONDS = 0.2


class ListTask(NamedTuple):
    """A folder of blobs to list.

    With `sort`, long parts of the listing are sent, each sorted: then to put them together takes
    little time.
    """

    path: str
    sort: bool


class PieceTask(NamedTuple):
    """Manifest files that are read in chunks of so many, and merged before they are sent.

    `read` has all of them, as one chunk. Nothing is remembered of them.
    """

    read: ReadTask
    chunk: int = _MOST_IN_CHUNK


class SoFar(NamedTuple):
    """How many manifests of a piece that takes long a worker has read, and the bytes of these."""

    chunk: int
    read: int
    size: int


def read_piece(task: PieceTask) -> Iterator[SoFar | MergedShard]:
    """Reads a piece of work chunk by chunk, and merges it into one shard, which comes last.

    Raises:
        OSError: The folder can't be opened.
    """
    shards: list[ShardIndex] = []
    told, size = time.monotonic(), 0
    for first, digests in in_chunks(task.read.digests, task.chunk):
        for shard in read_chunk(task.read._replace(digests=digests)):
            shards.append(shard)
            size += sum(shard.file_sizes)
        if time.monotonic() - told >= _SILENT_SECONDS:
            told = time.monotonic()
            yield SoFar(task.read.chunk, first + len(digests) // DIGEST_BYTES, size)
    # Only here: what is read on a cold disk should not wait for it.
    from fastprune.index.merging import merge_shards

    yield merge_shards(shards)


def list_sorted(path: str) -> Iterator[ListingPart]:
    """Lists a folder as `list_if_there` does, in longer parts, and sorts the names in each."""
    import numpy as np

    from fastprune.index.digests import as_digests, sort_order

    names, foreign = bytearray(), list[str]()
    told = time.monotonic()
    for part in list_if_there(path):
        names += part.digests
        foreign += part.foreign
        silent = time.monotonic() - told >= _SILENT_SECONDS
        if part.last or silent or len(names) >= _NAMES_IN_PART * DIGEST_BYTES:
            digests = as_digests(bytes(names))
            ordered = np.take(digests, sort_order(digests), axis=0).tobytes()
            yield ListingPart(ordered, tuple(foreign), last=part.last)
            names.clear()
            foreign.clear()
            told = time.monotonic()


Work: TypeAlias = ListTask | ReadTask | PieceTask
"""A folder to list, or manifests to read."""

Result: TypeAlias = "ListingPart | ShardIndex | SoFar | MergedShard"


def run_task(work: Work) -> Iterable[Result]:
    """The function that a worker runs: it lists a folder, or reads a chunk or a piece."""
    if isinstance(work, ListTask):
        return list_sorted(work.path) if work.sort else list_if_there(work.path)
    return read_piece(work) if isinstance(work, PieceTask) else read_chunk(work)


@dataclass(frozen=True, slots=True)
class Sizes:
    """How many manifests are handed out at a time: a share of those left, within limits."""

    most: int
    least: int
    share: int

    def of(self, left: int) -> int:
        """How many of the manifests that are left are handed out next."""
        return min(self.most, max(self.least, left // self.share))


def sizes_of_work(total: int, jobs: int, *, comparing: bool, merging: bool) -> Sizes:
    """How many manifests of a cache are handed out at a time.

    To compare them with what is remembered takes a fraction of the time. For workers that merge
    what they read, pieces are large, and smaller towards the end, so that all workers end at about
    the same time.
    """
    if merging:
        least = max(_MOST_IN_CHUNK, piece_size(total, 2 * jobs, _MOST_IN_LAST_PIECE))
        return Sizes(_MOST_IN_PIECE, least, jobs * PIECES_PER_JOB)
    most = _MOST_COMPARED if comparing else _MOST_IN_CHUNK
    same = piece_size(total, jobs, most)
    return Sizes(same, same, 1)


def handed_out(
    listings: list[bytes | memoryview], sizes: Sizes
) -> Iterator[tuple[int, int, bytes]]:
    """Cuts the names of manifests into what is handed out at a time.

    The listings of the folders have 32 raw bytes a name. Those that were handed out are dropped, so
    that their memory is free for the columns.

    Yields:
        A folder, the position of the first name in its listing, and the names.
    """
    total = sum(map(len, listings)) // DIGEST_BYTES
    for folder, listed in enumerate(listings):
        listings[folder] = b""
        # Some lie in a file that is mapped.
        names = listed if isinstance(listed, memoryview) else bytearray(listed)
        del listed
        first = 0
        while len(names):
            some = bytes(names[: sizes.of(total) * DIGEST_BYTES])
            if isinstance(names, memoryview):
                names = names[len(some) :]
            else:
                del names[: len(some)]
            yield folder, first, some
            first += len(some) // DIGEST_BYTES
            total -= len(some) // DIGEST_BYTES
