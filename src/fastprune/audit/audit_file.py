"""The file of an audit log: opened before anything is removed, and never in the cache.

Stage: rim. Input: paths. Output: a descriptor. I/O: opens or makes one file.

It is a module of its own, without heavy imports, because it is needed before the workers of a scan
are forked.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from fastprune.errors import UsageError
from fastprune.layouts.layout import Layout
from fastprune.whole_files import folder_of_cache

_MODE = 0o640
_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOCTTY


@contextmanager
def opened_audit_file(path: str, root: str, layout: Layout) -> Iterator[int]:
    """Opens a file to append an audit log to; creates it if it is missing.

    Args:
        path: The file.
        root: Path of the cache, whose folders can't hold it.
        layout: What kind of cache it is.

    Yields:
        Its descriptor.

    Raises:
        UsageError: It can't be opened, or lies in a folder of the cache.
    """
    if found := folder_of_cache(path, root, layout):
        raise UsageError(
            f"--audit-log {path}: lies in a folder of the cache ({found[1]}), where only "
            "cached files may be; nothing was deleted"
        )
    try:
        # Non-blocking: a FIFO without a reader is an error instead of an endless wait.
        descriptor = os.open(path, _FLAGS | os.O_NONBLOCK, _MODE)
    except OSError as error:
        raise UsageError(f"--audit-log {path}: {error.strerror}; nothing was deleted") from None
    os.set_blocking(descriptor, True)
    try:
        yield descriptor
    finally:
        os.close(descriptor)
