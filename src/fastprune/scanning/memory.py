"""The memory of a scan: what an earlier one left for it, and what it leaves for the next.

Stage: rim. Input: the path of a cache, a folder for state. Output: `Recalled`. I/O: asks for the
status of the folders of the cache; the rest is done by `fastprune.scanning.store`.

Why it may decide about deletions, in short (docs/safety.md has the argument): the name of a
manifest is the digest of the document in it, so what a manifest refers to can't change under its
name. Everything else that a file says can, and any write changes its ctime. Where that can't be
relied on, nothing is remembered. What is to be removed is looked at again when it goes.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from fastprune.errors import NotBelievedError, UsageError
from fastprune.executors.executor import Executor
from fastprune.executors.inline import InlineExecutor, here_if_remote
from fastprune.index.recalled import Recalled
from fastprune.index.remembered import (
    PIECE_BYTES,
    RememberedScan,
    ScanHeader,
    decoded,
    encoded,
)
from fastprune.layouts.layout import Layout
from fastprune.reading.identities import folder_identity, racy_from
from fastprune.scanning.store import (
    ENDING,
    PieceTask,
    damaged,
    forget_pages,
    is_replaced,
    mapped_file,
    store,
    used_now,
)
from fastprune.scanning.trust import why_not_trusted
from fastprune.text.escaping import in_utf8
from fastprune.version import __version__
from fastprune.whole_files import folder_of_cache, lies_in

if TYPE_CHECKING:
    from fastprune.index.remembering import Outcome

_WORTH_WRITING = 50
"""One manifest in so many has to be new to the memory, or the file is not written again."""

_log = logging.getLogger("fastprune")


@dataclass(frozen=True, slots=True)
class StateFolder:
    """Where scans are remembered.

    Attributes:
        path: The folder; it is made if there is none.
        rescan: Whether to read everything again, and remember it anew.
    """

    path: str
    rescan: bool = False


class ScanMemory:
    """What is remembered of a cache, for one scan of it.

    Attributes:
        racy: Files that changed from then on are racy for this scan.
        recalled: What an earlier scan has left; None if there is nothing to go by.
    """

    def __init__(
        self,
        root: str,
        layout: Layout,
        folder: StateFolder,
        *,
        scanned_at: float,
        max_manifest_bytes: int,
    ) -> None:
        """Asks for the identities of the folders; they must not be listed before.

        Args:
            root: Path of the cache.
            layout: What kind of cache it is.
            folder: Where scans are remembered.
            scanned_at: When the scan began.
            max_manifest_bytes: Larger manifest files are not read.
        """
        status, file_system = os.stat(root), os.statvfs(root).f_fsid
        self.racy = racy_from(scanned_at)
        self.recalled: Recalled | None = None
        self._layout, self._folder = layout, folder
        self._scanned_at, self._max_bytes = scanned_at, max_manifest_bytes
        self._root = root
        self._cache = f"{file_system:016x}-{status.st_ino}"
        self._path = os.path.join(folder.path, self._cache + ENDING)
        self._identities = [
            folder_identity(os.path.join(root, name), self.racy).hex() for name in layout.folders
        ]

    def recall(self, open_executor: Callable[[int], Executor]) -> None:
        """Looks for what an earlier scan has left, and checks it. Without it, all is read.

        Args:
            open_executor: Gives the executor for a number of manifests.
        """
        if self._folder.rescan:
            return
        try:
            scan = self._read(open_executor)
        except FileNotFoundError:
            return
        except OSError as error:
            _log.debug("%s can't be read: %s", self._path, error.strerror)
        except NotBelievedError as error:
            _log.warning("%s is not used, and everything is read: %s", self._path, error)
        else:
            self.recalled = Recalled(scan, self.racy, self._identities)

    def _read(self, open_executor: Callable[[int], Executor]) -> RememberedScan:
        """The remembered scan, if it is whole and may be believed."""
        while True:
            mapped = mapped_file(self._path)
            scan = decoded(memoryview(mapped.content), partial(forget_pages, mapped.content))
            self._check(scan.header)
            tasks = [PieceTask(self._path, mapped.inode, *piece) for piece in scan.pieces]
            small = len(mapped.content) <= PIECE_BYTES
            # Only a large cache has a large file, so workers are of use to it.
            # The file is on this machine.
            executor = InlineExecutor() if small else here_if_remote(open_executor(len(scan)))
            # All answers are taken: workers that are left in the middle can't be used again.
            if not any(list(executor.map_unordered(damaged, tasks))):
                return scan
            if not is_replaced(self._path, mapped):
                raise NotBelievedError("it is damaged")
            # Another scan of the cache has just written a new one.

    def _check(self, header: ScanHeader) -> None:
        if header.made_by != __version__:
            raise NotBelievedError("another version of fastprune wrote it")
        if (header.cache, header.layout) != (self._cache, _name_of(self._layout)):
            raise NotBelievedError("it is about another cache")
        # Another scan may have begun after this one, and have ended before it came here.
        if header.scanned_at > time.time():
            raise NotBelievedError("it says that it was written in the future")
        if header.max_manifest_bytes > self._max_bytes:
            raise NotBelievedError("--max-manifest-size was larger")

    def keep(self, outcome: Outcome, *, irregular: Iterable[str]) -> None:
        """Remembers a scan, unless what is remembered already says the same, or nearly so.

        What is remembered stays true whatever comes after it: what changed is read again. To read a
        few manifests again costs less than to write the whole file.

        Args:
            outcome: What the scan found.
            irregular: Paths that are named as manifests and are no regular files.
        """
        folders = tuple(outcome.folders(self._identities, irregular))
        recalled, self.recalled = self.recalled, None
        few = outcome.newly_known * _WORTH_WRITING <= len(outcome.index)
        if recalled is not None and few and folders == recalled.folders:
            used_now(self._path)
            return
        header = ScanHeader(
            made_by=__version__,
            cache=self._cache,
            path=in_utf8(os.path.realpath(self._root)),
            layout=_name_of(self._layout),
            scanned_at=self._scanned_at,
            max_manifest_bytes=self._max_bytes,
            folders=folders,
            odd_times=tuple((row, *texts) for row, texts in outcome.index.odd_times.items()),
        )
        try:
            store(self._path, encoded(header, outcome.columns()))
        except OSError as error:
            _log.debug("%s can't be written: %s", self._path, error.strerror)
        except NotBelievedError as error:
            _log.debug("%s is not written: %s", self._path, error)


def _name_of(layout: Layout) -> str:
    kind = type(layout)
    return f"{kind.__module__}.{kind.__qualname__}: {' '.join(layout.folders)}"


def memory_of(
    root: str,
    layout: Layout,
    folder: StateFolder | None,
    *,
    scanned_at: float,
    max_manifest_bytes: int,
) -> ScanMemory | None:
    """The memory of a scan; None if there is to be none.

    Args:
        root: Path of the cache.
        layout: What kind of cache it is.
        folder: Where scans are remembered; None for nowhere.
        scanned_at: When the scan began.
        max_manifest_bytes: Larger manifest files are not read.

    Raises:
        UsageError: The folder for state lies in the cache.
    """
    if folder is None:
        return None
    # A folder of the cache may be mounted, and so have a path that is not below the cache.
    inside = folder_of_cache(os.path.join(folder.path, ENDING), root, layout)
    if inside or lies_in(folder.path, root):
        raise UsageError(f"--state-dir {folder.path} is in the cache: choose another folder")
    for name in layout.folders:
        if reason := why_not_trusted(os.path.join(root, name)):
            _log.debug("the scan is not remembered: %s", reason)
            return None
    try:
        return ScanMemory(
            root, layout, folder, scanned_at=scanned_at, max_manifest_bytes=max_manifest_bytes
        )
    except OSError as error:
        _log.debug("the scan is not remembered: %s: %s", root, error.strerror)
        return None
