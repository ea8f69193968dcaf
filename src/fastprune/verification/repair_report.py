"""RepairReport: what a repair moved; and how it is shown, as text and as JSON.

Stage: report. Input: a `RepairReport`. Output: lines and documents. Pure, no I/O.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from fastprune.errors import ServerRunningError
from fastprune.index.refcounts import Mask
from fastprune.model import DIGEST_PREFIX
from fastprune.report.run_report import RunReport
from fastprune.text.escaping import printable
from fastprune.text.quantities import format_bytes, format_count, format_seconds
from fastprune.verification.repair_plan import RepairGroup, RepairPlan
from fastprune.verification.served import ServedManifest

MANIFEST_KINDS = ("image", "list", "unreadable")


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class RepairReport(RunReport):
    """What a repair moved to the trash, or in a dry run would move.

    Attributes:
        plan: What was planned.
        moved: The groups that were worked on, and bool (n,): which files were moved.
        changed: Paths of files that had changed since they were found, and were left alone.
        already_gone: Files that someone else had removed.
        staying: Manifests that stay, as a bad blob that they need could not be moved.
        seconds: How long it took.
        trash_run: The run that the files are in; empty if nothing was moved.
        healed: What a running server has forgotten, so that the next pull brings it anew.
        unhealed: What it has not forgotten, and why.
        unasked: How many manifests it was not asked to forget, because the run was stopped.
    """

    plan: RepairPlan
    moved: tuple[tuple[RepairGroup, Mask], ...]
    changed: tuple[str, ...] = ()
    already_gone: int = 0
    staying: int = 0
    seconds: float = 0
    trash_run: str = ""
    healed: tuple[ServedManifest, ...] = ()
    unhealed: tuple[tuple[ServedManifest, str], ...] = ()
    unasked: int = 0

    def count(self, *kinds: str) -> int:
        """How many files of some kinds were moved."""
        return sum(int(moved.sum()) for group, moved in self.moved if group.kind in kinds)

    @property
    def removed_any(self) -> bool:
        """Whether a file was moved."""
        return any(moved.any() for _, moved in self.moved)

    @property
    def size(self) -> int:
        """Bytes of all files that were moved."""
        return sum(int(group.sizes[moved].sum()) for group, moved in self.moved)

    @property
    def exit_code(self) -> int:
        """0 if the cache is sound now, else 3; 11 if a server was found before anything moved."""
        if self.dry_run:
            return self.plan.findings.exit_code
        if self.servers and not self.removed_any and not self.healed:
            return ServerRunningError.exit_code
        rest = self.changed or self.failures or self.staying or self.left or self.stopped
        beside = self.unhealed or self.unasked or self.plan.beside
        return 3 if rest or beside or self.plan.left else 0


def planned_report(plan: RepairPlan) -> RepairReport:
    """What a repair that moves everything it plans to would report: a dry run."""
    moved = [(group, np.ones(len(group.digests), dtype=bool)) for group in plan.groups]
    return RepairReport(plan=plan, dry_run=True, moved=tuple(moved), healed=plan.healing)


def text_lines(report: RepairReport, *, summary: bool) -> Iterator[str]:
    """The report as lines of text; a summary leaves out the line of each file."""
    healing = report.plan.healing or report.plan.findings.served is not None
    if healing and not summary:
        yield f"Heal{' (dry run)' if report.dry_run else ''}:"
        yield from (f"{printable(one.url)}: {one.reason.text}" for one in report.healed)
    if not summary:
        yield f"Move to the trash{' (dry run)' if report.dry_run else ''}:"
        for item in _items(report):
            url = f" {printable(item['url'])}" if item.get("url") else ""
            yield f"{item['path']}{url}: {item['reason']}"
    manifests = format_count(report.count(*MANIFEST_KINDS), "manifest")
    blobs = format_count(report.count("blob"), "blob")
    if healing:
        forgot = "Would be forgotten" if report.dry_run else "Forgotten"
        yield f"{forgot} by the server: {format_count(len(report.healed), 'image URL')}"
        for one, why in report.unhealed:
            yield f"Not healed: {printable(one.url)}: {printable(why)}"
    done = "Would be moved to the trash" if report.dry_run else "Moved to the trash"
    yield f"{done}: {manifests}, {blobs} ({format_bytes(report.size)})"
    if report.trash_run:
        yield (
            f"Trash: run {report.trash_run}; 'fastprune trash restore {report.trash_run}' "
            "puts them back"
        )
    rest = {
        "Already gone": (report.already_gone, "file"),
        "Changed since they were found, left alone": (len(report.changed), "file"),
        "Left alone with a bad blob that they need": (report.staying, "manifest"),
        "Could not be checked, left alone": (len(report.plan.left), "file"),
        "Left alone while the server runs": (len(report.plan.beside), "file"),
        "Not healed, as the run was stopped": (report.unasked, "image URL"),
        "Failed": (len(report.failures), "file"),
    }
    yield from (f"{what}: {format_count(*of)}" for what, of in rest.items() if of[0])
    yield from report.overridden_lines
    yield from report.guard_lines
    if report.stopped:
        yield f"Stopped: {report.stopped}; files left to move: {report.left}"
    if not report.dry_run:
        yield f"Time of the repair: {format_seconds(report.seconds)}"


def as_document(report: RepairReport, *, summary: bool) -> dict[str, Any]:
    """The report as a JSON object, described in docs/verify.md; a summary has no list of files."""
    document: dict[str, Any] = {
        "dry_run": report.dry_run,
        "trash_run": report.trash_run or None,
        "totals": {
            "manifests": report.count(*MANIFEST_KINDS),
            "blobs": report.count("blob"),
            "bytes": report.size,
            "already_gone": report.already_gone,
            "changed": len(report.changed),
            "spared": report.staying,
            "unchecked": len(report.plan.left),
            "failed": len(report.failures),
            "left": report.left,
        },
        **report.common_document,
        "changed": list(report.changed),
        "unchecked": list(report.plan.left),
        "seconds": round(report.seconds, 6),
    }
    if report.plan.findings.served is not None:
        document["totals"] |= {
            "healed": len(report.healed),
            "unhealed": len(report.unhealed),
            "unasked": report.unasked,
            "beside": len(report.plan.beside),
        }
        document["unhealed"] = [one.document | {"error": why} for one, why in report.unhealed]
        document["beside"] = list(report.plan.beside)
        if not summary:
            document["healed"] = [one.document for one in report.healed]
    if not summary:
        document["moved"] = list(_items(report))
    return document


def _items(report: RepairReport) -> Iterator[dict[str, Any]]:
    for group, moved in report.moved:
        reasons = group.reason_texts()
        urls = report.plan.findings.index.urls(group.rows) if len(group.rows) else []
        for at in np.flatnonzero(moved).tolist():
            name = group.digests[at].tobytes().hex()
            item = {
                "path": f"{group.folder}/{name}",
                "kind": group.kind,
                "bytes": int(group.sizes[at]),
                "reason": reasons[at],
            }
            if group.kind == "blob":
                item["digest"] = DIGEST_PREFIX + name
            yield item | ({"url": urls[at]} if urls else {})
