"""Reads blobs to the end: hands them out by size, and puts together what comes back.

Stage: read. Input: a `CacheIndex`, which blobs, their sizes, an executor. Output: `OddBlobs`.
Blocking; I/O: reads only, in workers; what was verified is remembered by
`fastprune.scanning.blob_memory`.

The largest go first: so the last pieces are small, and all workers end at about the same time. It
is the rule "longest processing time first" (Graham, "Bounds on multiprocessing timing anomalies",
1969): at most a third longer than the best way to share the work.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from fastprune.executors.executor import Executor
from fastprune.index.cache_index import CacheIndex, Rows
from fastprune.progress import Progress, under_way
from fastprune.reading.blob_contents import HashTask, hash_files
from fastprune.reading.marks import OddFile
from fastprune.scanning.blob_memory import BlobMemory
from fastprune.verification.findings import OddBlobs, odd_blobs

BYTES_IN_PIECE = 32 << 20
"""A piece of work has so many bytes at most, or one file."""

BYTES_IN_REMOTE_PIECE = 256 << 20
"""The same for workers elsewhere, to whom a piece costs some milliseconds more."""

FILES_IN_PIECE = 1_024
"""A piece of work has so many files at most."""


def largest_first(blobs: Rows, sizes: NDArray[np.int64]) -> Rows:
    """Puts blobs, ascending, into the order in which they are read: by size, then by id."""
    return blobs[np.argsort(-sizes[blobs], kind="stable")]


def pieces_of(sizes: NDArray[np.int64], bytes_in_piece: int) -> Iterator[slice]:
    """Cuts files into pieces of work: one large file, or many small ones.

    Args:
        sizes: int64: bytes of each, descending.
        bytes_in_piece: How many bytes a piece may have.
    """
    ends = np.cumsum(sizes, dtype=np.int64)
    first = 0
    while first < len(sizes):
        most = (ends[first - 1] if first else 0) + bytes_in_piece
        last = int(np.searchsorted(ends, most, side="right"))
        last = min(max(last, first + 1), first + FILES_IN_PIECE)
        yield slice(first, last)
        first = last


def read_blobs(
    index: CacheIndex,
    blobs: Rows,
    sizes: NDArray[np.int64],
    executor: Executor,
    memory: BlobMemory | None,
    progress: Progress,
    checkpoint: Callable[[], None],
) -> tuple[OddBlobs, int]:
    """Reads blobs to the end, and compares the sha256 of each with its name.

    The blobs are ascending ids; `sizes` has the bytes of each blob of the cache. The memory
    remembers which are sound, also if the reading ends early.

    Returns:
        The odd ones, and how many bytes were read.
    """
    ordered = largest_first(blobs, sizes)
    odd: list[OddFile] = []
    size = 0
    look: Callable[[Rows], None] = _nothing
    note: Callable[[Rows, bytes], None] = _nothing
    if memory is not None:
        note = memory.note_elsewhere if executor.remote else memory.note
        look = memory.look_before if executor.remote else _nothing
    try:
        if len(ordered):
            with under_way(progress, "reading blobs", len(ordered), "blobs"):
                progress.expect(int(sizes[ordered].sum()))
                most = BYTES_IN_REMOTE_PIECE if executor.remote else BYTES_IN_PIECE
                tasks = _tasks(index, ordered, pieces_of(sizes[ordered], most), look)
                # None is handed out ahead: it would wait behind one that may take hours.
                for part in executor.map_unordered(hash_files, tasks, ahead=0):
                    checkpoint()
                    odd += part.odd
                    size += part.size
                    note(ordered[part.first : part.first + part.files], part.identities)
                    progress.advance(part.files, part.size)
    finally:
        if memory is not None:
            memory.keep()
    if odd and executor.remote:
        odd = _read_here(index, ordered, odd, checkpoint)
    return odd_blobs(ordered, odd), size


def _nothing(*_: object) -> None:
    """What is done where nothing is remembered."""


def _read_here(
    index: CacheIndex, blobs: Rows, odd: list[OddFile], checkpoint: Callable[[], None]
) -> list[OddFile]:
    """What of the odd ones is odd for this process, too: a worker elsewhere may see less."""
    at = sorted(file.position for file in odd)
    folder = os.path.join(index.root, index.layout.blob_folder)
    seen: list[OddFile] = []
    for part in hash_files(HashTask(folder, 0, index.blob_digests[blobs[at]].tobytes())):
        checkpoint()
        seen += part.odd
    return [file._replace(position=at[file.position]) for file in seen]


def _tasks(
    index: CacheIndex, blobs: Rows, pieces: Iterable[slice], look: Callable[[Rows], None]
) -> Iterator[HashTask]:
    folder = os.path.join(index.root, index.layout.blob_folder)
    for piece in pieces:
        look(blobs[piece])
        digests = index.blob_digests[blobs[piece]].tobytes()
        yield HashTask(folder, piece.start, digests)
