"""Which manifests a running server has in memory although their files or blobs are not sound.

Stage: plan. Input: `Findings` of a scan with the server's list. Output: `ServedManifest`s. Pure,
no I/O.

The server reads a manifest once, and answers for it from memory then. So it goes on when the file
or a blob has gone behind its back: the manifest comes with 200, its blob with 500, and nothing is
pulled again. When the server is asked to prune its URL, it forgets it, and the next pull brings it
anew.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from enum import IntEnum
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from fastprune.model import DIGEST_PREFIX
from fastprune.server.unlisted import never_listed

if TYPE_CHECKING:
    from fastprune.index.cache_index import CacheIndex, Rows
    from fastprune.verification.findings import Findings


class ServedReason(IntEnum):
    """What is wrong with a manifest that the server has in memory. The gravest counts."""

    NO_FILE = 1
    DAMAGED_FILE = 2
    MISSING_BLOB = 3
    BAD_BLOB = 4

    @property
    def text(self) -> str:
        """The reason as documents and the audit log write it."""
        return self.name.lower().replace("_", "-")

    @property
    def said(self) -> str:
        """The reason as a part of a sentence."""
        return (
            "its file is gone",
            "its file is damaged",
            "a blob is missing",
            "a blob is damaged",
        )[self - 1]


class ServedManifest(NamedTuple):
    """An entry of the server's list that it can't serve whole, or can't load again.

    Attributes:
        url: The image URL.
        digest: `sha256:` and 64 hex digits.
        path: Its file, relative to the cache, whether there is one or not.
        reason: What is wrong.
    """

    url: str
    digest: str
    path: str
    reason: ServedReason

    @property
    def document(self) -> dict[str, str]:
        """The manifest as a JSON object."""
        return {
            "url": self.url,
            "digest": self.digest,
            "path": self.path,
            "reason": self.reason.text,
        }

    @property
    def entry(self) -> tuple[str, str]:
        """The URL and the digest."""
        return self.url, self.digest


def find_served(findings: Findings, lost: Iterable[tuple[str, str]]) -> tuple[ServedManifest, ...]:
    """Finds what is damaged and in the server's memory.

    Args:
        findings: What is damaged, of a scan with the server's list.
        lost: The entries of the list that have no file: URL and digest.

    Returns:
        Sorted by URL; each URL once.
    """
    index = findings.index
    known = index.known
    if known is None:
        return ()
    damaged = {one.path for one in findings.unreadable}
    folder_of = index.layout.manifest_folder_of
    lost = set(lost)
    found = []
    for url, digest in known.strangers:
        path = f"{folder_of(url)}/{digest.removeprefix(DIGEST_PREFIX)}"
        if (url, digest) in lost:
            found.append(ServedManifest(url, digest, path, ServedReason.NO_FILE))
        elif path in damaged:
            found.append(ServedManifest(url, digest, path, ServedReason.DAMAGED_FILE))
    reasons = dict(_reasons(findings))
    rows = np.array(sorted(reasons), dtype=np.intp)
    for row, urls in zip(rows.tolist(), known.urls_of(rows), strict=True):
        path = index.path(row)
        digest = DIGEST_PREFIX + path.rpartition("/")[2]
        found += [ServedManifest(url, digest, path, reasons[row]) for url in urls]
    return tuple(sorted(found))


def _reasons(findings: Findings) -> Iterator[tuple[int, ServedReason]]:
    """What is wrong with each damaged row; the gravest comes last."""
    groups = (
        (findings.spoilt, ServedReason.BAD_BLOB),
        (findings.broken, ServedReason.MISSING_BLOB),
        (findings.mismatched, ServedReason.DAMAGED_FILE),
    )
    for rows, reason in groups:
        yield from ((row, reason) for row in rows.tolist())


def in_memory(index: CacheIndex, rows: Rows) -> Sequence[bool]:
    """Which of some manifests the server may have in memory, by any URL.

    Its list does not show all that it knows: see `fastprune.server.unlisted`. A tag that has moved
    leaves a second name of the old manifest, its digest, in memory.

    Args:
        index: The cache; without the server's list, none is known.
        rows: The manifests.
    """
    if index.known is None:
        return [False] * len(rows)
    from fastprune.index.known_urls import moved_tags

    known = index.known.loaded(len(index))
    known[moved_tags(index)] = True
    return [
        bool(known[row]) or never_listed(url)
        for row, url in zip(rows.tolist(), index.urls(rows), strict=True)
    ]
