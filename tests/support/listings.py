"""Lists of manifests as a running server gives them, without a server."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from fastprune.server.listing import ServerListing


def listing_of(entries: Iterable[tuple[str, str]]) -> ServerListing:
    """The list of a server that knows some manifests.

    Args:
        entries: The image URL and the digest of each, 64 hex digits.
    """
    ordered = sorted(entries)
    raw = np.frombuffer(bytes.fromhex("".join(digest for _, digest in ordered)), dtype=np.uint8)
    return ServerListing([url for url, _ in ordered], raw.reshape(-1, 32))
