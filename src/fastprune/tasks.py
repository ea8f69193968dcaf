"""What a worker does: lists a folder, or reads a chunk of manifest files.

Stage: walk, read, parse. Input: a task. Output: parts of a listing, or a `ShardIndex`.
I/O: reads only. Top-level functions and picklable values, so that any executor can run
them; no numpy, so that a worker starts fast.
"""

from __future__ import annotations

import binascii
import errno
import functools
import os
import stat
import threading
from array import array
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice
from typing import NamedTuple, TypeVar

from fastprune.errors import CutOffError, ManifestError
from fastprune.layouts import ManifestRecord, ociregistry
from fastprune.model import DIGEST_BYTES, is_hex_name
from fastprune.reader import FileReader, open_unseen
from fastprune.shards import ChunkRecords, Fault, Mismatch, ShardIndex, UrlMatch

# Large enough to pay, small enough for the entries to stay in the processor's cache.
_LISTING_PART = 4_096
_HEX_CHARS = 2 * DIGEST_BYTES
_FOLDER_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC

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


class ListingPart(NamedTuple):
    """A part of the names in one folder.

    Attributes:
        digests: The names that are digests, 32 raw bytes each.
        foreign: Names that are not cached files: not a digest, or not a regular file.
        last: Whether it is the last part; there always is one.
    """

    digests: bytes
    foreign: tuple[str, ...]
    last: bool = False

    @property
    def irregular(self) -> list[str]:
        """The foreign names that are digests: of links, FIFOs, folders and the like."""
        return [name for name in self.foreign if is_hex_name(name)]


class ReadTask(NamedTuple):
    """A chunk of manifest files to read.

    Attributes:
        folder: Path of the folder.
        chunk: Number of the chunk, given back in the shard.
        digests: The names, 32 raw bytes each.
        max_bytes: Larger files are refused.
        edges: Whether the digests that the manifests refer to are wanted.
        pattern_sets: Patterns to match the URLs with, a bit per set.
        check_names: Whether to find out if the manifests are what their names stand for.
    """

    folder: str
    chunk: int
    digests: bytes
    max_bytes: int
    edges: bool
    pattern_sets: PatternSets
    check_names: bool = False


class StatTask(NamedTuple):
    """Files whose sizes are wanted.

    Attributes:
        folder: Path of the folder.
        first: Given back with the sizes.
        digests: The names, 32 raw bytes each.
    """

    folder: str
    first: int
    digests: bytes


class FileSizes(NamedTuple):
    """Sizes of files.

    Attributes:
        first: As it was asked for.
        sizes: int64 each: bytes; 0 for a file that is gone.
        linked: Which of them have other names (hard links) as well: positions in `sizes`.
    """

    first: int
    sizes: array[int]
    linked: tuple[int, ...] = ()


def open_folder(path: str, *, within: int | None = None) -> int:
    """Opens a folder of the cache; it must be a real one, no symbolic link.

    The access time is left alone where we may (owner or root).

    Args:
        path: The folder.
        within: The open folder that the path is relative to.

    Raises:
        OSError: It can't be opened.
    """
    return open_unseen(path, _FOLDER_FLAGS, within)


@contextmanager
def opened_folder(path: str) -> Iterator[int]:
    """Opens a folder as `open_folder` does, and closes it in the end."""
    descriptor = open_folder(path)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def list_folder(path: str) -> Iterator[ListingPart]:
    """Lists one folder in parts, so that a large one needs no large memory.

    Args:
        path: The folder.

    Raises:
        FileNotFoundError: There is no such folder.
        OSError: It can't be listed to its end.
    """
    descriptor = open_folder(path)
    try:
        with os.scandir(descriptor) as entries:
            while part := list(islice(entries, _LISTING_PART)):
                yield _listing_part(part)
    except FileNotFoundError:
        # It was there when it was opened: what came so far is not all there is.
        raise OSError(errno.ESTALE, os.strerror(errno.ESTALE), path) from None
    finally:
        os.close(descriptor)
    yield ListingPart(b"", (), last=True)


def _listing_part(entries: list[os.DirEntry[str]]) -> ListingPart:
    names = [entry.name for entry in entries if entry.is_file(follow_symlinks=False)]
    foreign: list[str] = []
    if len(names) != len(entries):
        # Each is asked once: where the system has to look, a second answer may be another.
        regular = set(names)
        foreign = [entry.name for entry in entries if entry.name not in regular]
    try:
        digests = pack_names(names)
    except ValueError:
        foreign += [name for name in names if not is_hex_name(name)]
        digests = pack_names([name for name in names if is_hex_name(name)])
    return ListingPart(digests, tuple(foreign))


def kind_of(path: str) -> str | None:
    """Says what is at a path, not following a link there; None if nothing is.

    Raises:
        OSError: The system does not say.
    """
    try:
        mode = os.lstat(path).st_mode
    except FileNotFoundError:
        return None
    return _KINDS.get(stat.S_IFMT(mode), "not a regular file")


