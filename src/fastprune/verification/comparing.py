"""Compares what is damaged with what a running server has in memory.

Stage: plan. Input: `Findings` of a scan with the server's list. Output: `ServedManifest`s. Pure,
no I/O.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from fastprune.index.cache_index import CacheIndex, Rows
from fastprune.index.known_urls import moved_tags
from fastprune.model import DIGEST_PREFIX
from fastprune.server.unlisted import never_listed
from fastprune.verification.findings import Findings
from fastprune.verification.served import ServedManifest, ServedReason


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
    known = index.known.loaded(len(index))
    known[moved_tags(index)] = True
    return [
        bool(known[row]) or never_listed(url)
        for row, url in zip(rows.tolist(), index.urls(rows), strict=True)
    ]
