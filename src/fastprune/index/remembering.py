"""What of an index is remembered.

Stage: index. Input: a `CacheIndex`. Output: columns, as `fastprune.index.remembered` has them.
Pure, no I/O.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastprune.index.arrays import marked, positions_in
from fastprune.index.cache_index import UNKNOWN_SIZE, CacheIndex
from fastprune.index.digests import Digests
from fastprune.index.remembered import RememberedFolder
from fastprune.model import file_names
from fastprune.reading.shards import UrlForm
from fastprune.text.escaping import in_utf8

_MOST_NAMES = 1_000
_AS_IN_THE_INDEX = (
    *("digests", "identities", "kinds", "url_lengths", "created", "pulled"),
    *("blob_digests", "child_parents", "child_rows"),
)
# The positions of so many rows stay in the processor's cache.
_ROWS_IN_PIECE = 1 << 13


@dataclass(frozen=True, slots=True, eq=False)
class Outcome:
    """What a scan found, and what of it can be remembered.

    Attributes:
        index: The cache, with edges and identities.
        strangers: Gives the rows of lists that name a child that is no row, in any order, and the
            head of each of these children, uint64.
        unread: For each manifest folder, the names without a row: uint8 (k, 32).
        newly_known: How many manifests were read and need not be read again.
        gone: How many remembered manifests are not there any more.
    """

    index: CacheIndex
    strangers: Callable[[], tuple[NDArray[np.int32], NDArray[np.uint64]]]
    unread: tuple[Digests, ...]
    newly_known: int
    gone: int

    def folders(
        self, identities: Sequence[str], irregular: Iterable[str]
    ) -> Iterator[RememberedFolder]:
        """What is to be remembered of the folders.

        Args:
            identities: The identity of each folder before it was listed.
            irregular: Paths that are named as manifests and are no regular files.
        """
        index = self.index
        foreign: dict[str, list[str]] = {}
        for path in index.foreign:
            foreign.setdefault(path.partition("/")[0], []).append(path)
        again = {path.partition("/")[0] for path in irregular}
        counts = [*np.diff(index.folder_starts).tolist(), index.blobs_present]
        unread = [*self.unread, index.digests[:0]]
        for name, identity, files, some in zip(
            index.layout.folders, identities, counts, unread, strict=True
        ):
            paths = foreign.get(name, [])
            # The file of a remembered scan is UTF-8, and a name need not be.
            is_text = all(in_utf8(path) == path for path in paths)
            fits = is_text and len(paths) + len(some) <= _MOST_NAMES
            if fits and name not in again:
                names = tuple(file_names(some.tobytes()))
                yield RememberedFolder(identity, files, names, tuple(paths))
            else:
                yield RememberedFolder("", files)

    def columns(self) -> dict[str, Callable[[], Iterable[NDArray[Any]]]]:
        """What makes each column, in pieces, as `fastprune.index.remembered` has them.

        One is made after the other, as all of them together would double the memory of a scan.
        """
        index = self.index
        columns: dict[str, Callable[[], Iterable[NDArray[Any]]]] = {
            name: partial(iter, [getattr(index, name)]) for name in _AS_IN_THE_INDEX
        }
        urls = index.url_pool, index.url_starts, index.url_lengths
        blobs = index.blob_ids, index.blob_starts, index.blob_counts
        return columns | {
            "url_forms": self._url_forms,
            "url_pool": partial(_in_row_order, *urls),
            "counts": self._counts,
            "blob_ids": partial(_in_row_order, *blobs),
            "blob_sizes": self._blob_sizes,
            "strangers": self._strangers_in_order,
        }

    def _url_forms(self) -> Iterator[NDArray[np.uint8]]:
        forms = self.index.digest_urls.astype(np.uint8) * np.uint8(UrlForm.DIGEST)
        forms[self.index.own_digest_urls] = UrlForm.OWN_DIGEST
        yield forms

    def _counts(self) -> Iterator[NDArray[np.uint32]]:
        parents, _ = self.strangers()
        named = np.bincount(parents, minlength=len(self.index)).astype(np.uint32)
        yield np.where(self.index.is_list, named, self.index.blob_counts)

    def _strangers_in_order(self) -> Iterator[NDArray[np.uint64]]:
        parents, strangers = self.strangers()
        # The order of those of one list does not matter. A stable sort takes much longer.
        yield strangers[np.argsort(parents)]

    def _blob_sizes(self) -> Iterator[NDArray[np.int64]]:
        """Without those of orphans: these are of their files, which are asked for again."""
        sizes = self.index.blob_sizes
        is_named = marked(self.index.blob_ids, len(sizes))
        for first in range(0, len(sizes), _ROWS_IN_PIECE):
            some = slice(first, first + _ROWS_IN_PIECE)
            yield np.where(is_named[some], sizes[some], UNKNOWN_SIZE)


def _in_row_order(
    pool: NDArray[Any], starts: NDArray[np.integer], lengths: NDArray[np.integer]
) -> Iterator[NDArray[Any]]:
    """The pieces of a pool that rows point to, row after row."""
    for first in range(0, len(starts), _ROWS_IN_PIECE):
        some = slice(first, first + _ROWS_IN_PIECE)
        yield pool.take(positions_in(starts[some].astype(np.int64), lengths[some]))


def without_odd_sized(index: CacheIndex, odd: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """The identities of all rows but those that refer to odd blobs.

    If descriptors give several sizes for a blob, one column of sizes can't remember which manifest
    says what. So these manifests are read by each scan. The index has identities.
    """
    identities = index.identities
    if odd.any():
        rows = np.flatnonzero(index.blob_counts)
        rows = rows[np.argsort(index.blob_starts[rows])]
        places = np.flatnonzero(odd[index.blob_ids])
        at = np.searchsorted(index.blob_starts[rows], places, side="right") - 1
        identities = identities.copy()
        identities[rows[at]] = 0
    return identities


def without_edges(index: CacheIndex) -> CacheIndex:
    """The index as a scan gives it that was not asked for edges."""
    none = np.empty(0, dtype=np.int32)
    numbers = np.empty(0, dtype=np.uint32)
    blobs = f"{index.layout.blob_folder}/"
    return replace(
        index,
        has_edges=False,
        twins=none,
        child_parents=none,
        child_rows=none,
        part_parents=none,
        part_rows=none,
        blob_starts=numbers,
        blob_counts=numbers,
        blob_ids=numbers,
        blob_digests=index.blob_digests[:0],
        blobs_present=0,
        blob_sizes=index.blob_sizes[:0],
        foreign=tuple(path for path in index.foreign if not path.startswith(blobs)),
        foreign_blobs=index.foreign_blobs[:0],
    )
