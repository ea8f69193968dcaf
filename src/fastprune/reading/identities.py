"""Identities of files: what tells, without reading a file, that it was not written since.

Stage: read. Input: an open folder and names. Output: identities. I/O: asks for the status of files.

An identity is the inode, the size, and the times of the last write (mtime) and of the last change
of any kind (ctime), as git's index and the caches of restic and borg keep them. A program can set
mtime back, and only the kernel sets ctime: to the present, with every write, rename and change of
the other fields.

Two changes within one tick of the kernel's clock have the same ctime. So a file that changed at
about the time when it was read may have changed once more, and its identity would not tell. Git
calls such an entry racy. It has no identity here, and is read again.
"""

from __future__ import annotations

import os
import stat
import struct
from collections.abc import Sequence

from fastprune.model import LARGEST_INT64
from fastprune.reading.marks import IDENTITY

RACY_NANOSECONDS = 2 * 10**9
"""Changes so long before a scan count as racy: far more than the tick of any kernel's clock, and as
much as the coarsest file system rounds."""

SeenFiles = list[os.stat_result | None]
"""The status of files right before they were read; None for one that could not be opened."""

NOTHING_IS_RACY = LARGEST_INT64
"""Stands for `racy_from` where files are compared with identities that a scan kept.

A scan keeps none that is racy: a file whose identity it knows had changed long before it asked.
Whatever changes the file later gives it the ctime of then, and so another identity, however soon
one change follows the other. A recent ctime need not be refused, as it differs anyway.
"""

# All bits that say what kind of file it is; `stat.S_ISREG` takes longer.
_TYPE = 0o170000
_FOLDER_FORM = struct.Struct("<QQqq")


def racy_from(scanned_at: float) -> int:
    """The ctime, in nanoseconds, from which on a file is racy for a scan.

    The scan began at this time, in seconds since the epoch, before it asked about any file.
    """
    return int(scanned_at * 1e9) - RACY_NANOSECONDS


def identity_of(status: os.stat_result, racy: int, form: struct.Struct = IDENTITY) -> bytes:
    """The identity of a file by its status, as `lstat` gives it.

    It is zeros if the file is racy or no regular file, or if a number is too large: `NO_IDENTITY`,
    or `NO_BLOB_IDENTITY`. `racy` is what `racy_from` gives. The form is `IDENTITY` for a manifest,
    `BLOB_IDENTITY` for a blob.
    """
    changed = status.st_ctime_ns
    if changed >= racy or status.st_mode & _TYPE != stat.S_IFREG:
        return bytes(form.size)
    try:
        return form.pack(status.st_ino, status.st_mtime_ns, changed, status.st_size)
    except struct.error:
        # A number does not fit, such as a time after the year 2262: anybody can set such an mtime.
        return bytes(form.size)


def identities_of(
    folder: int, names: Sequence[str], racy: int, form: struct.Struct = IDENTITY
) -> list[bytes]:
    """The identities of files; zeros for one whose status the system does not give.

    Reading such a file will say what is wrong with it. See `identity_of`.
    """
    found = []
    for name in names:
        try:
            status = os.stat(name, dir_fd=folder, follow_symlinks=False)
        except OSError:
            found.append(bytes(form.size))
        else:
            found.append(identity_of(status, racy, form))
    return found


def folder_identity(path: str, racy: int) -> bytes:
    """The identity of a folder: another one, or none, if a name in it came, went or was replaced.

    It is empty if the folder is racy or a symbolic link, if the system gives no status, or if it
    has a time after the year 2262.
    """
    try:
        status = os.lstat(path)
    except OSError:
        return b""
    if status.st_ctime_ns >= racy or not stat.S_ISDIR(status.st_mode):
        return b""
    times = status.st_mtime_ns, status.st_ctime_ns
    try:
        return _FOLDER_FORM.pack(status.st_dev, status.st_ino, *times)
    except struct.error:
        # A time after the year 2262.
        return b""


def folder_changed_at(identity: str) -> int:
    """When a folder changed last, by its `folder_identity` in hex: nanoseconds since the epoch."""
    changed: int = _FOLDER_FORM.unpack(bytes.fromhex(identity))[-1]
    return changed
