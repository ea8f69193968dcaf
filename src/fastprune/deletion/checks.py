"""What must still be true of a file when it goes.

Stage: apply. Input: an open folder and a name. Output: yes or no. I/O: reads only.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from functools import cache, partial
from typing import TypeAlias

from fastprune.errors import ManifestError
from fastprune.index.cache_index import CacheIndex, Rows
from fastprune.index.records import kept_part, kept_records
from fastprune.layouts.layout import Layout, ManifestRecord
from fastprune.reading.blob_contents import mark_of
from fastprune.reading.identities import NOTHING_IS_RACY, identities_of
from fastprune.reading.marks import ABSENT_MARK, NO_IDENTITY, FileMark
from fastprune.reading.reader import OPEN_FLAGS

Check: TypeAlias = Callable[[int, str], bool]
"""Is given an open folder and a name in it; says whether the file is a regular one, and still
what it was. Raises OSError if it can't be read."""


def manifest_checks(index: CacheIndex, rows: Rows) -> list[Check]:
    """Makes a check for each of some manifests: whether its file still says what it said.

    A file with the identity that it had when it was read is not read again. Any other file is, and
    only its content counts: a new hard link, for example, gives it another identity, too. The cache
    must be scanned with edges.
    """

    @cache
    def said() -> list[ManifestRecord]:
        # For all at once, as that is cheap, and only if a file is read again.
        return list(kept_records(index, rows))

    def check(at: int, identity: bytes, folder: int, name: str) -> bool:
        # See `NOTHING_IS_RACY` for why no file is racy here.
        if identity != NO_IDENTITY and identities_of(folder, [name], NOTHING_IS_RACY) == [identity]:
            return True
        return still_says(index.layout, said()[at], folder, name)

    return [partial(check, *known) for known in enumerate(index.known_identities(rows))]


def still_says(layout: Layout, record: ManifestRecord, folder: int, name: str) -> bool:
    """Whether a manifest file says what an index has kept of it.

    Its content is compared, not its times: the clock of a file server may differ from ours.
    When a running server is asked for the image, it writes a new `pulled`, so the content differs.
    """
    content = content_of(folder, name)
    try:
        return content is not None and kept_part(layout.parse(content)) == record
    except ManifestError:
        return False


def still_has(mark: FileMark, folder: int, name: str) -> bool:
    """Whether a file has the mark that it had when it was looked at."""
    now = mark_of(os.stat(name, dir_fd=folder, follow_symlinks=False))
    return now == mark and now != ABSENT_MARK


def content_of(folder: int, name: str) -> bytes | None:
    """What is in a file of an open folder; None if it is no regular file.

    Raises:
        OSError: It can't be read.
    """
    try:
        descriptor = os.open(name, OPEN_FLAGS, dir_fd=folder)
    except OSError as error:
        # A symbolic link or a FIFO.
        if error.errno in (errno.ELOOP, errno.ENXIO):
            return None
        raise
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            return None
        return _read(descriptor, status.st_size)
    finally:
        os.close(descriptor)


def _read(descriptor: int, size: int) -> bytes:
    """Reads a file to its end, in one call if it is as large as it says.

    Threads take turns at each call, so a file object, which asks more, takes twice the time.
    """
    content = os.read(descriptor, size + 1)
    while len(content) < size and (more := os.read(descriptor, size + 1 - len(content))):
        content += more
    return content