def pack_names(names: list[str]) -> bytes:
    """Turns file names into raw digests, all or nothing.

    Raises:
        ValueError: One is not 64 lower-case hex digits.
    """
    if not names:
        return b""
    joined = "".join(names)
    # A byte that is no part of UTF-8 comes as a lone surrogate, which unhexlify refuses.
    if set(map(len, names)) != {_HEX_CHARS} or joined != joined.lower():
        raise ValueError("not the name of a cached file")
    return binascii.unhexlify(joined)


def file_names(digests: bytes) -> list[str]:
    """The file names of raw digests, 32 bytes each."""
    joined = digests.hex()
    return [joined[at : at + _HEX_CHARS] for at in range(0, len(joined), _HEX_CHARS)]


def in_chunks(digests: bytes, most: int) -> Iterator[tuple[int, bytes]]:
    """Cuts raw digests into chunks.

    Args:
        digests: 32 bytes each.
        most: How many digests there are in a chunk, at most.

    Yields:
        The position of the first digest of each chunk, and the digests in it.
    """
    step = most * DIGEST_BYTES
    for at in range(0, len(digests), step):
        yield at // DIGEST_BYTES, digests[at : at + step]


def read_chunk(task: ReadTask) -> Iterator[ShardIndex]:
    """Reads a chunk of manifest files into one shard.

    Raises:
        OSError: The folder can't be opened.
    """
    records = ChunkRecords(task.chunk, file_names(task.digests))
    if task.check_names:
        _read_into(records, task, ociregistry.parse_with_upstream, _checking(records, task))
    else:
        _read_into(records, task, ociregistry.parse, records.put)
    yield records.pack(edges=task.edges, match=_matcher(task.pattern_sets))


def _read_into(
    records: ChunkRecords,
    task: ReadTask,
    parse: Callable[[memoryview], Parsed],
    put: Callable[[int, Parsed, int], None],
) -> None:
    names, reader = records.names, _reader(task.max_bytes)
    suspects: list[int] = []
    with opened_folder(task.folder) as folder:
        # The loop that a whole scan waits for.
        for row, view in reader.read_cached(folder, names, suspects):
            try:
                put(row, parse(view), len(view))
            except ManifestError:
                # Caught while the server wrote it, perhaps: look again, with care.
                suspects.append(row)
        for row, view in reader.read_carefully(folder, names, suspects, records.faults):
            try:
                put(row, parse(view), len(view))
            except ManifestError as error:
                # The server rewrites a manifest in place with every pull of it.
                retry = isinstance(error, CutOffError)
                records.faults.append(Fault(row, str(error), retry=retry))


def _checking(
    records: ChunkRecords, task: ReadTask
) -> Callable[[int, tuple[ManifestRecord, bytes | None], int], None]:
    """What puts records into a chunk, and notes which files are not what they should be."""

    def put(row: int, parsed: tuple[ManifestRecord, bytes | None], size: int) -> None:
        record, upstream = parsed
        records.put(row, record, size)
        name = task.digests[row * DIGEST_BYTES : (row + 1) * DIGEST_BYTES]
        if reason := ociregistry.disagreement(record, upstream, name):
            records.mismatches.append(Mismatch(row, reason))

    return put


def stat_files(task: StatTask) -> Iterator[FileSizes]:
    """Asks the file system for sizes, and which files have other names.

    Raises:
        OSError: The folder can't be opened, or a file not be asked about.
    """
    sizes, linked = array("q"), []
    for position, status in enumerate(statuses(task)):
        sizes.append(0 if status is None else status.st_size)
        if status is not None and status.st_nlink > 1:
            linked.append(position)
    yield FileSizes(task.first, sizes, tuple(linked))


def statuses(task: StatTask) -> Iterator[os.stat_result | None]:
    """Asks the file system about files, one after the other; None for one that is gone.

    Raises:
        OSError: The folder can't be opened, or a file not be asked about.
    """
    with opened_folder(task.folder) as folder:
        for name in file_names(task.digests):
            try:
                status = os.stat(name, dir_fd=folder, follow_symlinks=False)
            except FileNotFoundError:
                yield None
            else:
                yield status


def _reader(max_bytes: int) -> FileReader:
    """The reader of this thread: its buffer must not be another scan's as well."""
    readers: dict[int, FileReader] = _of_thread.__dict__.setdefault("readers", {})
    if max_bytes not in readers:
        readers[max_bytes] = FileReader(max_bytes)
    return readers[max_bytes]


_of_thread = threading.local()


@functools.cache
def _matcher(pattern_sets: PatternSets) -> UrlMatch | None:
    if not pattern_sets:
        return None
    from fastprune.patterns import UrlMatcher

    return UrlMatcher(pattern_sets).match
