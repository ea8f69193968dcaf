"""Reads a chunk of manifest files.

Stage: read, parse. Input: a task. Output: a `ShardIndex`. I/O: reads only. Top-level functions
and picklable values, so that any executor can run them; no numpy, so that a worker starts fast.
"""

from __future__ import annotations

import functools
import stat
import threading
from array import array
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from fastprune.errors import CutOffError, ManifestError
from fastprune.layouts.layout import Layout, ManifestRecord
from fastprune.model import DIGEST_BYTES, file_names
from fastprune.reading.folders import opened_folder, status_of
from fastprune.reading.identities import SeenFiles, identities_of, identity_of
from fastprune.reading.marks import IDENTITY_BYTES, NO_IDENTITY, Known
from fastprune.reading.reader import FileReader
from fastprune.reading.shard_rows import whole_urls
from fastprune.reading.shards import ChunkRecords, Fault, Mismatch, ShardIndex

if TYPE_CHECKING:
    from fastprune.patterns import UrlMatcher

REGULAR = "a regular file"
_KINDS = {
    stat.S_IFREG: REGULAR,
    stat.S_IFLNK: "a symbolic link",
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a FIFO",
    stat.S_IFSOCK: "a socket",
    stat.S_IFBLK: "a device",
    stat.S_IFCHR: "a device",
}

PatternSets = tuple[tuple[str, ...], ...]

Parsed = TypeVar("Parsed")


class ReadTask(NamedTuple):
    """A chunk of manifest files to read.

    Attributes:
        folder: Path of the folder.
        chunk: Number of the chunk, given back in the shard.
        digests: The names, 32 raw bytes each.
        max_bytes: Larger files are refused.
        edges: Whether the digests that the manifests refer to are wanted.
        pattern_sets: Patterns to match the URLs with, a bit per set.
        layout: What kind of cache they are of.
        check_names: Whether to check that the content of manifests matches their names.
        known: What is remembered of the files; the shard has only those that changed. None reads
            all, and asks for no identities.
    """

    folder: str
    chunk: int
    digests: bytes
    max_bytes: int
    edges: bool
    pattern_sets: PatternSets
    layout: Layout
    check_names: bool = False
    known: Known | None = None


def kind_of(path: str) -> str | None:
    """Says what is at a path, not following a link there; None if nothing is.

    Raises:
        OSError: The system does not say.
    """
    status = status_of(path)
    if status is None:
        return None
    return _KINDS.get(stat.S_IFMT(status.st_mode), "not a regular file")


def read_chunk(task: ReadTask) -> Iterator[ShardIndex]:
    """Reads a chunk of manifest files into one shard.

    Raises:
        OSError: The folder can't be opened.
    """
    names = file_names(task.digests)
    with opened_folder(task.folder) as folder:
        if task.known is None:
            yield _read(task, folder, names)
        else:
            yield _read_changed(task, folder, names, task.known)


def _read(
    task: ReadTask, folder: int, names: Sequence[str], seen: SeenFiles | None = None
) -> ShardIndex:
    records = ChunkRecords(task.chunk, names)
    if task.check_names:
        parse = task.layout.parse_with_upstream
        _read_into(records, task, folder, parse, _checking(records, task))
    else:
        _read_into(records, task, folder, task.layout.parse, records.put, seen)
    matcher = _matcher(task.pattern_sets)
    return records.pack(edges=task.edges, match=matcher.match if matcher else None)


def _read_changed(task: ReadTask, folder: int, names: list[str], known: Known) -> ShardIndex:
    """Reads the files that are not as they are remembered."""
    rows = list(range(len(names)))
    if known.identities.strip(b"\0"):
        rows = _changed(identities_of(folder, names, known.racy), known.identities)
    seen: SeenFiles = [None] * len(rows)
    shard = _read(task, folder, [names[row] for row in rows], seen)
    return replace(
        shard,
        read=array("I", rows),
        identities=b"".join(
            [NO_IDENTITY if one is None else identity_of(one, known.racy) for one in seen]
        ),
        known_matches=_known_matches(task, names, set(rows), known),
    )


def _changed(found: list[bytes], known: bytes) -> list[int]:
    """The positions of files that are not as they are remembered, or have no identity."""
    if b"".join(found) == known and NO_IDENTITY not in found:
        return []
    return [
        row
        for row, identity in enumerate(found)
        if identity == NO_IDENTITY
        or identity != known[row * IDENTITY_BYTES : (row + 1) * IDENTITY_BYTES]
    ]


def _known_matches(
    task: ReadTask, names: Sequence[str], changed: set[int], known: Known
) -> array[int]:
    """The pattern sets that match the URLs of the files that did not change."""
    matcher = _matcher(task.pattern_sets)
    if matcher is None or len(changed) == len(names):
        return array("I")
    lengths = array("I", known.url_lengths)
    whole = whole_urls(known.url_forms, known.url_bytes, lengths, names)
    bits = matcher.match_pooled(known.url_bytes, lengths, whole)
    return array("I", [one for row, one in enumerate(bits) if row not in changed])


def _read_into(
    records: ChunkRecords,
    task: ReadTask,
    folder: int,
    parse: Callable[[memoryview], Parsed],
    put: Callable[[int, Parsed, int], None],
    seen: SeenFiles | None = None,
) -> None:
    names, reader = records.names, _reader(task.max_bytes)
    suspects: list[int] = []
    # The loop that a whole scan waits for.
    for row, view in reader.read_cached(folder, names, suspects, seen):
        try:
            put(row, parse(view), len(view))
        except ManifestError:
            # Perhaps the server was just writing it: read it again, carefully.
            suspects.append(row)
    for row, view in reader.read_carefully(folder, names, suspects, records.faults, seen):
        try:
            put(row, parse(view), len(view))
        except ManifestError as error:
            # The server rewrites a manifest in place with every pull of it.
            retry = isinstance(error, CutOffError)
            records.faults.append(Fault(row, str(error), retry=retry))


def _checking(
    records: ChunkRecords, task: ReadTask
) -> Callable[[int, tuple[ManifestRecord, bytes | None], int], None]:
    """A function that puts records into a chunk, and notes files that don't match their names."""
    disagreement = task.layout.disagreement

    def put(row: int, parsed: tuple[ManifestRecord, bytes | None], size: int) -> None:
        record, upstream = parsed
        records.put(row, record, size)
        name = task.digests[row * DIGEST_BYTES : (row + 1) * DIGEST_BYTES]
        if reason := disagreement(record, upstream, name):
            records.mismatches.append(Mismatch(row, reason))

    return put


def _reader(max_bytes: int) -> FileReader:
    """The reader of this thread: two scans must not share its buffer."""
    readers: dict[int, FileReader] = _of_thread.__dict__.setdefault("readers", {})
    if max_bytes not in readers:
        readers[max_bytes] = FileReader(max_bytes)
    return readers[max_bytes]


_of_thread = threading.local()


@functools.cache
def _matcher(pattern_sets: PatternSets) -> UrlMatcher | None:
    if not pattern_sets:
        return None
    from fastprune.patterns import UrlMatcher

    return UrlMatcher(pattern_sets)
