"""Recalled: how the files of a cache that is scanned relate to a remembered scan.

Stage: index. Input: a `RememberedScan`, listings. Output: what workers are to compare, and rows.
Pure, no I/O. Without numpy as long as no manifest came or went: then workers need not wait for it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastprune.index.remembered import RememberedScan
from fastprune.model import DIGEST_BYTES
from fastprune.reading.marks import IDENTITY_BYTES, NO_IDENTITY, Known

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from fastprune.index.digests import DigestTable

_UINT32_BYTES = 4


class Recalled:
    """A remembered scan, beside the names that its folders have now.

    Attributes:
        scan: What is remembered.
        folders: What is remembered of the folders: those of the manifests, then that of the blobs.
        is_same: Whether each has the names that are remembered, so that it need not be listed.
    """

    def __init__(self, scan: RememberedScan, racy: int, identities: list[str]) -> None:
        """Knows of no names yet. `identities` are what the folders are now."""
        self.scan = scan
        self.folders = scan.header.folders
        self.is_same = [
            folder.identity == identity != ""
            for folder, identity in zip(self.folders, identities, strict=True)
        ]
        self._racy = racy
        self._folders = self.folders[:-1]
        self._first = [
            sum(one.files for one in self._folders[:at]) for at in range(len(self._folders))
        ]
        # For each folder, the remembered row of each listed name, -1 for a new one; None while all
        # names are as they were remembered.
        self._rows: list[NDArray[np.int64]] | None = None
        # For sequential reading: folder -> position, and where its URL begins in the pool.
        self._at: dict[int, tuple[int, int]] = {}

    @property
    def has_same_names(self) -> bool:
        """Whether the manifests have the same names as before, and each had a row."""
        return self._rows is None

    def digests(self) -> NDArray[np.uint8] | None:
        """The digests of all rows, uint8 (n, 32), if they are those of the names there are now."""
        return self.scan.column("digests") if self.has_same_names else None

    def blobs(self) -> DigestTable:
        """The names of the files in the folder of blobs, which has the same names as before."""
        from fastprune.index.digests import DigestTable

        return DigestTable(self.scan.column("blob_digests")[: self.folders[-1].files])

    def blob_ids(self, table: DigestTable) -> NDArray[np.integer]:
        """The position of each remembered blob in a table of those with a file, -1 without one."""
        import numpy as np

        if not self.is_same[-1]:
            return table.find(self.scan.column("blob_digests"))
        ids = np.arange(len(self.scan.column("blob_sizes")), dtype=np.int32)
        ids[self.folders[-1].files :] = -1
        return ids

    def names(self, folder: int) -> bytes | memoryview:
        """The names that a manifest folder had, 32 raw bytes each: those with a row come first."""
        first, count = self._first[folder], self._folders[folder].files
        unread = "".join(self._folders[folder].unread)
        listed = self.scan.raw("digests")[first * DIGEST_BYTES : (first + count) * DIGEST_BYTES]
        return bytes(listed) + bytes.fromhex(unread) if unread else listed

    def compare(self, listings: list[bytes | memoryview]) -> None:
        """Finds the remembered rows of the names that are there now, 32 raw bytes each.

        It sorts them, as the remembered rows are: columns are taken from there.
        """
        if all(self.is_same[:-1]) and not any(folder.unread for folder in self._folders):
            return
        import numpy as np

        from fastprune.index.arrays import marked, starts_of
        from fastprune.index.digests import as_digests, find_sorted, sort_order

        digests = self.scan.column("digests")
        self._rows = []
        new = []
        for number, (folder, first) in enumerate(zip(self._folders, self._first, strict=True)):
            listed = as_digests(listings[number])
            listed = np.take(listed, sort_order(listed), axis=0)
            found = find_sorted(digests[first : first + folder.files], listed)
            listings[number] = listed.tobytes()
            new.append(listed[found < 0])
            found[found >= 0] += first
            self._rows.append(found)
        # A list may name children that had no row. One of them may have one now: then what the
        # list takes along has changed, although its file has not. A manifest that could not be
        # read before counts as new.
        self._again = marked(self._lists_naming(np.concatenate(new)), len(self.scan))
        self._starts = starts_of(self.scan.column("url_lengths"))

    def _lists_naming(self, digests: NDArray[np.uint8]) -> NDArray[np.intp]:
        """Rows of lists that may name one of these as a child that was not there."""
        import numpy as np

        from fastprune.index.arrays import distinct
        from fastprune.index.remembered_rows import heads

        strangers = self.scan.column("strangers")
        if not len(digests) or not len(strangers):
            return np.empty(0, dtype=np.intp)
        # `np.isin` sorts all of them.
        wanted = np.sort(heads(digests))
        at = np.minimum(np.searchsorted(wanted, strangers), len(wanted) - 1)
        named = np.flatnonzero(wanted[at] == strangers)
        is_list = self.scan.column("kinds") & 1 == 0
        ends = np.cumsum(np.where(is_list, self.scan.column("counts"), 0), dtype=np.int64)
        return distinct(np.searchsorted(ends, named, side="right"))

    def known(self, folder: int, first: int, count: int, *, urls: bool) -> Known:
        """What workers are to compare so many files of a folder with.

        `first` is the position of the first of them in the listing; those before it were asked for
        before. `urls` says whether their URLs are to be matched with patterns.
        """
        if self._rows is not None:
            return self._gathered(self._rows[folder][first : first + count], urls=urls)
        start = self._first[folder]
        remembered = max(0, min(count, self._folders[folder].files - first))
        rows = slice(start + first, start + first + remembered)
        identities = self._bytes("identities", rows, IDENTITY_BYTES)
        identities += NO_IDENTITY * (count - remembered)
        if not urls:
            return Known(self._racy, identities)
        lengths = self._bytes("url_lengths", rows, _UINT32_BYTES)
        begin = self._pool_start(folder, first)
        end = begin + sum(memoryview(lengths).cast("I"))
        self._at[folder] = first + count, end
        return Known(
            self._racy,
            identities,
            self._bytes("url_forms", rows, 1) + bytes(count - remembered),
            bytes(self.scan.raw("url_pool")[begin:end]),
            lengths + bytes(_UINT32_BYTES * (count - remembered)),
        )

    def _bytes(self, name: str, rows: slice, width: int) -> bytes:
        return bytes(self.scan.raw(name)[rows.start * width : rows.stop * width])

    def _pool_start(self, folder: int, first: int) -> int:
        """Where the URLs of a row begin in the pool."""
        position, at = self._at.get(folder, (0, -1))
        if at < 0:
            before = self.scan.raw("url_lengths")[: self._first[folder] * _UINT32_BYTES]
            position, at = 0, sum(before.cast("I"))
        assert position == first
        return at

    def _gathered(self, rows: NDArray[np.int64], *, urls: bool) -> Known:
        import numpy as np

        from fastprune.index.arrays import positions_in

        there = rows >= 0
        there[there] = ~self._again[rows[there]]
        remembered = rows[there]

        def column(name: str) -> NDArray[Any]:
            whole = self.scan.column(name)
            found = np.zeros((len(rows), *whole.shape[1:]), dtype=whole.dtype)
            found[there] = np.take(whole, remembered, axis=0)
            return found

        identities = column("identities").tobytes()
        if not urls:
            return Known(self._racy, identities)
        lengths = column("url_lengths")
        places = positions_in(self._starts[remembered], lengths[there])
        return Known(
            self._racy,
            identities,
            column("url_forms").tobytes(),
            self.scan.column("url_pool").take(places).tobytes(),
            lengths.tobytes(),
        )

    def rows_in(self, positions: list[NDArray[np.int32]]) -> NDArray[np.int64]:
        """Where remembered rows are in an index that is being built: int64 (n,), -1 if not there.

        For each folder, `positions` has the row there of each listed name.
        """
        import numpy as np

        found = np.full(len(self.scan), -1, dtype=np.int64)
        for at, there in enumerate(positions):
            if self._rows is None:
                first, count = self._first[at], self._folders[at].files
                found[first : first + count] = there[:count]
            else:
                rows = self._rows[at]
                found[rows[rows >= 0]] = there[rows >= 0]
        return found
