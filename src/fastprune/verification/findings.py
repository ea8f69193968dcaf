"""Findings: what is damaged in a cache, and notes.

Stage: plan. Input: a `CacheIndex`, sizes of files, and the results of reading blobs. Output:
`Findings`. Pure, no I/O.

Damage makes a server serve wrong content or fail to load a file: it decides the exit code.
Orphans, dangling images and foreign files are normal in a cache: they are notes. A wrong size
in a descriptor is a note, too, if the content of the blob matches its name: a new pull would
not change it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastprune.index.cache_index import CacheIndex, Rows
from fastprune.index.digests import Digests, DigestTable, as_digests
from fastprune.index.refcounts import Mask, count_references, drop_references, needing, unreferenced
from fastprune.reading.marks import MARK_FIELDS, FileMark, OddFile, Verdict
from fastprune.selection.rules.defects import dangling
from fastprune.verification.served import ServedManifest, ServedReason

_NONE = np.empty(0, dtype=np.intp)
_MIX = (0xBF58476D1CE4E5B9, 0x94D049BB133111EB)


class UnreadableManifest(NamedTuple):
    """A manifest file that can't be read or understood.

    Attributes:
        path: Relative to the cache.
        reason: Why.
        mark: The mark before the last read; `ABSENT_MARK` if the system did not give one.
        unknown: Whether it could not be read, or is no regular file: it may be sound.
    """

    path: str
    reason: str
    mark: FileMark
    unknown: bool


@dataclass(frozen=True, slots=True, eq=False)
class OddBlobs:
    """Blobs whose content does not match their names, or that could not be read.

    Attributes:
        ids: Ascending.
        verdicts: uint8: values of `Verdict`.
        marks: Their marks when they were read.
        reasons: The message of the system; empty if the content has another sha256.
    """

    ids: Rows
    verdicts: NDArray[np.uint8]
    marks: tuple[FileMark, ...]
    reasons: tuple[str, ...]

    def where(self, *verdicts: Verdict) -> NDArray[np.intp]:
        """Positions of those with some verdicts."""
        return np.flatnonzero(np.isin(self.verdicts, verdicts))


def odd_blobs(read: Rows, odd: Sequence[OddFile]) -> OddBlobs:
    """Puts the results of reading blobs, which come in any order, into columns.

    `read` are the ids of the blobs that were read; `odd` has positions among these.
    """
    odd = sorted(odd, key=lambda one: int(read[one.position]))
    return OddBlobs(
        ids=read[[one.position for one in odd]] if odd else _NONE,
        verdicts=np.array([one.verdict for one in odd], dtype=np.uint8),
        marks=tuple(one.mark for one in odd),
        reasons=tuple(one.reason for one in odd),
    )


@dataclass(frozen=True, slots=True)
class ContentCheck:
    """How much was read of the blobs.

    Attributes:
        blobs: How many were read to their end.
        size: Bytes of these.
        seconds: How long that took.
        sample: Which part of all blobs was asked for, from 0 to 1; 0 if only those were
            read whose size is odd.
        seed: The seed that chose the sample.
        known_blobs: How many were not read again, as they had been verified and have not changed.
        known_size: Bytes of these.
        since: Since when they had been verified: seconds since the epoch; None if all were read.
    """

    blobs: int
    size: int
    seconds: float
    sample: float
    seed: int
    known_blobs: int = 0
    known_size: int = 0
    since: int | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Evidence:
    """Facts about files that are not in the index.

    By default, a second look has found nothing new.

    Attributes:
        sizes: int64: bytes of each present blob; 0 for one that is gone.
        odd: The odd ones among those that were read.
        vanished: bool (n,): manifests that are gone since they were read.
        appeared: Ids of missing blobs that have appeared since the scan.
        unreadable: Manifest files that still can't be read.
        mentioned: uint8 (k, 32): digests that these, and mismatched manifests, seem to refer to.
        matching: Rows of manifests that mismatched in the scan and match now.
        marked_rows: Rows of manifests whose marks were taken, ascending.
        marks: int64 (k, `MARK_FIELDS`): the marks of these.
    """

    sizes: NDArray[np.int64]
    odd: OddBlobs
    vanished: Mask
    appeared: Rows = field(default_factory=lambda: _NONE)
    unreadable: tuple[UnreadableManifest, ...] = ()
    mentioned: Digests = field(default_factory=lambda: as_digests(b""))
    matching: Rows = field(default_factory=lambda: _NONE)
    marked_rows: Rows = field(default_factory=lambda: _NONE)
    marks: NDArray[np.int64] = field(default_factory=lambda: np.empty((0, MARK_FIELDS), np.int64))


@dataclass(frozen=True, slots=True, eq=False)
class Findings:
    """What `verify` found. Rows and ids are ascending.

    Attributes:
        index: The cache.
        unreadable: Manifest files that can't be read or understood.
        mismatched: Rows of manifests whose content does not match their names; the index
            says why.
        missing: Ids of blobs that are needed and have no file.
        broken: Rows of the images that need one of these; mismatched ones don't count.
        resized: Ids of blobs that have neither the size that a descriptor gives nor the
            content that their name says: pulls that were cut off, mostly.
        altered: Ids of the other blobs whose content does not match their names.
        unreadable_blobs: Ids of blobs that the system can't read any more.
        refused: Ids of blobs that could not be checked, as we may not read them.
        spoilt: Rows of the images that need a blob that is resized, altered or unreadable.
        misdeclared: Ids of blobs whose content matches their names, but not the size that
            a descriptor gives.
        orphans: Ids of blobs that nothing refers to, as far as unreadable manifests tell.
        dangling: Rows of untagged images that no list refers to; none while there are
            unreadable manifests, as any of these may be such a list.
        sizes: int64: bytes of each present blob.
        odd: The blobs that were read and are odd.
        marked_rows: Rows of all manifests that are damaged or need a damaged blob.
        marks: int64 (k, `MARK_FIELDS`): the marks of their files.
        content: How much was read.
        seconds: How long each step took: scan, verify.
        served: What of this, or without any file, a running server has in memory; None if none
            was asked.
    """

    index: CacheIndex
    unreadable: tuple[UnreadableManifest, ...]
    mismatched: Rows
    missing: Rows
    broken: Rows
    resized: Rows
    altered: Rows
    unreadable_blobs: Rows
    refused: Rows
    spoilt: Rows
    misdeclared: Rows
    orphans: Rows
    dangling: Rows
    sizes: NDArray[np.int64]
    odd: OddBlobs
    marked_rows: Rows
    marks: NDArray[np.int64]
    content: ContentCheck
    seconds: dict[str, float]
    served: tuple[ServedManifest, ...] | None = None

    @property
    def foreign(self) -> tuple[str, ...]:
        """Paths in the three folders that do not belong there."""
        return self.index.foreign

    @property
    def damaged_manifests(self) -> int:
        """How many manifests are damaged, need a damaged blob, or have lost their file."""
        return len(self.unreadable) + len(self.damaged_rows) + len(self.lost)

    @property
    def lost(self) -> frozenset[str]:
        """Paths that are gone although a running server has their manifests in memory."""
        return frozenset(
            one.path for one in self.served or () if one.reason is ServedReason.NO_FILE
        )

    @property
    def damaged_rows(self) -> Rows:
        """Rows of manifests that are damaged, or need a damaged blob."""
        return np.union1d(np.union1d(self.mismatched, self.broken), self.spoilt)

    @property
    def damaged_blobs(self) -> int:
        """How many blobs are missing or damaged, or can't be checked."""
        return len(self.missing) + len(self.bad_blobs) + len(self.refused)

    @property
    def bad_blobs(self) -> Rows:
        """Ids of the blobs that are known to be damaged."""
        return np.union1d(np.union1d(self.resized, self.altered), self.unreadable_blobs)

    @property
    def notes(self) -> int:
        """How many findings are notes."""
        groups = (self.orphans, self.dangling, self.misdeclared)
        return sum(map(len, groups)) + len(self.foreign)

    @property
    def is_clean(self) -> bool:
        """Whether nothing is damaged."""
        return not self.damaged_manifests and not self.damaged_blobs

    @property
    def exit_code(self) -> int:
        """0 if nothing is damaged, else 3."""
        return 0 if self.is_clean else 3


