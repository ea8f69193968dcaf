"""Results: takes what workers send, in any order, into the index that is being built.

Stage: index. Input: parts of listings, shards. Output: calls of `IndexBuilder`; what could not be
read. No I/O; it tells a `Progress`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from fastprune.errors import WorkerError
from fastprune.model import DIGEST_BYTES
from fastprune.progress import Progress
from fastprune.reading.folders import ListingPart
from fastprune.reading.shards import Fault, ShardIndex
from fastprune.scanning.pieces import Result, SoFar

if TYPE_CHECKING:
    from fastprune.index.builder import IndexBuilder
    from fastprune.index.digests import DigestTable
    from fastprune.index.merging import MergedShard

Positions = slice | list[int]
"""Positions in the listing of a folder."""


class Unread(NamedTuple):
    """A file that could not be read yet."""

    folder: int
    position: int
    digest: bytes
    fault: Fault


class ScanResults:
    """What came back so far, and what is still to come.

    Attributes:
        unread: What could not be read yet.
        foreign: Paths in the folder of blobs that are no cached files.
        remembered: How many manifests are as they are remembered.
    """

    def __init__(
        self, blob_folder: str, to_read: int, progress: Progress, checkpoint: Callable[[], None]
    ) -> None:
        """Expects nothing yet.

        `to_read` is the number of manifests. `checkpoint` is called for each result, and raises if
        the scan is to end.
        """
        self.unread: list[Unread] = []
        self.foreign: list[str] = []
        self.remembered = 0
        self._blob_folder, self._to_read = blob_folder, to_read
        self._progress, self._checkpoint = progress, checkpoint
        # Pieces of work without a result yet: number -> folder and positions in its listing.
        self._sent: dict[int, tuple[int, Positions]] = {}
        self._numbers = 0
        # How much of a piece was told before its result came.
        self._told: dict[int, SoFar] = {}
        self._blobs_listed = False
        self._doubted = False

    def expect(self, folder: int, positions: Positions) -> int:
        """Notes that some manifests are handed out; gives the number of that piece of work."""
        number = self._numbers
        self._numbers += 1
        self._sent[number] = folder, positions
        return number

    def build(self, builder: IndexBuilder) -> None:
        """Takes the builder of the index; to be called before the first result is taken."""
        from fastprune.index.digests import DigestSorter
        from fastprune.index.gathering import ShardGatherer

        self._builder, self._gatherer = builder, ShardGatherer(builder)
        self._blobs = DigestSorter()

    def set_blobs(self, blobs: DigestTable, foreign: Iterable[str]) -> None:
        """Takes the names in the folder of blobs, if they need not be listed."""
        self._builder.set_blobs(blobs)
        self.foreign += foreign
        self._blobs_listed = True

    def take(self, results: Iterable[Result], *, edges: bool, doubted: bool = False) -> None:
        """Takes all results of what was handed out.

        Args:
            results: Results, in any order.
            edges: Whether the blobs must be listed by the end.
            doubted: Whether what could not be read, or was gone, is to be read again in any case:
                a worker elsewhere may not see what is there.

        Raises:
            WorkerError: A result is missing: the index would not be whole.
        """
        listing = False
        self._doubted = doubted
        for result in results:
            self._checkpoint()
            if isinstance(result, SoFar):
                self._tell(result.chunk, result.read, result.size)
                self._told[result.chunk] = result
            elif isinstance(result, ShardIndex):
                self._add_read(result)
            elif not isinstance(result, ListingPart):
                self._add_merged(result)
            else:
                if not self._to_read and not listing:
                    # All manifests are read; a worker still lists the blobs.
                    listing = True
                    self._progress.stop()
                    self._progress.start("listing", None, "blobs")
                if listing:
                    self._progress.advance(len(result.digests) // DIGEST_BYTES)
                self._add_names(result)
        self._gatherer.flush()
        if self._sent or edges != self._blobs_listed:
            raise WorkerError("the scan is not whole: workers left something out")

    def _add_names(self, part: ListingPart) -> None:
        from fastprune.index.digests import as_digests

        self._blobs.add(as_digests(part.digests))
        self.foreign += [f"{self._blob_folder}/{name}" for name in part.foreign]
        if part.last:
            self._builder.set_blobs(self._blobs.table())
            self._blobs_listed = True

    def _add_merged(self, shard: MergedShard) -> None:
        folder, positions = self._sent.pop(shard.chunk)
        rows = self._builder.rows_of(folder, positions)
        self._builder.add(shard, rows)
        self._note(folder, positions, range(len(rows)), shard.faults)
        self._finish(shard.chunk, len(rows), int(shard.file_sizes.sum()))

    def _add_read(self, shard: ShardIndex) -> None:
        folder, positions = self._sent.pop(shard.chunk)
        rows = self._builder.rows_of(folder, positions)
        read = range(len(rows)) if shard.read is None else shard.read
        if len(read) < len(rows):
            self._builder.set_matches(rows, read, shard.known_matches)
        self._gatherer.add(shard, rows if shard.read is None else rows[read])
        self._note(folder, positions, read, shard.faults)
        if remembered := len(rows) - len(read):
            self.remembered += remembered
            self._progress.remembered(remembered)
        self._finish(shard.chunk, len(rows), sum(shard.file_sizes))

    def _note(
        self, folder: int, positions: Positions, read: Sequence[int], faults: Iterable[Fault]
    ) -> None:
        for fault in faults:
            place = read[fault.row]
            at = positions.start + place if isinstance(positions, slice) else positions[place]
            if self._doubted:
                fault = fault._replace(retry=True, vanished=False)  # noqa: PLW2901
            (row,) = self._builder.rows_of(folder, [at])
            self.unread.append(Unread(folder, at, self._builder.digest_of(row), fault))

    def _finish(self, number: int, count: int, size: int) -> None:
        self._to_read -= count
        self._tell(number, count, size)
        self._told.pop(number, None)

    def _tell(self, number: int, count: int, size: int) -> None:
        """Tells of what is new since the piece was told of last; one that runs again is not."""
        told = self._told.get(number, SoFar(number, 0, 0))
        self._progress.advance(max(0, count - told.read), max(0, size - told.size))

    def to_be_read_again(self) -> Iterator[tuple[int, list[Unread]]]:
        """Gives the files, folder by folder, that reading again may help; forgets them."""
        again = [unread for unread in self.unread if unread.fault.retry]
        self.unread = [unread for unread in self.unread if not unread.fault.retry]
        for folder in sorted({unread.folder for unread in again}):
            yield folder, [unread for unread in again if unread.folder == folder]
