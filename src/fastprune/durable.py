"""Makes what was written or removed durable, where the file system offers that.

Stage: rim. Input: open files and folders. Output: none. I/O: fsync.
"""

from __future__ import annotations

import errno
import os
from contextlib import suppress

# What a file system says that has no fsync for a folder (some FUSE file systems), or for a FIFO.
# EROFS is none of these: a disk that failed says so, when the kernel has made it read-only.
_NOT_OFFERED = (errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS)


class NotDurableError(OSError):
    """The file system can't make anything durable here; all else was done."""


def sync(*descriptors: int) -> None:
    """Makes files or folders durable, one after the other.

    Args:
        descriptors: They are open.

    Raises:
        NotDurableError: A file system does not offer it; the others were made durable.
        OSError: It failed, so data may be lost; those that follow were not tried.
    """
    refused: OSError | None = None
    for descriptor in descriptors:
        try:
            os.fsync(descriptor)
        except OSError as error:
            if error.errno not in _NOT_OFFERED:
                raise
            refused = error
    if refused is not None:
        raise NotDurableError(refused.errno, refused.strerror)


def sync_if_offered(*descriptors: int) -> None:
    """Does the same where nobody has to know that the file system does not offer it.

    Raises:
        OSError: It failed.
    """
    with suppress(NotDurableError):
        sync(*descriptors)
