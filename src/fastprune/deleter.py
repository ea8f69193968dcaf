"""The only module that deletes in a cache.

Stage: apply. Input: open folders and batches of names. Output: what became of each
file. I/O: open, read, unlink and fsync, relative to descriptors of the folders.

These are the leaves: blocking functions over a batch, called on threads. What goes when,
and what comes before what, is decided in `fastprune.execution`.

A name is always 64 hex digits made from raw bytes of a directory listing, relative to a
folder's descriptor: nothing that a manifest says can become a path.
"""

from __future__ import annotations

import errno
import os
import stat
from enum import IntEnum
from typing import NamedTuple, Protocol

from fastprune.errors import ManifestError
from fastprune.layouts import ociregistry
from fastprune.reader import OPEN_FLAGS
from fastprune.shards import ODD_TIME_CHARS, pack_digests


class Outcome(IntEnum):
    """What became of one file."""

    REMOVED = 0
    GONE = 1
    CHANGED = 2
    FAILED = 3


class Expected(NamedTuple):
    """What a manifest file said when it was scanned.

    Attributes:
        kind: A value of `ManifestKind`.
        url: The image URL.
        created: As `CacheIndex.created_texts` gives it.
        pulled: In the same way.
        blobs: Of an image: the digests it refers to, raw; of a list: empty.
    """

    kind: int
    url: str
    created: str
    pulled: str
    blobs: bytes


class Batch(NamedTuple):
    """Some files of one folder that are to go.

    Attributes:
        names: The file names.
        sizes: Bytes of each, as far as they are known from the scan.
        expected: What each manifest must still say; None for blobs, which are known by
            their names alone.
    """

    names: list[str]
    sizes: list[int]
    expected: list[Expected] | None


class BatchResult(NamedTuple):
    """What became of a batch, file by file.

    Attributes:
        outcomes: Values of `Outcome`.
        freed: Bytes of each file that was removed, else 0.
        errors: The errno of each failed file, by position.
    """

    outcomes: bytearray
    freed: list[int]
    errors: dict[int, int]


class Deleter(Protocol):
    """Removes batches of files, in one way or another.

    Attributes:
        batch_size: How many names to hand it at once.
    """

    batch_size: int

    def remove(self, folder: int, batch: Batch) -> BatchResult:
        """Removes a batch from an open folder; called on several threads at once."""
        ...

    def settle(self, folder: int) -> None:
        """Makes what was removed from an open folder durable."""
        ...


class Unlinker:
    """Deletes."""

    batch_size = 256

    def remove(self, folder: int, batch: Batch) -> BatchResult:
        """See `Deleter.remove`. What changed since the scan is left alone."""
        outcomes = bytearray(len(batch.names))
        freed = [0] * len(batch.names)
        errors: dict[int, int] = {}
        expected = batch.expected
        for position, name in enumerate(batch.names):
            try:
                if expected is not None and not _still_says(folder, name, expected[position]):
                    outcomes[position] = Outcome.CHANGED
                    continue
                # Nothing else is asked about a blob: every further call takes threads in
                # turn, and costs more than the unlinking itself.
                os.unlink(name, dir_fd=folder)
                freed[position] = batch.sizes[position]
            except FileNotFoundError:
                outcomes[position] = Outcome.GONE
            except OSError as error:
                outcomes[position] = Outcome.FAILED
                errors[position] = error.errno or errno.EIO
        return BatchResult(outcomes, freed, errors)

    def settle(self, folder: int) -> None:
        """See `Deleter.settle`."""
        os.fsync(folder)


def _still_says(folder: int, name: str, expected: Expected) -> bool:
    """Whether a manifest file says what it said when it was scanned.

    Its content is compared, not its times: a clock of a file server may differ from
    ours, and a pull by a running server changes what counts, `pulled`.
    """
    try:
        descriptor = os.open(name, OPEN_FLAGS, dir_fd=folder)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENXIO):
            return False
        raise
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return False
        with open(descriptor, "rb", buffering=0, closefd=False) as file:
            content = file.readall()
    finally:
        os.close(descriptor)
    try:
        record = ociregistry.parse(content)
        blobs = pack_digests([record.digests]) if record.sizes else b""
    except ManifestError:
        return False
    created, pulled = record.created[:ODD_TIME_CHARS], record.pulled[:ODD_TIME_CHARS]
    return Expected(record.kind, record.url, created, pulled, blobs) == expected
