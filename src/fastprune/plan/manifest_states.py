"""What a manifest says, as digests: whether it still says the same when a plan is applied.

Stage: plan. Input: a `CacheIndex` and rows, or the fields of a saved plan. Output: digests.
Pure, no I/O.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from fastprune.index.cache_index import CacheIndex, Rows

_BLOCK = 10_000


class State(NamedTuple):
    """What a manifest says, as far as it must still be true when it is removed.

    Attributes:
        kind: A value of `ManifestKind`.
        url: The image URL.
        created: As `CacheIndex.created_texts` gives it.
        pulled: In the same way.
        references: The sha256 of the raw digests that it refers to. Of an image: its layers,
            in order, and its config. Of a list: its cached children, ascending.
    """

    kind: int
    url: str
    created: str
    pulled: str
    references: bytes

    def said(self) -> bytes:
        """The sha256 of all but `pulled`."""
        # The length tells where one text ends and the next begins.
        text = f"{self.kind} {len(self.url)} {self.url}{self.created}"
        return hashlib.sha256(self.references + text.encode()).digest()

    def pull(self) -> bytes:
        """The sha256 of `pulled`."""
        return hashlib.sha256(self.pulled.encode()).digest()


def states(index: CacheIndex, rows: Rows) -> Iterator[State]:
    """What manifests say, in the order of the rows."""
    for first in range(0, len(rows), _BLOCK):
        block = rows[first : first + _BLOCK]
        columns = zip(
            index.kinds[block].tolist(),
            index.urls(block),
            index.created_texts(block),
            index.pulled_texts(block),
            _references(index, block),
            strict=True,
        )
        yield from map(State._make, columns)


def _references(index: CacheIndex, rows: Rows) -> Iterator[bytes]:
    is_list = index.is_list[rows]
    starts, counts = index.blob_starts[rows].astype(np.int64), index.blob_counts[rows]
    # Of a list the slice of its children, which are sorted by their parents.
    parents, wanted = index.child_parents, rows.astype(index.child_parents.dtype)
    firsts = np.where(is_list, np.searchsorted(parents, wanted, side="left"), starts)
    ends = np.where(is_list, np.searchsorted(parents, wanted, side="right"), starts + counts)
    for of_list, first, end in zip(is_list.tolist(), firsts.tolist(), ends.tolist(), strict=True):
        if of_list:
            children = index.digests[index.child_rows[first:end]]
            # A child in both folders is one reference.
            named = {digest.tobytes() for digest in children}
            raw = b"".join(sorted(named))
        else:
            raw = index.blob_digests[index.blob_ids[first:end]].tobytes()
        yield hashlib.sha256(raw).digest()
