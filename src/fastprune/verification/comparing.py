"""Compares what is damaged with what a running server has in memory.

Stage: plan. Input: `Findings` of a scan with the server's list. Output: `ServedManifest`s. Pure,
no I/O.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from fastprune.index.cache_index import CacheIndex, Rows
from fastprune.index.known_urls import moved_tags
from fastprune.index.refcounts import Mask
from fastprune.model import DIGEST_PREFIX
from fastprune.server.unlisted import never_listed
from fastprune.verification.findings import Findings
from fastprune.verification.served import ServedManifest, ServedReason


def find_served(findings: Findings, lost: Iterable[tuple[str, str]]) -> tuple[ServedManifest, ...]:
    """Finds what is damaged and in the server's memory, sorted by URL; each URL once.

    `lost` are the entries of the server's list that have no file: URL and digest.
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
    # The gravest comes last.
    reasons = dict.fromkeys(findings.spoilt.tolist(), ServedReason.BAD_BLOB)
    reasons |= dict.fromkeys(findings.broken.tolist(), ServedReason.MISSING_BLOB)
    reasons |= dict.fromkeys(findings.mismatched.tolist(), ServedReason.DAMAGED_FILE)
    rows = np.array(sorted(reasons), dtype=np.intp)
    for row, urls in zip(rows.tolist(), known.urls_of(rows), strict=True):
        path = index.path(row)
        digest = DIGEST_PREFIX + path.rpartition("/")[2]
        found += [ServedManifest(url, digest, path, reasons[row]) for url in urls]
    return tuple(sorted(found))


def in_memory(index: CacheIndex, rows: Rows) -> Mask:
    """Which of some manifests the server may have in memory, by any URL; bool, one for each row.

    Its list does not show all that it knows: see `fastprune.server.unlisted`. A tag that has moved
    leaves a second name of the old manifest, its digest, in memory. Without the list none is known.
    """
    if index.known is None:
        return np.zeros(len(rows), dtype=bool)
    known = index.known.loaded(len(index))
    known[moved_tags(index)] = True
    unlisted = [never_listed(url) for url in index.urls(rows)]
    may_be: Mask = known[rows] | np.array(unlisted, dtype=bool)
    return may_be
