"""Finds by which URLs a running server knows the manifests of a cache.

Stage: index. Input: a `CacheIndex` and a `ServerListing`. Output: `KnownUrls`. Pure, no I/O.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from fastprune.index.arrays import marked, pieces
from fastprune.index.attached import with_attached
from fastprune.index.cache_index import CacheIndex, Rows
from fastprune.index.server_urls import KnownUrls, OtherTags
from fastprune.model import DIGEST_PREFIX, file_names
from fastprune.reading.shards import is_digest_url
from fastprune.server.listing import ServerListing

__all__ = ("KnownUrls", "find_known_urls", "moved_tags", "with_known_urls")


def with_known_urls(index: CacheIndex, listing: ServerListing) -> CacheIndex:
    """The index that tells by which URLs a server knows the manifests.

    Tags that belong to an image are looked for among these URLs as well.
    """
    index = replace(index, known=find_known_urls(index, listing))
    return with_attached(index) if index.has_edges else index


def find_known_urls(index: CacheIndex, listing: ServerListing) -> KnownUrls:
    """Finds the manifests that a server's list speaks of."""
    folder_of = index.layout.manifest_folder_of
    numbers = {folder: number for number, folder in enumerate(index.layout.manifest_folders)}
    folders = (numbers[folder_of(url)] for url in listing.urls)
    rows = index.rows_of(np.fromiter(folders, np.uint8, len(listing)), listing.digests)
    cached = np.flatnonzero(rows >= 0)
    # In the order of the rows; the entries of one row keep their order.
    entries = cached[np.argsort(rows[cached], kind="stable")]
    rows_in_order = rows[entries]
    urls = [listing.urls[entry] for entry in entries.tolist()]
    own = np.zeros(len(urls), dtype=bool)
    for piece in pieces(np.arange(len(urls))):
        first = int(piece[0])
        shown = index.urls(rows_in_order[piece])
        own[piece] = [url == urls[at] for at, url in enumerate(shown, first)]
    unseen = ~own & ~np.fromiter(map(is_digest_url, urls), dtype=bool, count=len(urls))
    tags = np.flatnonzero(unseen)
    return KnownUrls(
        rows=rows_in_order.astype(np.int32),
        urls=urls,
        unseen=unseen,
        own=own,
        strangers=_strangers(listing, np.flatnonzero(rows < 0)),
        others=OtherTags(
            rows_in_order[tags],
            [urls[tag] for tag in tags.tolist()],
            np.zeros(len(tags), dtype=bool),
        ),
    )


def moved_tags(index: CacheIndex) -> Rows:
    """The manifests whose tag the server knows with another digest, ascending.

    Such a tag has moved since the file was written: to ask the server for this URL means
    another image. Without `known`, there are none.
    """
    known = index.known
    if known is None:
        return np.empty(0, dtype=np.intp)
    shown = marked(known.rows[known.own], len(index))
    listed = {*known.urls, *(url for url, _ in known.strangers)}
    moved = [
        row
        for piece in pieces(np.flatnonzero(~shown & ~index.digest_urls))
        for row, url in zip(piece.tolist(), index.urls(piece), strict=True)
        if url in listed
    ]
    return np.array(moved, dtype=np.intp)


def _strangers(listing: ServerListing, entries: Rows) -> tuple[tuple[str, str], ...]:
    names = file_names(listing.digests[entries].tobytes())
    urls = (listing.urls[entry] for entry in entries.tolist())
    return tuple((url, DIGEST_PREFIX + name) for url, name in zip(urls, names, strict=True))
