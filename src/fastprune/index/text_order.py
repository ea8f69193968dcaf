"""Orders rows by texts that are made piece by piece, such as their URLs.

Stage: select, report. Input: rows, and what makes the texts of some. Output: rows. Pure, no I/O.

A list of ten million texts takes more memory than the whole index. So this is a sample sort (Frazer
and McKellar, 1970): a sample gives the texts that part the rows into buckets, and each bucket is
sorted by itself. Each text is made twice, and only those of one bucket are there at a time.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable

import numpy as np

from fastprune.index.cache_index import Rows

_IN_BUCKET = 1 << 16
_SAMPLES = 32
"""So many texts of the sample for each bucket: then few buckets are twice as large as others."""


def in_text_order(
    rows: Rows, texts_of: Callable[[Rows], list[str]], *, in_bucket: int = _IN_BUCKET
) -> Rows:
    """Orders rows by their texts; those with the same text stay in their order.

    About `in_bucket` texts are there at once.
    """
    if len(rows) <= in_bucket:
        texts = texts_of(rows)
        return rows[sorted(range(len(rows)), key=texts.__getitem__)]
    buckets = -(-len(rows) // in_bucket)
    sample = sorted(texts_of(rows[:: max(1, len(rows) // (buckets * _SAMPLES))]))
    bounds = sorted({sample[len(sample) * number // buckets] for number in range(1, buckets)})
    bucket_of = np.empty(len(rows), dtype=np.uint16)
    for first in range(0, len(rows), in_bucket):
        piece = slice(first, first + in_bucket)
        bucket_of[piece] = [bisect_right(bounds, text) for text in texts_of(rows[piece])]
    ordered = rows[np.argsort(bucket_of, kind="stable")]
    ends = np.cumsum(np.bincount(bucket_of, minlength=len(bounds) + 1)).tolist()
    del bucket_of
    for first, end in zip([0, *ends], ends, strict=False):
        some = ordered[first:end]
        texts = texts_of(some)
        ordered[first:end] = some[sorted(range(len(some)), key=texts.__getitem__)]
    return ordered
