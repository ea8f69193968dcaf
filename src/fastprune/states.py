"""What a manifest says, as digests: whether it still says the same when a plan is applied.

Stage: plan. Input: a `CacheIndex` and rows, or the fields of a saved plan. Output: digests.
Pure, no I/O.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from fastprune.index import CacheIndex, Rows
from fastprune.refcounts import edges_of

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
    is_list = index.is_list[rows].tolist()
    starts = index.blob_starts[rows].astype(np.int64)
    ends = (starts + index.blob_counts[rows]).tolist()
    for row, start, end, of_list in zip(rows.tolist(), starts.tolist(), ends, is_list, strict=True):
        if of_list:
            children = index.child_rows[edges_of(index, np.array([row]))]
            # A child in both folders is one reference.
            named = {digest.tobytes() for digest in index.digests[children]}
            raw = b"".join(sorted(named))
        else:
            raw = index.blob_digests[index.blob_ids[start:end]].tobytes()
        yield hashlib.sha256(raw).digest()
