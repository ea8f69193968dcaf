"""Verifies a cache: scans it, measures and reads blobs, and looks twice at odd files.

Stage: walk to plan. Input: the path of a cache, an executor. Output: `Findings`. Blocking;
I/O: reads only, in workers.

No lock is taken, so a prune or a server may be at work meanwhile. So every file that looks
damaged is checked once more in the end: one that is gone or whole by then was being removed
or written.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from fastprune.executors.executor import Executor
from fastprune.executors.inline import here_if_remote
from fastprune.model import in_chunks
from fastprune.progress import NoProgress, Progress
from fastprune.reading.blob_contents import SalvageTask, mark_files, salvage_digests
from fastprune.reading.chunks import ReadTask, read_chunk
from fastprune.reading.folders import StatTask, check_root, reading
from fastprune.reading.marks import ABSENT_MARK, MARK_FIELDS, FileMark
from fastprune.reading.shards import Fault
from fastprune.scanning.content_since import Since, check_since, file_of_checks
from fastprune.scanning.measuring import measure_blobs
from fastprune.scanning.scanner import ScanOptions, scan_and_keep_executor

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from fastprune.index.cache_index import CacheIndex, Rows
    from fastprune.index.digests import Digests
    from fastprune.scanning.kept_file import KeptFile
    from fastprune.verification.findings import (
        ContentCheck,
        Evidence,
        Findings,
        OddBlobs,
        UnreadableManifest,
    )

_FILES_IN_TASK = 1_024


@dataclass(frozen=True, slots=True)
class VerifyOptions:
    """How to verify.

    Attributes:
        scan: How to scan; edges and names are always checked, and all manifests read. With its
            `state` and `content`, the blobs that are found sound are remembered there.
        content: Whether to read blobs to the end, to compare the sha256 with the name.
            Blobs whose size is odd are always read.
        sample: Which part of the blobs to read, from 0 to 1.
        seed: The seed that chooses the sample, from 0 to 2^64 - 1.
        content_since: With `content`: blobs that were verified since then and have not changed are
            not read again. A time (without a zone, that of this machine), or `last` for what the
            last run, and those that it went on with, have verified. None reads all.
    """

    scan: ScanOptions = field(default_factory=ScanOptions)
    content: bool = False
    sample: float = 1
    seed: int = 0
    content_since: Since = None


def verify_cache(
    root: str,
    open_executor: Callable[[int], Executor],
    options: VerifyOptions,
    *,
    progress: Progress | None = None,
    checkpoint: Callable[[], None] = lambda: None,
) -> Findings:
    """Verifies a cache. Blocking; `fastprune.api.verify` is its asynchronous face.

    `open_executor` gives the executor for a number of manifests. `checkpoint` is called often, and
    raises if the work is to end.

    Raises:
        NoCacheError: There is no cache at this path.
        UsageError: `content_since` can't be used; or the folder for state lies in the cache.
        CacheReadError: A folder can't be listed, or a file not be asked about.
        WorkerError: A worker died.
    """
    started = time.monotonic()
    kept = _kept_file(root, options)
    scan_options = replace(options.scan, edges=True, check_names=True)
    index, executor = scan_and_keep_executor(
        root, open_executor, scan_options, progress=progress, checkpoint=checkpoint
    )
    scanned = time.monotonic()
    again, told = here_if_remote(executor), progress or NoProgress()
    verification = _Verification(index, executor, again, options, told, checkpoint, kept)
    with reading(root):
        evidence, content = verification.gather()
    from fastprune.verification.findings import find

    verified = time.monotonic()
    return find(index, evidence, content, {"scan": scanned - started, "verify": verified - scanned})


def _kept_file(root: str, options: VerifyOptions) -> KeptFile | None:
    """Where to remember what is verified; asked first, as a scan takes long."""
    since, scan = options.content_since, options.scan
    check_since(since, scan.state, time.time())
    if not options.content:
        return None
    check_root(root, scan.layout)
    return file_of_checks(root, scan.layout, scan.state, wanted=since is not None)


@dataclass(frozen=True, slots=True)
class _Verification:
    """One verification, after its scan; `again` is where what seems damaged is looked at again."""

    index: CacheIndex
    executor: Executor
    again: Executor
    options: VerifyOptions
    progress: Progress
    checkpoint: Callable[[], None]
    kept: KeptFile | None

    def gather(self) -> tuple[Evidence, ContentCheck]:
        """Finds the facts that are not in the index."""
        import numpy as np

        from fastprune.verification.findings import Evidence, find, odd_sizes, sampled

        index, options = self.index, self.options
        sizes = measure_blobs(index, index.present_digests, self.executor, self.progress).sizes
        blobs = odd_sizes(index, sizes)
        if options.content:
            blobs = np.union1d(blobs, sampled(index, options.sample, options.seed))
        odd, content = self._read_blobs(blobs, sizes)
        first = Evidence(sizes, odd, vanished=np.zeros(len(index), dtype=bool))
        findings = find(index, first, content, {})
        return self._look_again(first, findings), content

    def _read_blobs(self, blobs: Rows, sizes: NDArray[np.int64]) -> tuple[OddBlobs, ContentCheck]:
        import numpy as np

        from fastprune.scanning.blob_memory import BlobMemory
        from fastprune.verification.blob_reading import read_blobs
        from fastprune.verification.findings import ContentCheck

        options = self.options
        memory, known = None, blobs[:0]
        if self.kept is not None:
            memory = BlobMemory(self.kept, self.index, self.again, options.content_since)
            known = memory.unchanged(blobs, self.progress, self.checkpoint)
        started = time.monotonic()
        read = np.setdiff1d(blobs, known, assume_unique=True)
        odd, size = read_blobs(
            self.index, read, sizes, self.executor, memory, self.progress, self.checkpoint
        )
        return odd, ContentCheck(
            blobs=len(read),
            size=size,
            seconds=time.monotonic() - started,
            sample=options.sample if options.content else 0,
            seed=options.seed,
            known_blobs=len(known),
            known_size=int(sizes[known].sum()),
            since=None if memory is None else memory.since,
        )

    def _look_again(self, evidence: Evidence, findings: Findings) -> Evidence:
        """Checks once more what seems damaged: it may have been incomplete."""
        import numpy as np

        from fastprune.index.digests import as_digests

        index, rows = self.index, findings.damaged_rows
        marks = np.empty((len(rows), MARK_FIELDS), dtype=np.int64)
        matching: list[int] = []
        unreadable: list[UnreadableManifest] = []
        mentioned = bytearray()
        for folder, first, last in index.folder_rows:
            # Marks first: a repair leaves files alone that change from here on.
            here = slice(*np.searchsorted(rows, (first, last)).tolist())
            marks[here] = self._marks(folder, index.digests[rows[here]])
            doubtful = np.intersect1d(rows[here], findings.mismatched)
            digests = index.digests[doubtful].tobytes()
            still = self._read_again(folder, digests)
            matching += [int(row) for at, row in enumerate(doubtful) if at not in still]
            faults = list(self._unreadable(folder))
            unreadable += faults
            files = [fault.path for fault in faults if fault.mark != ABSENT_MARK]
            names = [path.rpartition("/")[2] for path in files]
            mentioned += self._salvage(folder, digests + bytes.fromhex("".join(names)))
        vanished = evidence.vanished.copy()
        vanished[rows[marks[:, 0] == ABSENT_MARK.inode]] = True
        missing = findings.missing
        found = self._marks(index.layout.blob_folder, index.blob_digests[missing])
        return replace(
            evidence,
            vanished=vanished,
            appeared=missing[found[:, 0] != ABSENT_MARK.inode],
            unreadable=tuple(unreadable),
            mentioned=as_digests(mentioned),
            matching=np.array(sorted(matching), dtype=np.intp),
            marked_rows=rows,
            marks=marks,
        )

    def _unreadable(self, folder: str) -> Iterator[UnreadableManifest]:
        import numpy as np

        from fastprune.index.digests import as_digests
        from fastprune.verification.findings import UnreadableManifest

        paths = [path for path, _ in self.index.faults if path.startswith(f"{folder}/")]
        names = [path.rpartition("/")[2] for path in paths]
        digests = as_digests(bytes.fromhex("".join(names)))
        marks = self._marks(folder, digests)
        # Only regular files are opened.
        regular = np.flatnonzero(marks[:, 0] != ABSENT_MARK.inode)
        read = self._read_again(folder, digests[regular].tobytes())
        still = {at: read[place] for place, at in enumerate(regular.tolist()) if place in read}
        reasons = dict(self.index.faults)
        for at, path in enumerate(paths):
            is_file = marks[at, 0] != ABSENT_MARK.inode
            if fault := still.get(at):
                mark = FileMark(*marks[at].tolist())
                yield UnreadableManifest(path, fault.reason, mark, fault.unknown)
            elif not is_file and os.path.lexists(os.path.join(self.index.root, path)):
                yield UnreadableManifest(path, reasons[path], ABSENT_MARK, unknown=True)

    def _salvage(self, folder: str, digests: bytes) -> bytes:
        """The raw digests that damaged manifests seem to refer to."""
        path = os.path.join(self.index.root, folder)
        most = self.options.scan.max_manifest_bytes
        layout, chunks = self.index.layout, in_chunks(digests, _FILES_IN_TASK)
        tasks = [SalvageTask(path, some, most, layout) for _, some in chunks]
        return b"".join(self.again.map_unordered(salvage_digests, tasks) if tasks else ())

    def _marks(self, folder: str, digests: Digests) -> NDArray[np.int64]:
        """Marks of files, int64 (n, `MARK_FIELDS`)."""
        import numpy as np

        path = os.path.join(self.index.root, folder)
        tasks = [StatTask(path, *chunk) for chunk in in_chunks(digests.tobytes(), _FILES_IN_TASK)]
        marks = np.full((len(digests), MARK_FIELDS), ABSENT_MARK.inode, dtype=np.int64)
        if not tasks or not os.path.isdir(path):
            return marks
        for part in self.again.map_unordered(mark_files, tasks):
            columns = np.frombuffer(part.marks, dtype=np.int64).reshape(-1, MARK_FIELDS)
            marks[part.first : part.first + len(columns)] = columns
        return marks

    def _read_again(self, folder: str, digests: bytes) -> dict[int, Fault]:
        """Reads manifests once more, and returns the faults that are still there."""
        tasks = [
            ReadTask(
                folder=os.path.join(self.index.root, folder),
                chunk=first,
                digests=some,
                max_bytes=self.options.scan.max_manifest_bytes,
                edges=True,
                pattern_sets=(),
                layout=self.index.layout,
                check_names=True,
            )
            for first, some in in_chunks(digests, _FILES_IN_TASK)
        ]
        damaged: dict[int, Fault] = {}
        for shard in self.again.map_unordered(read_chunk, tasks) if tasks else ():
            odd = [fault for fault in shard.faults if not fault.vanished]
            odd += [Fault(row, reason) for row, reason in shard.mismatches]
            damaged |= {shard.chunk + fault.row: fault for fault in odd}
        return damaged
