"""A `CacheIndex` as plain values, so that two of them can be compared and read."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastprune.index.cache_index import CacheIndex


def decoded(index: CacheIndex) -> dict[str, Any]:
    """Everything in an index except the time of the scan.

    Positions in pools depend on the order of arrival. They become the values that they point to.
    """
    return {
        "root": index.root,
        "pattern_sets": index.pattern_sets,
        "has_edges": index.has_edges,
        "order": [index.path(row) for row in range(len(index))],
        "manifests": _manifests(index),
        "blobs": [
            (digest.tobytes().hex(), blob < index.blobs_present, int(size))
            for blob, (digest, size) in enumerate(
                zip(index.blob_digests, index.blob_sizes, strict=True)
            )
        ],
        "faults": index.faults,
        "foreign": index.foreign,
        "vanished": index.vanished,
    }


def children_of(index: CacheIndex, row: int) -> list[str]:
    """The paths of the cached children of a list."""
    rows = index.child_rows[index.child_parents == row]
    return [index.path(child) for child in rows.tolist()]


def blobs_of(index: CacheIndex, row: int) -> list[str]:
    """The digests that an image refers to, as often as it does."""
    start, count = int(index.blob_starts[row]), int(index.blob_counts[row])
    ids = index.blob_ids[start : start + count]
    return [index.blob_digests[blob].tobytes().hex() for blob in ids.tolist()]


def _manifests(index: CacheIndex) -> dict[str, dict[str, Any]]:
    rows = np.arange(len(index))
    created, pulled = index.created_texts(rows), index.pulled_texts(rows)
    return {
        index.path(row): _manifest(index, row)
        | {
            "created": (int(index.created[row]), created[row]),
            "pulled": (int(index.pulled[row]), pulled[row]),
        }
        for row in range(len(index))
    }


def _manifest(index: CacheIndex, row: int) -> dict[str, Any]:
    plain: dict[str, Any] = {
        "kind": int(index.kinds[row]),
        "url": index.url(row),
        "is_list": bool(index.is_list[row]),
        "digest_url": bool(index.digest_urls[row]),
        "file_size": int(index.file_sizes[row]),
        "declared": int(index.declared[row]) if len(index.declared) else None,
    }
    if index.pattern_sets:
        plain["url_match"] = int(index.url_matches[row])
    if index.has_edges:
        twin = int(index.twins[row])
        plain["twin"] = index.path(twin) if twin >= 0 else None
        plain["children"] = children_of(index, row)
        plain["blobs"] = blobs_of(index, row)
    return plain
