"""What a manifest says, as digests: whether it still says the same when a plan is applied.

Stage: plan. Input: a `CacheIndex` and rows, or the fields of a saved plan. Output: digests.
Pure, no I/O.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import numpy as np

from fastprune.index.arrays import pieces
from fastprune.index.cache_index import CacheIndex, Rows
from fastprune.index.records import kept_records
from fastprune.layouts.layout import ManifestRecord
from fastprune.model import DIGEST_PREFIX


def said_digest(record: ManifestRecord, references: bytes) -> bytes:
    """The sha256 of what a manifest says, but for `pulled`; its digests and sizes are not used.

    `references` is the sha256 of the raw digests that it refers to, as `states` gives it.
    """
    # The length tells where one text ends and the next begins.
    text = f"{record.kind} {len(record.url)} {record.url}{record.created}"
    return hashlib.sha256(references + text.encode()).digest()


def pull_digest(record: ManifestRecord) -> bytes:
    """The sha256 of `pulled`."""
    return hashlib.sha256(record.pulled.encode()).digest()


def states(index: CacheIndex, rows: Rows) -> Iterator[tuple[ManifestRecord, bytes]]:
    """What manifests say, in the order of the rows.

    Yields:
        The record; and the sha256 of the raw digests that it refers to. Of an image: its
        layers, in order, and its config. Of a list: its cached children, ascending.
    """
    for block in pieces(rows):
        for record, children in zip(
            kept_records(index, block), _children(index, block), strict=True
        ):
            # The text is the index's own, so nothing has to be checked.
            raw = bytes.fromhex(record.digests.replace(DIGEST_PREFIX, "")) or children
            yield record, hashlib.sha256(raw).digest()


def _children(index: CacheIndex, rows: Rows) -> Iterator[bytes]:
    """The raw digests of the cached children of lists; nothing for an image."""
    # They are sorted by their parents.
    parents, wanted = index.child_parents, rows.astype(index.child_parents.dtype)
    firsts = np.searchsorted(parents, wanted, side="left").tolist()
    ends = np.searchsorted(parents, wanted, side="right").tolist()
    for first, end in zip(firsts, ends, strict=True):
        if first == end:
            yield b""
            continue
        # A child in both folders is one reference.
        named = {digest.tobytes() for digest in index.digests[index.child_rows[first:end]]}
        yield b"".join(sorted(named))
