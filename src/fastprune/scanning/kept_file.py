"""The file that a run keeps about a cache for the next one: where it lies, and if it is believed.

Stage: rim. Input: the path of a cache, a folder for state. Output: columns. I/O: asks about the
cache and the file system; the rest is done by `fastprune.scanning.store`.

It is kept only where the times of files tell every change. It is believed only if this version of
fastprune wrote it about this cache, and all of it is as it was written.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterable
from functools import partial

from fastprune.errors import NotBelievedError, UsageError
from fastprune.executors.executor import Executor
from fastprune.executors.inline import InlineExecutor, here_if_remote
from fastprune.index.column_files import PIECE_BYTES, ColumnFile, Header, Origin
from fastprune.layouts.layout import Layout
from fastprune.reading.file_systems import why_not_trusted
from fastprune.scanning.store import (
    PieceTask,
    damaged,
    forget_pages,
    is_replaced,
    mapped_file,
    store,
)
from fastprune.text.escaping import in_utf8
from fastprune.version import __version__
from fastprune.whole_files import folder_of_cache, lies_in

_log = logging.getLogger("fastprune")


Decode = Callable[[memoryview, Callable[[int, int], None]], ColumnFile[Header]]


class KeptFile:
    """One file about one cache.

    Attributes:
        path: The file, which need not be there.
        origin: What a file that is written now says of itself.
        used_at: When a run used or wrote the file last, before it was read: nanoseconds since the
            epoch; 0 if it was not read.
    """

    def __init__(self, root: str, layout: Layout, folder: str, ending: str) -> None:
        """Asks which cache it is. See `fastprune.scanning.store` for the ending.

        Raises:
            OSError: The cache can't be asked about.
        """
        status, file_system, kind = os.stat(root), os.statvfs(root).f_fsid, type(layout)
        cache = f"{file_system:016x}-{status.st_ino}"
        self.path = os.path.join(folder, cache + ending)
        self.origin = Origin(
            made_by=__version__,
            cache=cache,
            path=in_utf8(os.path.realpath(root)),
            layout=f"{kind.__module__}.{kind.__qualname__}: {' '.join(layout.folders)}",
        )
        self.used_at = 0

    def read(
        self,
        decode: Decode[Header],
        written_at: Callable[[Header], float],
        open_executor: Callable[[int], Executor],
    ) -> ColumnFile[Header]:
        """The columns of the file, if it is whole and may be believed.

        `written_at` is the latest time that a header says it was written, or begun. `open_executor`
        gives the executor for a number of rows.

        Raises:
            FileNotFoundError: There is none.
            OSError: It can't be read.
            NotBelievedError: It may not be believed; the message says why.
        """
        while True:
            mapped = mapped_file(self.path)
            self.used_at = mapped.used_at
            file = decode(memoryview(mapped.content), partial(forget_pages, mapped.content))
            self._check(file.header, written_at(file.header))
            tasks = [PieceTask(self.path, mapped.inode, *piece) for piece in file.pieces]
            small = len(mapped.content) <= PIECE_BYTES
            # Only a large cache has a large file, so workers are of use to it. It lies on this
            # machine.
            executor = InlineExecutor() if small else here_if_remote(open_executor(len(file)))
            # All answers are taken: workers that are left in the middle can't be used again.
            if not any(list(executor.map_unordered(damaged, tasks))):
                return file
            if not is_replaced(self.path, mapped):
                raise NotBelievedError("it is damaged")
            # Another run on the cache has just written a new one.

    def _check(self, header: Origin, written_at: float) -> None:
        if header.made_by != self.origin.made_by:
            raise NotBelievedError("another version of fastprune wrote it")
        if (header.cache, header.layout) != (self.origin.cache, self.origin.layout):
            raise NotBelievedError("it is about another cache")
        # Another run may have begun after this one, and have ended before it came here.
        if written_at > time.time():
            raise NotBelievedError("it says that it was written in the future")

    def write(self, content: Iterable[bytes | memoryview]) -> None:
        """Writes the whole file, if it can be written and would be believed."""
        try:
            store(self.path, content)
        except OSError as error:
            _log.debug("%s can't be written: %s", self.path, error.strerror)
        except NotBelievedError as error:
            _log.debug("%s is not written: %s", self.path, error)


def why_not_kept(root: str, layout: Layout, folder: str) -> str:
    """Says why nothing about a cache can be kept in a folder for state; empty if it can.

    Raises:
        UsageError: The folder for state lies in the cache.
    """
    # A folder of the cache may be mounted, and so have a path that is not below the cache.
    if folder_of_cache(os.path.join(folder, "file"), root, layout) or lies_in(folder, root):
        raise UsageError(f"--state-dir {folder} is in the cache: choose another folder")
    reasons = (why_not_trusted(os.path.join(root, name)) for name in layout.folders)
    return next(filter(None, reasons), "")
