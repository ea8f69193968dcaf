"""The repositories and registries of many image URLs at once, as numbers.

Stage: report. Input: a `CacheIndex`. Output: arrays. Pure, no I/O.

URLs are split as `Reference.parse` does it, but inside the pool, by the places of `/`, `:`
and `@`: so there is no Python object per manifest.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from fastprune.index.arrays import pieces
from fastprune.index.cache_index import CacheIndex, Rows

_ROWS_AT_ONCE = 1 << 14
_BEFORE_ALL, _BEHIND_ALL = -1, 2**62


@dataclass(frozen=True, slots=True, eq=False)
class Names:
    """Distinct beginnings of image URLs; k of them for n manifests.

    Attributes:
        ids: int32 (n,): which one a row's URL begins with.
        rows: (k,): a row whose URL begins with it ...
        lengths: int64 (k,): ... and how many bytes of that URL it takes.
    """

    ids: NDArray[np.int32]
    rows: Rows
    lengths: NDArray[np.int64]


def repository_lengths(index: CacheIndex) -> NDArray[np.int64]:
    """How many bytes of each URL come before its tag or digest: int64 (n,)."""
    lengths = np.empty(len(index), dtype=np.int64)
    for rows, text, starts, ends in _in_pool_order(index):
        ats = _places(text, "@")
        at = ats[np.searchsorted(ats, starts)]
        slash = np.maximum(_last_before(_places(text, "/"), ends), starts - 1)
        colon = _last_before(_places(text, ":"), ends)
        # A colon before the last slash belongs to a port.
        tagged = np.where((colon > slash) & ~index.own_digest_urls[rows], colon, ends)
        lengths[rows] = np.where(at < ends, at, tagged) - starts
    return lengths


def cut_to_segments(
    index: CacheIndex, lengths: NDArray[np.int64], segments: int
) -> NDArray[np.int64]:
    """Cuts names down to their first segments; the registry is the first one.

    Args:
        index: The cache.
        lengths: int64 (n,): bytes of each URL that are a name.
        segments: How many to leave, at least 1.

    Returns:
        int64 (n,): bytes that are left.
    """
    cut = np.empty(len(index), dtype=np.int64)
    for rows, text, starts, _ in _in_pool_order(index):
        slashes = _places(text, "/")
        last = np.searchsorted(slashes, starts) + min(segments, len(slashes)) - 1
        slash = slashes[np.minimum(last, len(slashes) - 1)]
        cut[rows] = np.minimum(lengths[rows], slash - starts)
    return cut


def number_names(index: CacheIndex, lengths: NDArray[np.int64]) -> Names:
    """Numbers the distinct beginnings of URLs.

    Args:
        index: The cache.
        lengths: int64 (n,): bytes of each URL that are a name.
    """
    ids = np.empty(len(index), dtype=np.int32)
    named: list[Rows] = []
    count = 0
    by_length = np.argsort(lengths, kind="stable")
    distinct, starts = np.unique(lengths[by_length], return_index=True)
    ends = [*starts.tolist(), len(by_length)]
    for length, (start, end) in zip(distinct.tolist(), pairwise(ends), strict=True):
        rows = by_length[start:end]
        if length:
            windows = sliding_window_view(index.url_pool, length)[index.url_starts[rows]]
            # numpy drops NULs at the end; texts of one length differ all the same.
            texts = np.ascontiguousarray(windows).view(f"S{length}")[:, 0]
            _, first, same = np.unique(texts, return_index=True, return_inverse=True)
        else:
            first, same = np.zeros(1, dtype=np.intp), np.zeros(len(rows), dtype=np.intp)
        ids[rows] = same + count
        named.append(rows[first])
        count += len(first)
    name_rows = np.concatenate(named) if named else np.empty(0, dtype=np.intp)
    return Names(ids, name_rows, lengths[name_rows])


def _in_pool_order(
    index: CacheIndex,
) -> Iterator[tuple[Rows, NDArray[np.uint8], NDArray[np.int64], NDArray[np.int64]]]:
    """The rows in the order of their URLs in the pool: so the memory is read from end to end.

    Yields:
        Some rows, the part of the pool that has their URLs, and where in it each begins and ends.
    """
    for rows in pieces(np.argsort(index.url_starts), _ROWS_AT_ONCE):
        starts = index.url_starts[rows]
        ends = starts + index.url_lengths[rows]
        first = starts[0]
        yield rows, index.url_pool[first : ends.max()], starts - first, ends - first


def _places(text: NDArray[np.uint8], char: str) -> NDArray[np.int64]:
    """Where a character is in a text; with a place before and one behind all."""
    found = np.flatnonzero(text == ord(char))
    return np.concatenate([[_BEFORE_ALL], found, [_BEHIND_ALL]]).astype(np.int64)


def _last_before(places: NDArray[np.int64], ends: NDArray[np.int64]) -> NDArray[np.int64]:
    return places[np.searchsorted(places, ends) - 1]
