"""The memory of `verify --content`: which blobs were found sound, and are as they were since.

Stage: rim. Input: a `CacheIndex`, a `KeptFile`. Output: ids of blobs. I/O: asks for the status of
blobs; the rest is done by `fastprune.scanning.kept_file`.

A blob is remembered if its content matched its name, and if any change since would show: see
`fastprune.reading.identities`. What was found damaged, or could not be read, is forgotten.
Nothing tells of a disk that changes what is in a file by itself: docs/verify.md says so.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import asdict
from datetime import datetime
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from fastprune.errors import NotBelievedError
from fastprune.executors.executor import Executor
from fastprune.index.digests import DigestTable
from fastprune.index.verified_blobs import VerifiedBlobs, VerifiedHeader, decoded, encoded
from fastprune.model import file_names, in_chunks
from fastprune.progress import Progress, WhenSlow, under_way
from fastprune.reading.blob_contents import CompareTask, compare_identities
from fastprune.reading.folders import opened_folder
from fastprune.reading.identities import identities_of, racy_from
from fastprune.reading.marks import BLOB_IDENTITY, BLOB_IDENTITY_BYTES
from fastprune.scanning.content_since import LAST, Since, say_why_not, seconds_of
from fastprune.scanning.kept_file import KeptFile
from fastprune.scanning.store import used_now

if TYPE_CHECKING:
    from fastprune.index.cache_index import CacheIndex, Rows

_KEEP_SECONDS = 60
"""How often what was verified is written, at most."""

_SHARE_OF_WRITING = 20
"""Writing takes no more than one in so many seconds."""

_FILES_IN_TASK = 1_024


class BlobMemory:
    """Which blobs of a cache were found sound, and when: for one run.

    Attributes:
        since: From when on a blob must have been verified not to be read again: seconds since the
            epoch; None if all are read.
    """

    def __init__(self, file: KeptFile, index: CacheIndex, executor: Executor, since: Since) -> None:
        """Looks for what earlier runs have left. Without it, all is read.

        The executor checks what was left, and asks about blobs. See `Since`.
        """
        count, now = index.blobs_present, time.time()
        self._before = np.zeros((0, BLOB_IDENTITY_BYTES), dtype=np.uint8)
        self._file, self._index, self._executor = file, index, executor
        self._identities = np.zeros((count, BLOB_IDENTITY_BYTES), dtype=np.uint8)
        self._verified = np.zeros(count, dtype=np.uint32)
        known = self._recall(now, wanted=since is not None)
        self.since: int | None = None
        # Whole seconds, as they are kept: nothing before a time may count as after it.
        series = int(now)
        if isinstance(since, datetime):
            series = self.since = seconds_of(since)
        elif since == LAST and known is not None:
            series = self.since = known.header.since
        self._series, self._is_new = series, False
        self._next = time.monotonic() + _KEEP_SECONDS
        if since != LAST or known is None:
            # If the run is killed right away, `last` must not go on with an older one.
            self._write()

    def _recall(self, now: float, *, wanted: bool) -> VerifiedBlobs | None:
        try:
            found = self._file.read(
                decoded,
                lambda header: max(header.written_at, header.since),
                lambda _: self._executor,
            )
        except FileNotFoundError:
            say_why_not(
                f"no run is remembered in {os.path.dirname(self._file.path)}", wanted=wanted
            )
        except OSError as error:
            say_why_not(f"{self._file.path} can't be read: {error.strerror}", wanted=wanted)
        except NotBelievedError as error:
            say_why_not(f"{self._file.path} is not used: {error}", wanted=wanted)
        else:
            ids = DigestTable(self._index.present_digests).find(found.column("digests"))
            verified = found.column("verified")
            # The clock was set back since if some are later than now.
            rows = np.flatnonzero((ids >= 0) & (verified <= now))
            self._identities[ids[rows]] = found.column("identities")[rows]
            self._verified[ids[rows]] = verified[rows]
            return found
        return None

    def unchanged(self, blobs: Rows, progress: Progress, checkpoint: Callable[[], None]) -> Rows:
        """Which of some blobs were verified late enough, and have not changed since.

        `checkpoint` is called often, and raises if the work is to end.
        """
        if self.since is None:
            return blobs[:0]
        blobs = blobs[self._verified[blobs] >= max(self.since, 1)]
        folder = os.path.join(self._index.root, self._index.layout.blob_folder)
        tasks = (
            CompareTask(
                folder,
                first,
                digests,
                self._identities[blobs[first : first + _FILES_IN_TASK]].tobytes(),
            )
            for first, digests in in_chunks(
                self._index.blob_digests[blobs].tobytes(), _FILES_IN_TASK
            )
        )
        same = np.zeros(len(blobs), dtype=bool)
        if len(blobs):
            with under_way(WhenSlow(progress), "comparing", len(blobs), "blobs") as slow:
                for part in self._executor.map_unordered(compare_identities, tasks):
                    checkpoint()
                    end = part.first + len(part.flags)
                    same[part.first : end] = np.frombuffer(part.flags, dtype=bool)
                    slow.advance(len(part.flags))
        return blobs[same]

    def note(self, blobs: Rows, identities: bytes) -> None:
        """Remembers blobs that were read to the end; writes them down if it is time to.

        `identities` is that of `HashedPart`.
        """
        found = np.frombuffer(identities, dtype=np.uint8).reshape(-1, BLOB_IDENTITY_BYTES)
        self._identities[blobs] = found
        self._verified[blobs] = np.where(found.any(axis=1), np.uint32(time.time()), 0)
        self._is_new = self._is_new or len(blobs) > 0
        if self._is_new and time.monotonic() >= self._next:
            self._write()

    def look_before(self, blobs: Rows) -> None:
        """Takes the identities of blobs that workers elsewhere are about to read.

        What they see of a file may be older than what is seen here, and their clocks may differ.
        """
        if not len(self._before):
            self._before = np.zeros_like(self._identities)
        self._before[blobs] = self._seen_here(blobs)

    def note_elsewhere(self, blobs: Rows, identities: bytes) -> None:
        """As `note`, after `look_before` and reading elsewhere: what is seen here counts."""
        there = np.frombuffer(identities, dtype=np.uint8).reshape(-1, BLOB_IDENTITY_BYTES)
        here = self._before[blobs]
        unchanged = (here == self._seen_here(blobs)).all(axis=1) & there.any(axis=1)
        here[~unchanged] = 0
        self.note(blobs, here.tobytes())

    def _seen_here(self, blobs: Rows) -> NDArray[np.uint8]:
        folder = os.path.join(self._index.root, self._index.layout.blob_folder)
        names = file_names(self._index.blob_digests[blobs].tobytes())
        with opened_folder(folder) as descriptor:
            seen = identities_of(descriptor, names, racy_from(time.time()), BLOB_IDENTITY)
        return np.frombuffer(b"".join(seen), dtype=np.uint8).reshape(-1, BLOB_IDENTITY_BYTES)

    def keep(self) -> None:
        """Writes down what was noted and is not written yet."""
        if self._is_new:
            self._write()
        else:
            used_now(self._file.path)

    def _write(self) -> None:
        began = time.monotonic()
        header = VerifiedHeader(
            **asdict(self._file.origin), written_at=time.time(), since=self._series
        )
        rows = np.flatnonzero(self._verified)
        columns = (self._index.present_digests, self._identities, self._verified)
        self._file.write(encoded(header, rows, *columns))
        ended = time.monotonic()
        self._next = ended + max(_KEEP_SECONDS, _SHARE_OF_WRITING * (ended - began))
        self._is_new = False