def odd_sizes(index: CacheIndex, sizes: NDArray[np.int64]) -> Rows:
    """The present blobs that are needed and whose files do not have the declared size."""
    needed = count_references(index)[: index.blobs_present] > 0
    return np.flatnonzero(needed & (sizes != index.blob_sizes[: index.blobs_present]))


def sampled(index: CacheIndex, share: float, seed: int) -> Rows:
    """A random part of the present blobs: the same for the same blobs, share and seed.

    Digests are random enough; the seed is mixed in by the finalizer of splitmix64
    (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014).

    Args:
        index: The cache.
        share: Which part, from 0 to 1; at least one blob, unless it is 0.
        seed: From 0 to 2^64 - 1.

    Returns:
        Ids, ascending.
    """
    count = int(np.ceil(index.blobs_present * share))
    if count >= index.blobs_present:
        return np.arange(index.blobs_present)
    keys = np.ascontiguousarray(index.present_digests).view(np.dtype("<u8")).reshape(-1, 4)[:, 0]
    keys = keys ^ np.uint64(seed)
    for factor, shift in zip(_MIX, (30, 27), strict=True):
        keys = (keys ^ (keys >> np.uint64(shift))) * np.uint64(factor)
    keys ^= keys >> np.uint64(31)
    return np.sort(np.argsort(keys, kind="stable")[:count])


