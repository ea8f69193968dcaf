"""The rows of shards: some of them, those of several shards together, and their whole URLs.

Stage: parse. Input and output: `ShardIndex`es. Pure, no I/O, and no numpy.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate, chain
from typing import TypeVar

from fastprune.model import DIGEST_BYTES, DIGEST_PREFIX
from fastprune.reading.marks import IDENTITY_BYTES
from fastprune.reading.shards import TIME_CHARS, ShardIndex, UrlForm

Pool = TypeVar("Pool", bytes, "array[int]")


def rows_of_shard(shard: ShardIndex, rows: Sequence[int]) -> ShardIndex:
    """Some rows of a shard, as a shard.

    Args:
        shard: The whole.
        rows: Which, ascending.
    """
    places = {row: place for place, row in enumerate(rows)}
    counts = shard.digest_counts
    # Only images give sizes.
    sized = array("I", [count * (shard.kinds[row] & 1) for row, count in enumerate(counts)])

    def fixed(column: bytes, width: int) -> bytes:
        return b"".join(column[row * width : (row + 1) * width] for row in rows)

    return ShardIndex(
        chunk=shard.chunk,
        kinds=bytes(shard.kinds[row] for row in rows),
        url_forms=bytes(shard.url_forms[row] for row in rows),
        url_bytes=b"".join(_cut(shard.url_bytes, shard.url_lengths, rows)),
        url_lengths=_picked(shard.url_lengths, rows),
        created=fixed(shard.created, TIME_CHARS),
        pulled=fixed(shard.pulled, TIME_CHARS),
        odd_times=tuple(
            (places[row], column, text) for row, column, text in shard.odd_times if row in places
        ),
        url_matches=_picked(shard.url_matches, rows),
        file_sizes=_picked(shard.file_sizes, rows),
        declared=_picked(shard.declared, rows),
        digest_counts=_picked(counts, rows),
        digests=b"".join(_cut(shard.digests, counts, rows, width=DIGEST_BYTES)),
        sizes=array("q", chain.from_iterable(_cut(shard.sizes, sized, rows))),
        faults=tuple(
            fault._replace(row=places[fault.row]) for fault in shard.faults if fault.row in places
        ),
        mismatches=tuple(
            odd._replace(row=places[odd.row]) for odd in shard.mismatches if odd.row in places
        ),
        identities=fixed(shard.identities, IDENTITY_BYTES),
    )


def _picked(column: array[int], rows: Sequence[int]) -> array[int]:
    """Some rows of a column; an empty column stays empty."""
    return array(column.typecode, [column[row] for row in rows] if column else [])


def _cut(pool: Pool, lengths: array[int], rows: Sequence[int], *, width: int = 1) -> Iterator[Pool]:
    """The pieces of a pool that belong to some rows; `lengths` counts items of a width."""
    if not lengths:
        return
    ends = list(accumulate(lengths))
    for row in rows:
        yield pool[(ends[row] - lengths[row]) * width : ends[row] * width]


def joined_shards(shards: Sequence[ShardIndex]) -> ShardIndex:
    """Shards one after the other, as one shard: the opposite of `rows_of_shard`.

    Args:
        shards: At least one; all with edges or all without, and of the same pattern sets. Which
            files of their chunks have a row is not told any more.

    Returns:
        Their rows in order, with the chunk number of the first.
    """
    if len(shards) == 1:
        return shards[0]
    starts = list(accumulate((len(shard.kinds) for shard in shards), initial=0))
    placed = list(zip(starts, shards, strict=False))

    def pool(name: str) -> bytes:
        return b"".join([getattr(shard, name) for shard in shards])

    def column(name: str) -> array[int]:
        whole: array[int] = array(getattr(shards[0], name).typecode)
        whole.frombytes(pool(name))
        return whole

    return ShardIndex(
        chunk=shards[0].chunk,
        kinds=pool("kinds"),
        url_forms=pool("url_forms"),
        url_bytes=pool("url_bytes"),
        url_lengths=column("url_lengths"),
        created=pool("created"),
        pulled=pool("pulled"),
        odd_times=tuple(
            (start + row, which, text)
            for start, shard in placed
            for row, which, text in shard.odd_times
        ),
        url_matches=column("url_matches"),
        file_sizes=column("file_sizes"),
        declared=column("declared"),
        digest_counts=column("digest_counts"),
        digests=pool("digests"),
        sizes=column("sizes"),
        faults=tuple(
            fault._replace(row=start + fault.row)
            for start, shard in placed
            for fault in shard.faults
        ),
        mismatches=tuple(
            odd._replace(row=start + odd.row) for start, shard in placed for odd in shard.mismatches
        ),
        identities=pool("identities"),
    )


def whole_urls(
    forms: bytes, pool: bytes, lengths: Sequence[int], names: Sequence[str]
) -> Callable[[int], bytes]:
    """Gives the URLs in UTF-8 that a shard holds, with the digests that it leaves out.

    Args:
        forms: `url_forms` of the shard.
        pool: Its `url_bytes`.
        lengths: Its `url_lengths`.
        names: The file name of each row.

    Returns:
        A function of the row.
    """
    ends = list(accumulate(lengths))

    def whole(row: int) -> bytes:
        url = pool[ends[row] - lengths[row] : ends[row]]
        own = forms[row] == UrlForm.OWN_DIGEST
        return url + f"@{DIGEST_PREFIX}{names[row]}".encode() if own else url

    return whole
