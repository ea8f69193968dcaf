"""Sizes of files, marks and identities of files, and verdicts on a blob that was read to its end.

Stage: read. Values only. Pure, no I/O.
"""

from __future__ import annotations

import struct
from array import array
from enum import IntEnum
from typing import NamedTuple

MARK_FIELDS = 3
"""Numbers in a `FileMark`."""


class FileMark(NamedTuple):
    """Identifies a file and its content: a file with another mark has changed.

    Attributes:
        inode: Its number, less the highest bit; -1 if there is no regular file.
        size: Bytes.
        mtime: When its content last changed, in nanoseconds, less the highest bit.
    """

    inode: int
    size: int
    mtime: int


ABSENT_MARK = FileMark(-1, -1, -1)

IDENTITY = struct.Struct("<QqqI")
"""The identity of a manifest file (see `fastprune.reading.identities`): its inode, its mtime and
ctime in nanoseconds, and its size in bytes."""

IDENTITY_BYTES = IDENTITY.size

NO_IDENTITY = bytes(IDENTITY_BYTES)
"""Stands for a file that has to be read. No file has the inode 0."""


class Known(NamedTuple):
    """What is remembered of a chunk of manifest files.

    Attributes:
        racy: Files that changed from then on are racy: see `fastprune.reading.identities`.
        identities: The identity of each file when it was read, end to end; `NO_IDENTITY` for one
            that is to be read in any case; empty if all are.
        url_forms: As in a shard, of all files; empty without patterns.
        url_bytes: The same.
        url_lengths: The same, as bytes of uint32.
    """

    racy: int
    identities: bytes
    url_forms: bytes = b""
    url_bytes: bytes = b""
    url_lengths: bytes = b""


class Verdict(IntEnum):
    """The result of reading a blob whose content does not match its name."""

    ALTERED = 1
    GONE = 2
    UNREADABLE = 3
    REFUSED = 4


class OddFile(NamedTuple):
    """A blob whose content does not match its name, or that could not be read.

    Attributes:
        position: Its position among the files of the task.
        verdict: A value of `Verdict`: it has another sha256; it is gone; the system can't
            read it; or we may not read it.
        mark: Its mark when it was read; `ABSENT_MARK` if that is not known.
        reason: The message of the system; empty if it has another sha256.
    """

    position: int
    verdict: int
    mark: FileMark
    reason: str


class FileSizes(NamedTuple):
    """Sizes of files.

    Attributes:
        first: `first` of the task.
        sizes: int64 each: bytes; 0 for a file that is gone.
        linked: Which of them have other names (hard links) as well: positions in `sizes`.
    """

    first: int
    sizes: array[int]
    linked: tuple[int, ...] = ()
