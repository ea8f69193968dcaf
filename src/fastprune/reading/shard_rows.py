"""The rows of shards: those of several shards together, and their whole URLs.

Stage: parse. Input and output: `ShardIndex`es. Pure, no I/O, and no numpy.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Sequence
from itertools import accumulate

from fastprune.model import DIGEST_PREFIX
from fastprune.reading.shards import ShardIndex, UrlForm


def joined_shards(shards: Sequence[ShardIndex]) -> ShardIndex:
    """Shards one after the other, as one shard with the chunk number of the first.

    There is at least one; all with edges or all without, and of the same pattern sets. Which files
    of their chunks have a row is not told any more.
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
    """Gives the URL of a row in UTF-8, with the digest that a shard leaves out.

    Forms, pool and lengths are columns of the shard; the file name of each row is in `names`.
    """
    ends = list(accumulate(lengths))

    def whole(row: int) -> bytes:
        url = pool[ends[row] - lengths[row] : ends[row]]
        own = forms[row] == UrlForm.OWN_DIGEST
        return url + f"@{DIGEST_PREFIX}{names[row]}".encode() if own else url

    return whole
