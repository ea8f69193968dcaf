"""RepairPlan: which files a repair moves to the trash, and why.

Stage: plan. Input: `Findings`. Output: `RepairPlan`. Pure, no I/O.

A repair moves damaged files: manifests that can't be read or don't match their names, images
with a missing blob, bad blobs, and the images that need these. Then the server can load all
that is left, and pulls the others anew. Lists stay, unless they are damaged themselves: most
children of a list are never cached. A blob whose content matches its name never goes, whatever
a manifest says about it.

Bad blobs go first. An image that needs one follows when the blob has gone. So if a repair is cut
off, the next one finds the rest: an image whose blob is missing is broken. In the other order,
a short blob could be left that no manifest refers to, and nobody could tell that it is short.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import compress
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastprune.index.cache_index import Rows
from fastprune.index.digests import Digests, as_digests
from fastprune.index.refcounts import needing
from fastprune.model import file_names
from fastprune.reading.marks import MARK_FIELDS, FileMark
from fastprune.verification.comparing import in_memory
from fastprune.verification.findings import Findings
from fastprune.verification.served import NamedReason, ServedManifest

SECONDS_OF_A_PULL = 3600
"""A manifest that has not changed for so long does not belong to a pull that is under way."""

_NONE = np.empty(0, dtype=np.intp)


class RepairReason(NamedReason):
    """Why a file is moved."""

    UNREADABLE = 1
    MISMATCHED = 2
    MISSING_BLOB = 3
    BAD_BLOB = 4
    RESIZED = 5
    ALTERED = 6
    UNREADABLE_BLOB = 7


class RepairGroup(NamedTuple):
    """Files of one kind in one folder that are to be moved.

    Attributes:
        kind: blob, image, list or unreadable.
        folder: The folder of the cache.
        digests: uint8 (n, 32): their names, ascending.
        marks: int64 (n, `MARK_FIELDS`): the marks that they must still have.
        reasons: uint8 (n,): values of `RepairReason`.
        rows: Rows of the manifests; empty for blobs and unreadable manifests.
    """

    kind: str
    folder: str
    digests: Digests
    marks: NDArray[np.int64]
    reasons: NDArray[np.uint8]
    rows: Rows

    @property
    def sizes(self) -> NDArray[np.int64]:
        """Bytes of the files."""
        return self.marks[:, FileMark._fields.index("size")]

    def reason_texts(self, positions: slice = slice(None)) -> list[str]:
        """Why some of them go, in words."""
        return [RepairReason(reason).text for reason in self.reasons[positions].tolist()]


@dataclass(frozen=True, slots=True, eq=False)
class RepairPlan:
    """What a repair moves. Immutable.

    Attributes:
        findings: The findings that it was made of.
        blobs: The bad blobs, which go first.
        manifests: The manifests that go after them; no group is empty.
        left: Paths of files that stay although they seem damaged or could not be checked: we
            may not read them, so they may be sound.
        beside: Paths of damaged files that stay as a server runs on the cache.
        healing: What the server is asked to forget before anything moves.
    """

    findings: Findings
    blobs: tuple[RepairGroup, ...]
    manifests: tuple[RepairGroup, ...]
    left: tuple[str, ...]
    beside: tuple[str, ...] = ()
    healing: tuple[ServedManifest, ...] = ()

    @property
    def groups(self) -> tuple[RepairGroup, ...]:
        """All groups, in the order in which they go."""
        return self.blobs + self.manifests

    @property
    def size(self) -> int:
        """Bytes of all files that go."""
        return sum(int(group.sizes.sum()) for group in self.groups)

    @property
    def files(self) -> int:
        """How many files go."""
        return sum(len(group.digests) for group in self.groups)

    @property
    def is_empty(self) -> bool:
        """Whether nothing goes, and the server is asked for nothing."""
        return not self.groups and not self.healing

    def count(self, kind: str) -> int:
        """How many files of a kind go."""
        return sum(len(group.digests) for group in self.groups if group.kind == kind)


def plan_repair(findings: Findings, *, staying: Rows = _NONE) -> RepairPlan:
    """Works out what a repair moves.

    Args:
        findings: What is damaged.
        staying: Ids of bad blobs that could not be moved. Images that would go only because of
            these stay, too, so that the next repair finds them.
    """
    bad = np.setdiff1d(findings.bad_blobs, staying)
    manifests = [*_manifests(findings, bad), *_unreadable(findings)]
    return RepairPlan(
        findings=findings,
        blobs=(_blobs(findings, bad),) if len(bad) else (),
        manifests=tuple(group for group in manifests if len(group.digests)),
        left=_left(findings),
    )


def plan_repair_beside(findings: Findings, now: float) -> RepairPlan:
    """Works out what a repair does while a server runs on the cache.

    What the server has in memory is healed by the server. Moved are only manifests that it does
    not know and that have not changed for an hour: a younger one may belong to a pull under way,
    which writes the manifest before its blobs. Bad blobs stay: the server may serve them, or be
    writing them. One that only healed images needed goes with these.

    The findings have `served`; `now` is in seconds since 1970.
    """
    plan = plan_repair(findings)
    youngest = int((now - SECONDS_OF_A_PULL) * 1e9)
    healed = {one.path for one in findings.served or ()}
    names = findings.index.blob_names(findings.bad_blobs)
    beside = [f"{findings.index.layout.blob_folder}/{name}" for name in names]
    groups = []
    for group in plan.manifests:
        old = group.marks[:, FileMark._fields.index("mtime")] < youngest
        paths = [f"{group.folder}/{name}" for name in file_names(group.digests.tobytes())]
        unhealed = np.array([path not in healed for path in paths], dtype=bool)
        goes = unhealed & old & (group.reasons != RepairReason.BAD_BLOB)
        # One that can't be read is known only if it is listed, and then it is healed.
        if len(group.rows):
            goes &= ~in_memory(findings.index, group.rows)
        beside += compress(paths, unhealed & ~goes)
        if goes.any():
            digests, marks, reasons = group.digests[goes], group.marks[goes], group.reasons[goes]
            rows = group.rows[goes] if len(group.rows) else group.rows
            groups.append(RepairGroup(group.kind, group.folder, digests, marks, reasons, rows))
    return replace(
        plan,
        blobs=(),
        manifests=tuple(groups),
        beside=tuple(sorted(beside)),
        healing=findings.served or (),
    )


def _blobs(findings: Findings, bad: Rows) -> RepairGroup:
    reasons = np.full(len(bad), RepairReason.ALTERED, dtype=np.uint8)
    reasons[np.isin(bad, findings.resized)] = RepairReason.RESIZED
    reasons[np.isin(bad, findings.unreadable_blobs)] = RepairReason.UNREADABLE_BLOB
    at = np.searchsorted(findings.odd.ids, bad)
    marks = [findings.odd.marks[position] for position in at.tolist()]
    digests = findings.index.blob_digests[bad]
    folder = findings.index.layout.blob_folder
    return RepairGroup("blob", folder, digests, _as_marks(marks), reasons, _NONE)


def _manifests(findings: Findings, bad: Rows) -> Iterator[RepairGroup]:
    index, rows = findings.index, findings.marked_rows
    is_bad = np.zeros(len(index.blob_digests), dtype=bool)
    is_bad[bad] = True
    reasons = np.zeros(len(index), dtype=np.uint8)
    # The gravest reason wins.
    spoilt = np.intersect1d(np.flatnonzero(needing(index, is_bad)), findings.spoilt)
    reasons[spoilt] = RepairReason.BAD_BLOB
    reasons[findings.broken] = RepairReason.MISSING_BLOB
    reasons[findings.mismatched] = RepairReason.MISMATCHED
    for kind, wanted in (("image", False), ("list", True)):
        for folder, first, last in index.folder_rows:
            here = (rows >= first) & (rows < last) & (index.is_list[rows] == wanted)
            here &= reasons[rows] > 0
            some, marks = rows[here], findings.marks[here]
            yield RepairGroup(kind, folder, index.digests[some], marks, reasons[some], some)


def _unreadable(findings: Findings) -> Iterator[RepairGroup]:
    for folder in findings.index.layout.manifest_folders:
        some = sorted(
            one
            for one in findings.unreadable
            if one.path.startswith(f"{folder}/") and not one.unknown
        )
        names = "".join(one.path.rpartition("/")[2] for one in some)
        reasons = np.full(len(some), RepairReason.UNREADABLE, dtype=np.uint8)
        marks = _as_marks([one.mark for one in some])
        digests = as_digests(bytes.fromhex(names))
        yield RepairGroup("unreadable", folder, digests, marks, reasons, _NONE)


def _left(findings: Findings) -> tuple[str, ...]:
    index = findings.index
    names = index.blob_names(findings.refused)
    blobs = [f"{index.layout.blob_folder}/{name}" for name in names]
    return tuple(sorted([*blobs, *(one.path for one in findings.unreadable if one.unknown)]))


def _as_marks(marks: list[FileMark]) -> NDArray[np.int64]:
    return np.array(marks, dtype=np.int64).reshape(-1, MARK_FIELDS)
