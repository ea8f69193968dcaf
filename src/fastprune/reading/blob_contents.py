"""What a worker does for `verify`: reads blobs to the end, and takes marks of files.

Stage: walk, read. Input: a task. Output: odd files, and how much was read. I/O: reads
only. Top-level functions and picklable values, so that any executor can run them; no
numpy, so that a worker starts fast.
"""

from __future__ import annotations

import errno
import os
import stat
import time
from array import array
from collections.abc import Iterator
from contextlib import suppress
from typing import NamedTuple

from fastprune.layouts.layout import Layout
from fastprune.model import DIGEST_BYTES, LARGEST_INT64, file_names
from fastprune.reading.folders import StatTask, opened_folder, statuses
from fastprune.reading.identities import NOTHING_IS_RACY, identities_of, identity_of, racy_from
from fastprune.reading.marks import (
    ABSENT_MARK,
    BLOB_IDENTITY,
    BLOB_IDENTITY_BYTES,
    NO_BLOB_IDENTITY,
    FileMark,
    OddFile,
    Verdict,
)
from fastprune.reading.reader import NOT_A_FILE, FileReader, advise, open_file, reason_of

_BUFFER_BYTES = 1 << 20
# Bytes that are read between two results, which drive the progress bar.
_BYTES_PER_PART = 32 << 20
# Errors of the system that mean lost content, not missing permission.
_LOST_CONTENT = frozenset({errno.EIO, errno.EBADMSG, getattr(errno, "EUCLEAN", errno.EIO)})


def mark_of(status: os.stat_result) -> FileMark:
    """The mark of a file by its status."""
    if not stat.S_ISREG(status.st_mode):
        return ABSENT_MARK
    # A large inode, or a time after the year 2262, does not fit into 64 bits with a sign.
    inode, mtime = status.st_ino & LARGEST_INT64, status.st_mtime_ns & LARGEST_INT64
    return FileMark(inode, status.st_size, mtime)


class FileMarks(NamedTuple):
    """Marks of some files, from the `first` of the task on.

    `marks` are int64, `MARK_FIELDS` a file; `ABSENT_MARK` where there is no regular file.
    """

    first: int
    marks: array[int]


def mark_files(task: StatTask) -> Iterator[FileMarks]:
    """Asks the file system for marks.

    Raises:
        OSError: The folder can't be opened, or the system gives no status of a file.
    """
    marks = array("q")
    for status in statuses(task):
        marks.extend(ABSENT_MARK if status is None else mark_of(status))
    yield FileMarks(task.first, marks)


class SalvageTask(NamedTuple):
    """Manifest files that can't be understood, by their names: 32 raw bytes each.

    Those that are larger than `max_bytes` are skipped.
    """

    folder: str
    digests: bytes
    max_bytes: int
    layout: Layout


def salvage_digests(task: SalvageTask) -> Iterator[bytes]:
    """Finds the digests in unreadable manifests: they may refer to these.

    Yields those of each file, 32 raw bytes each.

    Raises:
        OSError: The folder can't be opened.
    """
    names = file_names(task.digests)
    reader = FileReader(task.max_bytes)
    with opened_folder(task.folder) as folder:
        for _, content in reader.read_carefully(folder, names, range(len(names)), []):
            yield b"".join(task.layout.digests_in(bytes(content)))


class CompareTask(NamedTuple):
    """Files that were found sound, as in a `StatTask`, and what they were like then.

    Their identities are end to end.
    """

    folder: str
    first: int
    digests: bytes
    identities: bytes


class Unchanged(NamedTuple):
    """Which files are as they were, from the `first` of the task on.

    `flags` has a byte for each file: 1 if it has the identity that it had, else 0.
    """

    first: int
    flags: bytes


def compare_identities(task: CompareTask) -> Iterator[Unchanged]:
    """Finds out which files are as they were, without reading them.

    Raises:
        OSError: The folder can't be opened.
    """
    names, size = file_names(task.digests), BLOB_IDENTITY_BYTES
    with opened_folder(task.folder) as folder:
        found = identities_of(folder, names, NOTHING_IS_RACY, BLOB_IDENTITY)
    flags = [
        now == task.identities[row * size : (row + 1) * size] != NO_BLOB_IDENTITY
        for row, now in enumerate(found)
    ]
    yield Unchanged(task.first, bytes(flags))


