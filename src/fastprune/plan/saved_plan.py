"""The file of a saved plan: lines of JSON, there and back.

Stage: plan. Input and output: values. Pure, no I/O.

The first line says what the file is, for which cache and by which policy it was made. Then
comes a line for each manifest that goes, by path, and one for each blob, by digest. The
last line has the sha256 of all bytes before it, so that a file that was cut off or altered
is known. docs/plan-apply.md describes every field.

Nothing in the file is ever opened or removed by name: digests are looked up in a fresh
index, and only what is found there can go.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastprune.index.cache_index import Rows
from fastprune.index.digests import Digests
from fastprune.policy.policy import Policy

VERSION = 2
"""The version of the format; a change that an older fastprune would misread raises it.

Version 1 had fewer fields in `policy`, and no `rule`; it is still read.
"""

NO_FOLDER = 255


@dataclass(frozen=True, slots=True)
class CacheIdentity:
    """What tells one cache from another.

    Attributes:
        path: Where it was, resolved; for people.
        inode: Of its folder.
        file_system: The id of the file system (statvfs(2), f_fsid), 16 hex digits.
    """

    path: str
    inode: int
    file_system: str


@dataclass(frozen=True, slots=True)
class PlanHeader:
    """What the first line of a plan says, besides `record` and `version`.

    Attributes:
        fastprune: The version of the fastprune that wrote it.
        scanned_at: When the cache was scanned: RFC 3339, UTC.
        cache: For which cache.
        policy: What was selected.
        allow_broken: Whether lists may lose children that they refer to.
        grace: Blobs younger than so many seconds were spared.
        corrupt: Paths of the manifests that could not be read and were skipped.
        totals: What the plan came to, by name.
    """

    fastprune: str
    scanned_at: str
    cache: CacheIdentity
    policy: Policy
    allow_broken: bool
    grace: float
    corrupt: tuple[str, ...]
    totals: dict[str, int]


class ManifestLine(NamedTuple):
    """The line of a manifest; docs/plan-apply.md describes each field."""

    record: str
    path: str
    url: str
    kind: str
    type: int
    created: str
    pulled: str
    bytes: int
    reason: str
    rule: str | None
    taken_by: str | None
    breaks: list[str]
    references: str


class BlobLine(NamedTuple):
    """The line of a blob; docs/plan-apply.md describes each field."""

    record: str
    digest: str
    bytes: int
    reason: str


class ManifestNames(NamedTuple):
    """Manifest files by folder and name, as columns.

    `folders` are positions in the layout's `manifest_folders`, and `NO_FOLDER` for none.
    """

    folders: NDArray[np.uint8]
    digests: Digests


@dataclass(frozen=True, slots=True, eq=False)
class SavedPlan:
    """A plan as it was saved: n manifests and m blobs that are to go.

    Attributes:
        header: What it was made of.
        manifests: The n manifests, ascending.
        said: uint8 (n, 32): see `said_digest`.
        pulls: uint8 (n, 32): see `pull_digest`.
        owners: For each, the list that takes it along.
        broken: Positions in `manifests` of children that a list which stays may lose ...
        broken_by: ... and the list that may lose each.
        by_rule: int16 (n,): the position of what selected each in the policy's
            `rule_names`, or -1. None if the policy has no rules.
        blobs: uint8 (m, 32): the digests of the blobs.
    """

    header: PlanHeader
    manifests: ManifestNames
    said: Digests
    pulls: Digests
    owners: ManifestNames
    broken: Rows
    broken_by: ManifestNames
    by_rule: NDArray[np.int16] | None
    blobs: Digests


def last_line(checksum: str) -> bytes:
    """The last line of a plan, without its line feed, with the sha256 of all before it in hex."""
    return b'{"record":"end","sha256":"%s"}' % checksum.encode()
