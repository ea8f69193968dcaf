"""What manifests say, as the index has kept it.

Stage: index. Input: a `CacheIndex` and rows. Output: `ManifestRecord`s. Pure, no I/O.
"""

from __future__ import annotations

from collections.abc import Iterator

from fastprune.index.cache_index import CacheIndex, Rows
from fastprune.layouts.layout import ManifestRecord
from fastprune.model import DIGEST_BYTES, DIGEST_PREFIX
from fastprune.reading.shards import ODD_TIME_CHARS


def kept_part(record: ManifestRecord) -> ManifestRecord:
    """What an index keeps of a record: no sizes, and of a list no digests.

    Of the children of a list it knows only those that are cached.
    """
    return ManifestRecord(
        record.kind,
        record.url,
        record.created[:ODD_TIME_CHARS],
        record.pulled[:ODD_TIME_CHARS],
        record.digests if record.sizes else "",
        [],
    )


def kept_records(index: CacheIndex, rows: Rows) -> Iterator[ManifestRecord]:
    """The records of some manifests, as `kept_part` of what their files said.

    The index was scanned with edges.
    """
    columns = zip(
        index.kinds[rows].tolist(),
        index.urls(rows),
        index.created_texts(rows),
        index.pulled_texts(rows),
        index.blob_starts[rows].tolist(),
        index.blob_counts[rows].tolist(),
        strict=True,
    )
    for kind, url, created, pulled, start, count in columns:
        ids = index.blob_ids[start : start + count]
        digests = _lines(index.blob_digests[ids].tobytes())
        yield ManifestRecord(kind, url, created, pulled, digests, [])


def _lines(digests: bytes) -> str:
    """Raw digests as a manifest writes them, a line each."""
    if not digests:
        return ""
    names = digests.hex("\n", DIGEST_BYTES)
    return DIGEST_PREFIX + names.replace("\n", f"\n{DIGEST_PREFIX}")
