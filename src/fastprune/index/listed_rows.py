"""ListedRows: which row of an index each listed name has.

Stage: index. Input: names of files. Output: rows, tables of digests. Pure: no I/O.

Every row has its place before the first manifest is read. So the index is the same whatever shards
it was merged from.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate, pairwise

import numpy as np
from numpy.typing import NDArray

from fastprune.index.digests import Digests, DigestTable, as_digests, repeated, sort_order
from fastprune.model import DIGEST_BYTES


class ListedRows:
    """The names in the manifest folders, sorted folder by folder: a row for each.

    Attributes:
        digests: uint8 (n, 32): the name of each row.
        starts: The first row of each folder, and n.
        tables: For each folder, its names; the first has the row `starts[folder]`.
        positions: For each folder, int32: the row of each of its names, in the listing's order.
        has_twice: Whether a folder lists a name more than once.
    """

    __slots__ = ("digests", "has_twice", "positions", "starts", "tables")

    def __init__(self, names: Sequence[bytes | memoryview], ordered: Digests | None = None) -> None:
        """Sorts the names, raw digests, of each manifest folder.

        `ordered` are the names, folder after folder, if they are sorted and each is there once.
        """
        self.starts = list(accumulate((len(raw) // DIGEST_BYTES for raw in names), initial=0))
        none = (self.starts[-1], DIGEST_BYTES)
        self.digests = np.empty(none, dtype=np.uint8) if ordered is None else ordered
        self.tables: list[DigestTable] = []
        self.positions: list[NDArray[np.int32]] = []
        self.has_twice = False
        for raw, (first, last) in zip(names, pairwise(self.starts), strict=True):
            listed = as_digests(raw)
            order = sort_order(listed)
            if ordered is None:
                np.take(listed, order, axis=0, out=self.digests[first:last])
            named = np.arange(first, last, dtype=np.int32)
            # A folder that changes while it is listed may give a name twice, and some union
            # file systems always do. Only the first row gets the manifest; the second stays
            # absent. With two rows, a file could be kept by one and removed by the other.
            for again in repeated(self.digests[first:last]).tolist():
                named[again] = named[again - 1]
                self.has_twice = True
            positions = np.empty(len(order), dtype=np.int32)
            positions[order] = named
            self.positions.append(positions)
            self.tables.append(DigestTable(self.digests[first:last]))

    def twins(self) -> NDArray[np.int32]:
        """int32 (n,): for each row, that of the same name in the other folder; -1 without one."""
        twins = np.full(self.starts[-1], -1, dtype=np.int32)
        if len(self.tables) == 1:
            return twins
        first, second = self.tables
        found = first.find(second.digests)
        here = np.flatnonzero(found >= 0)
        twins[here + self.starts[1]] = found[here]
        twins[found[here]] = here + self.starts[1]
        return twins
