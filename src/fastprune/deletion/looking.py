"""What the manifests that are in a cache now need, while a server writes new ones.

Stage: apply. Input: a `CacheIndex`, and what has gone since. Output: masks of blobs. Blocking;
I/O: lists the folders of manifests, and reads the manifests that have come since the scan.

A file of a manifest is named after the document in it. So a known file is never read again: only
its URL and its times can change. The server counts only the references of the manifests that it
has in memory. Here those of all files count.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from contextlib import suppress

import numpy as np

from fastprune.deletion.checks import content_of
from fastprune.errors import CutOffError, ManifestError
from fastprune.guard.drift import manifests_changed_at, new_manifests
from fastprune.index.cache_index import CacheIndex, Rows
from fastprune.index.digests import Digests, DigestTable, as_digests
from fastprune.index.refcounts import Mask, count_references, drop_references, references_of
from fastprune.index.server_urls import KnownUrls
from fastprune.model import DIGEST_BYTES, ManifestKind
from fastprune.reading.folders import opened_folder, status_of
from fastprune.reading.shards import pack_digests
from fastprune.server.listing import BlobCounts

HALF_REMOVED = (
    "a running server does not remove such a URL whole (a capital letter, or a host without a "
    "dot): prune it while the server is stopped"
)
"""Why a server is not asked to remove an image URL; see `fastprune.server.unlisted`."""
MISCOUNTED = (
    "the server counts too few references to one of its blobs, so it might keep that from another "
    "image: start the server again"
)
"""Why a server is not asked to remove an image; see `miscounted`."""
_TRIES = 50
_SECONDS_BETWEEN = 0.02


class Look:
    """Which blobs are needed: by manifests of the index that are there, and by new ones.

    Attributes:
        index: The cache when it was scanned, with edges.
        unknown: Paths of new manifests that can't be read or understood, so that all blobs may
            be needed.
        newcomers: The manifests that have come since the scan: path -> the blobs they need, as
            raw digests. One that was pulled again after it was removed is among them.
    """

    def __init__(self, index: CacheIndex, *, wait: Callable[[float], None] = time.sleep) -> None:
        """Has looked at nothing yet; `wait` waits for a file that the server is writing."""
        self.unknown: tuple[str, ...] = ()
        self.newcomers: dict[str, bytes] = {}
        self.index, self._wait = index, wait
        self._gone = np.zeros(len(index), dtype=np.bool_)
        self._counts = count_references(index)
        self._wanted = np.zeros(len(index.blob_digests), dtype=np.bool_)
        self._wanted_names: set[bytes] = set()
        self._looked_at: tuple[int, ...] = ()
        self._faults: dict[str, tuple[int, int, int]] = {}
        present = index.blobs_present
        self._tables = (
            (DigestTable(index.blob_digests[:present]), 0),
            (DigestTable(index.blob_digests[present:]), present),
        )

    def went(self, rows: Rows) -> None:
        """Notes that the files of some manifests are gone, each once."""
        self._gone[rows] = True
        self._counts = drop_references(self.index, self._counts, rows)

    def is_new(self, rows: Rows) -> None:
        """Treats some images as new, although the scan has seen them: they are being pulled."""
        for row in rows.tolist():
            blobs = references_of(self.index, np.array([row]))
            self.newcomers[self.index.path(row)] = self.index.blob_digests[blobs].tobytes()
            self._wanted[blobs] = True

    def counts(self, blobs: Rows) -> Rows:
        """How many references the manifests of the index that are there have to some blobs."""
        return self._counts[blobs].astype(np.intp)

    def wanted(self, blobs: Rows) -> Mask:
        """Which of some blobs new manifests need; bool, one for each id."""
        return self._wanted[blobs]

    def needed(self, blobs: Rows) -> Mask:
        """Which of some blobs any manifest needs that is there; bool, one for each id."""
        return (self._counts[blobs] > 0) | self._wanted[blobs]

    def that_need(self, blobs: Rows) -> list[str]:
        """The paths of the new manifests that need one of some blobs."""
        names = {digest.tobytes() for digest in self.index.blob_digests[blobs]}
        return [
            path
            for path, needs in self.newcomers.items()
            if not names.isdisjoint(split_digests(needs))
        ]

    def needed_by_name(self, digests: Digests) -> Mask:
        """The same for blobs that need not be in the index: uint8 (k, 32) gives bool (k,)."""
        ids = self.ids_of(digests)
        needed = np.zeros(len(digests), dtype=np.bool_)
        known = ids >= 0
        needed[known] = self.needed(ids[known])
        for at in np.flatnonzero(~known).tolist():
            needed[at] = digests[at].tobytes() in self._wanted_names
        return needed

    def ids_of(self, digests: Digests) -> Rows:
        """The ids of some blobs; -1 for one that is not in the index."""
        ids = np.full(len(digests), -1, dtype=np.intp)
        for table, first in self._tables:
            found = table.find(digests)
            ids[found >= 0] = found[found >= 0] + first
        return ids

    def again_if_changed(self) -> None:
        """Looks again if a folder of manifests has changed since the last look.

        The clock of a file system has steps. So what comes right after a look may be missed, and
        nothing may rest on this; `again` misses nothing.

        Raises:
            OSError: The folders can't be listed.
        """
        if manifests_changed_at(self.index) != self._looked_at:
            self.again()

    def again(self) -> None:
        """Lists the manifests, and reads those that are new.

        Raises:
            OSError: The folders can't be listed.
        """
        looked_at = manifests_changed_at(self.index)
        unknown = [
            path
            for path in new_manifests(self.index, self._gone)
            if path not in self.newcomers and not self._read(path)
        ]
        for path, _ in self.index.faults:
            self._read_if_healed(path)
        self.unknown, self._looked_at = tuple(unknown), looked_at

    def _read(self, path: str) -> bool:
        """Reads a new manifest; whether it is known now what it needs."""
        for _ in range(_TRIES):
            try:
                return self._read_once(path)
            except CutOffError:
                # The server is writing it.
                self._wait(_SECONDS_BETWEEN)
        return False

    def _read_once(self, path: str) -> bool:
        folder, _, name = path.partition("/")
        try:
            with opened_folder(os.path.join(self.index.root, folder)) as opened:
                content = content_of(opened, name)
        except FileNotFoundError:
            # It is gone again.
            return True
        except OSError:
            return False
        if content is None:
            return False
        try:
            record = self.index.layout.parse(content)
            is_list = ManifestKind(record.kind).is_list
            needs = b"" if is_list else pack_digests([record.digests])
        except CutOffError:
            raise
        except ManifestError:
            return False
        self.newcomers[path] = needs
        digests = as_digests(needs)
        ids = self.ids_of(digests)
        self._wanted[ids[ids >= 0]] = True
        self._wanted_names.update(split_digests(digests[ids < 0].tobytes()))
        return True

    def _read_if_healed(self, path: str) -> None:
        """Reads a file again that was broken when it was scanned: a pull may have healed it.

        The server writes it in place, so the folder does not change.
        """
        status = status_of(os.path.join(self.index.root, path))
        if status is None:
            return
        state = (status.st_ino, status.st_size, status.st_mtime_ns)
        known, self._faults[path] = self._faults.get(path), state
        if known is None:
            with suppress(CutOffError):
                self._read_once(path)
        elif known != state:
            self._read(path)


def miscounted(look: Look, known: KnownUrls, found: BlobCounts) -> Mask:
    """Which blobs a server counts fewer references to than its list of manifests gives.

    A pull that fails because a blob is away for a moment leaves such counts. If the server were
    asked to remove one of the images with this blob, it would keep it from the others.
    """
    index = look.index
    # Each URL that leads to an image counts once.
    named = references_of(index, known.rows.astype(np.intp))
    least = np.bincount(named, minlength=len(index.blob_digests))
    counts = np.zeros(len(index.blob_digests), dtype=np.int64)
    ids = look.ids_of(found.digests)
    counts[ids[ids >= 0]] = found.counts[ids >= 0]
    return counts < least


def blobs_of(index: CacheIndex, rows: Rows | Sequence[int]) -> Rows:
    """The ids of the blobs that some manifests refer to, each once, ascending."""
    return np.unique(references_of(index, np.asarray(rows, dtype=np.intp))).astype(np.intp)


def split_digests(raw: bytes) -> list[bytes]:
    """Raw digests, one by one."""
    return [raw[at : at + DIGEST_BYTES] for at in range(0, len(raw), DIGEST_BYTES)]
