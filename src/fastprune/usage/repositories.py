"""The repositories and registries of many image URLs at once, as numbers.

Stage: report. Input: a `CacheIndex`. Output: arrays. Pure, no I/O.

URLs are split as `Reference.parse` does it, but inside the pool, by the places of `/`, `:`
and `@`: so there is no Python object per manifest.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from fastprune.index.cache_index import CacheIndex, Rows

_PIECE = 1 << 20
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
    starts = index.url_starts
    ends = starts + index.url_lengths
    ats = _places(index, "@")
    at = ats[np.searchsorted(ats, starts)]
    slash = np.maximum(_last_before(_places(index, "/"), ends), starts - 1)
    colon = _last_before(_places(index, ":"), ends)
    # A colon before the last slash belongs to a port.
    tagged = np.where((colon > slash) & ~index.own_digest_urls, colon, ends)
    lengths: NDArray[np.int64] = np.where(at < ends, at, tagged) - starts
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
    slashes = _places(index, "/")
    last = np.searchsorted(slashes, index.url_starts) + min(segments, len(slashes)) - 1
    slash = slashes[np.minimum(last, len(slashes) - 1)]
    cut: NDArray[np.int64] = np.minimum(lengths, slash - index.url_starts)
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


def _places(index: CacheIndex, char: str) -> NDArray[np.int64]:
    """Where a character is in the pool of URLs; with a place before and one behind all."""
    pool, code = index.url_pool, ord(char)
    found = [
        np.flatnonzero(pool[first : first + _PIECE] == code) + first
        for first in range(0, len(pool), _PIECE)
    ]
    return np.concatenate([[_BEFORE_ALL], *found, [_BEHIND_ALL]]).astype(np.int64)


def _last_before(places: NDArray[np.int64], ends: NDArray[np.int64]) -> NDArray[np.int64]:
    return places[np.searchsorted(places, ends) - 1]
