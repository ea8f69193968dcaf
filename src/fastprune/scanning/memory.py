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
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from fastprune.errors import NotBelievedError
from fastprune.executors.executor import Executor
from fastprune.index.recalled import Recalled
from fastprune.index.remembered import RememberedFolder, ScanHeader, decoded, encoded
from fastprune.layouts.layout import Layout
from fastprune.reading.identities import folder_changed_at, folder_identity, racy_from
from fastprune.scanning.kept_file import KeptFile, why_not_kept
from fastprune.scanning.store import SCANS, used_now

if TYPE_CHECKING:
    from fastprune.index.remembering import Outcome

_WORTH_WRITING = 25
"""One manifest in so many must have come, gone or changed, or the file may stay as it is.

To read that many again takes a fraction of the time that writing the file takes.
"""

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
        """Asks for the identities of the folders; they must not be listed before."""
        self._file = KeptFile(root, layout, folder.path, SCANS)
        self.racy = racy_from(scanned_at)
        self.recalled: Recalled | None = None
        self._folder = folder
        self._scanned_at, self._max_bytes = scanned_at, max_manifest_bytes
        self._identities = [
            folder_identity(os.path.join(root, name), self.racy).hex() for name in layout.folders
        ]

    def recall(self, open_executor: Callable[[int], Executor]) -> None:
        """Looks for what an earlier scan has left, and checks it. Without it, all is read."""
        if self._folder.rescan:
            return
        try:
            scan = self._file.read(decoded, lambda header: header.scanned_at, open_executor)
            if scan.header.max_manifest_bytes > self._max_bytes:
                raise NotBelievedError("--max-manifest-size was larger")
        except FileNotFoundError:
            return
        except OSError as error:
            _log.debug("%s can't be read: %s", self._file.path, error.strerror)
        except NotBelievedError as error:
            _log.warning("%s is not used, and everything is read: %s", self._file.path, error)
        else:
            self.recalled = Recalled(scan, self.racy, self._identities)

    def keep(self, outcome: Outcome, *, irregular: Iterable[str]) -> None:
        """Remembers a scan, unless what is remembered already is nearly the same.

        What is remembered stays true whatever comes after it: what changed is read again. To read a
        few manifests again, and to list the folders, costs less than to write the whole file.

        `irregular` are the paths that are named as manifests and are no regular files.
        """
        folders = tuple(outcome.folders(self._identities, irregular))
        recalled, self.recalled = self.recalled, None
        few = (outcome.newly_known + outcome.gone) * _WORTH_WRITING <= len(outcome.index)
        if recalled is not None and few and not self._spares_listing(folders, recalled.folders):
            used_now(self._file.path)
            return
        header = ScanHeader(
            **asdict(self._file.origin),
            scanned_at=self._scanned_at,
            max_manifest_bytes=self._max_bytes,
            folders=folders,
            odd_times=tuple((row, *texts) for row, texts in outcome.index.odd_times.items()),
        )
        self._file.write(encoded(header, outcome.columns()))

    def _spares_listing(
        self, folders: Sequence[RememberedFolder], before: Sequence[RememberedFolder]
    ) -> bool:
        """Whether the next scan need not list the folders if these are remembered.

        It has to if they change again, as most do between two nights. So that is expected if one
        has changed since the scan before. If none has, somebody scans a cache at rest, and will
        again. What is remembered of them so far is `before`.
        """
        is_new = any(one != old and one.identity for one, old in zip(folders, before, strict=True))
        times = [folder_changed_at(one.identity) for one in folders if one.identity]
        return is_new and all(changed < self._file.used_at for changed in times)


def memory_of(
    root: str,
    layout: Layout,
    folder: StateFolder | None,
    *,
    scanned_at: float,
    max_manifest_bytes: int,
) -> ScanMemory | None:
    """The memory of a scan; None if there is to be none.

    Raises:
        UsageError: The folder for state lies in the cache.
    """
    if folder is None:
        return None
    if reason := why_not_kept(root, layout, folder.path):
        _log.debug("the scan is not remembered: %s", reason)
        return None
    try:
        return ScanMemory(
            root, layout, folder, scanned_at=scanned_at, max_manifest_bytes=max_manifest_bytes
        )
    except OSError as error:
        _log.debug("the scan is not remembered: %s: %s", root, error.strerror)
        return None
