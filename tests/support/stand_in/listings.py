"""The texts that the server lists manifests and blobs with.

Stage: pure.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from .holders import Holder

NOTHING = "no manifests found\n"
_DIGEST_URL = re.compile(r".*sha256:([a-f0-9]{64})")
_LONGEST_LINE = 32 << 10
"""The server writes one manifest at a time into a buffer of this size, and no more than fits."""


def manifest_list(holders: Iterable[Holder], *, with_blobs: bool = False) -> str:
    """A line for each manifest, sorted by URL; and one for each of its blobs if asked for.

    A digest in a URL is cut to 10 digits; that of the second column is whole.
    """
    lines: list[str] = []
    for holder in sorted(holders, key=lambda one: one.url):
        url = holder.url
        if found := _DIGEST_URL.match(url):
            url = url.replace(found.group(1), found.group(1)[:10], 1)
        line = f"{url} {holder.digest}  {holder.created} {holder.pulled}\n"
        if with_blobs:
            line += "".join(f"- sha256:{blob.digest}\n" for blob in holder.blobs)
        if not lines:
            line = f"URL DIGEST CREATED PULLED\n{line}"
        lines.append(line[:_LONGEST_LINE])
    return "".join(lines) or NOTHING


def blob_list(counts: Mapping[str, int]) -> str:
    """A line for each blob, sorted by digest, with the number of references to it."""
    lines = [f"{digest} {counts[digest]}\n" for digest in sorted(counts)]
    return "URL REFCNT\n" + "".join(lines) if lines else NOTHING