def find(
    index: CacheIndex, evidence: Evidence, content: ContentCheck, seconds: dict[str, float]
) -> Findings:
    """Puts the findings together; the cache was scanned with edges and with names checked."""
    odd = evidence.odd
    stay = ~evidence.vanished
    rows = np.array(sorted(index.mismatches), dtype=np.intp)
    mismatched = np.setdiff1d(rows[stay[rows]], evidence.matching)
    sound = stay.copy()
    sound[mismatched] = False
    counts = drop_references(index, count_references(index), np.flatnonzero(~sound))
    gone = odd.ids[odd.where(Verdict.GONE)]
    is_missing = np.zeros(len(counts), dtype=bool)
    is_missing[index.missing_blobs] = counts[index.missing_blobs] > 0
    is_missing[gone] = counts[gone] > 0
    is_missing[evidence.appeared] = False
    altered = odd.ids[odd.where(Verdict.ALTERED)]
    unreadable = odd.ids[odd.where(Verdict.UNREADABLE)]
    wrong_sizes = odd_sizes(index, evidence.sizes)
    resized = np.intersect1d(altered, wrong_sizes)
    is_bad = np.zeros(len(counts), dtype=bool)
    is_bad[altered] = is_bad[unreadable] = True
    misdeclared = np.setdiff1d(wrong_sizes, odd.ids)
    return Findings(
        index=index,
        unreadable=evidence.unreadable,
        mismatched=mismatched,
        missing=np.flatnonzero(is_missing),
        broken=np.flatnonzero(needing(index, is_missing) & sound),
        resized=resized,
        altered=np.setdiff1d(altered, resized),
        unreadable_blobs=unreadable,
        refused=odd.ids[odd.where(Verdict.REFUSED)],
        spoilt=np.flatnonzero(needing(index, is_bad) & stay),
        misdeclared=misdeclared[counts[misdeclared] > 0],
        orphans=np.setdiff1d(_orphans(index, evidence), gone),
        dangling=_dangling(index, evidence),
        sizes=evidence.sizes,
        odd=odd,
        marked_rows=evidence.marked_rows,
        marks=evidence.marks,
        content=content,
        seconds=seconds,
    )


def _orphans(index: CacheIndex, evidence: Evidence) -> Rows:
    counts = count_references(index)
    counts = drop_references(index, counts, np.flatnonzero(evidence.vanished))
    table = DigestTable(index.present_digests)
    return np.setdiff1d(unreferenced(index, counts), table.find(evidence.mentioned))


def _dangling(index: CacheIndex, evidence: Evidence) -> Rows:
    if evidence.unreadable:
        return _NONE
    unneeded = dangling(index) & ~evidence.vanished
    # A list whose content does not match its name may have lost references.
    for first, last in pairwise(index.folder_starts):
        mentioned = DigestTable(index.digests[first:last]).find(evidence.mentioned)
        unneeded[first + mentioned[mentioned >= 0]] = False
    return np.flatnonzero(unneeded)