class HashTask(StatTask):
    """Files whose content is to be compared with their names."""

    __slots__ = ()


class HashedPart(NamedTuple):
    """The work on a task since the last part.

    Attributes:
        first: Position of the first file that was finished.
        files: How many files were finished.
        size: Bytes that were read.
        odd: The odd ones among these files.
        identities: The identity of each of these files when it was read, end to end;
            `NO_BLOB_IDENTITY` for one that is odd, or that may change or have changed unnoticed.
    """

    first: int
    files: int
    size: int
    odd: tuple[OddFile, ...]
    identities: bytes


def hash_files(
    task: HashTask, *, buffer_bytes: int = _BUFFER_BYTES, part_bytes: int = _BYTES_PER_PART
) -> Iterator[HashedPart]:
    """Reads files to the end and compares the sha256 of each with its name.

    `part_bytes` are read between two parts of the answer.

    Raises:
        OSError: The folder can't be opened.
    """
    first, size, odd, identities = task.first, 0, list[OddFile](), list[bytes]()

    def part() -> HashedPart:
        return HashedPart(first, len(identities), size, tuple(odd), b"".join(identities))

    with opened_folder(task.folder) as folder:
        for row, name in enumerate(file_names(task.digests)):
            raw = task.digests[row * DIGEST_BYTES : (row + 1) * DIGEST_BYTES]
            hashed = _HashedFile(name, raw, folder)
            for count in hashed.read(buffer_bytes):
                size += count
                if size >= part_bytes:
                    yield part()
                    first, size, odd, identities = task.first + row, 0, [], []
            identities.append(hashed.identity)
            if hashed.verdict is not None:
                odd.append(OddFile(task.first + row, hashed.verdict, hashed.mark, hashed.reason))
    yield part()


class _HashedFile:
    """One file, and the result of reading it."""

    __slots__ = ("_digest", "_folder", "_name", "identity", "mark", "reason", "verdict")

    def __init__(self, name: str, digest: bytes, folder: int) -> None:
        self._name, self._digest, self._folder = name, digest, folder
        self.verdict: Verdict | None = None
        self.mark, self.reason = ABSENT_MARK, ""
        self.identity = NO_BLOB_IDENTITY

    def read(self, most: int) -> Iterator[int]:
        """Reads the file, at most so many bytes at a time; yields the number after each read."""
        try:
            descriptor = open_file(self._name, self._folder)
            try:
                yield from self._hash(descriptor, most)
            finally:
                os.close(descriptor)
        except OSError as error:
            self._note(error)

    def _hash(self, descriptor: int, most: int) -> Iterator[int]:
        from hashlib import sha256

        # A change from here on, or within one tick of the clock before, may not show later.
        racy = racy_from(time.time())
        status = os.fstat(descriptor)
        self.mark = mark_of(status)
        if self.mark == ABSENT_MARK:
            self.verdict, self.reason = Verdict.REFUSED, NOT_A_FILE
            return
        advise(descriptor, "POSIX_FADV_SEQUENTIAL")
        digest = sha256()
        while some := os.read(descriptor, most):
            digest.update(some)
            yield len(some)
        if digest.digest() != self._digest:
            self.verdict = Verdict.ALTERED
            return
        before = identity_of(status, racy, BLOB_IDENTITY)
        if before == identity_of(os.fstat(descriptor), racy, BLOB_IDENTITY):
            self.identity = before

    def _note(self, error: OSError) -> None:
        if error.errno == errno.ENOENT:
            self.verdict = Verdict.GONE
        elif error.errno in _LOST_CONTENT:
            self.verdict = Verdict.UNREADABLE
            if self.mark == ABSENT_MARK:
                # The file could not even be opened, so it has no mark yet.
                with suppress(OSError):
                    status = os.stat(self._name, dir_fd=self._folder, follow_symlinks=False)
                    self.mark = mark_of(status)
        else:
            self.verdict = Verdict.REFUSED
        self.reason = reason_of(error)
