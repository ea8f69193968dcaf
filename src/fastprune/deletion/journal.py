"""Journal: who is told, file by file, what became of it.

Stage: apply. Input: what was tried and the result. Output: `JournalEntry`, a file each.
No I/O. `fastprune.audit.audit_log` is a journal.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple, Protocol

from fastprune.deletion.deleter import Batch, BatchResult, Outcome
from fastprune.index.cache_index import Rows
from fastprune.plan.prune_plan import PrunePlan


class JournalEntry(NamedTuple):
    """One file that was tried.

    Attributes:
        kind: list, image or blob; of a repair also unreadable: a manifest.
        path: Relative to the cache.
        url: The image URL of a manifest; None for a blob.
        reason: Why it was to go, as in `Reason.text`.
        size: Bytes of the file if it was removed, else 0.
        outcome: removed, gone (someone else had removed it), changed (since the scan, so
            it was left alone) or failed.
        error: What the system said to a failure; else None.
        rule: The rule of the policy by which a manifest was to go, if it has rules.
        action: What was to be done to it, delete or trash, if it differs from that of the run.
    """

    kind: str
    path: str
    url: str | None
    reason: str
    size: int
    outcome: str
    error: str | None
    rule: str | None = None
    action: str | None = None


class Journal(Protocol):
    """Is told what became of every file that was tried."""

    async def note(self, entries: Sequence[JournalEntry]) -> None:
        """Records a batch, after it was worked on.

        Raises:
            JournalError: It can't. The run then ends, between two batches; those that
                were under way meanwhile are noted as well.
        """

    async def settle(self) -> None:
        """Makes what was noted durable; called before a phase is made durable.

        Raises:
            JournalError: As for `note`.
        """


class Fact(NamedTuple):
    """What a journal is told of a file besides what became of it; see `JournalEntry`."""

    url: str | None
    reason: str
    rule: str | None = None


def manifest_facts(plan: PrunePlan, rows: Rows) -> Iterator[Fact]:
    """What a plan knows of manifests, in the order of their rows."""
    reasons = (plan.manifest_reason(row).text for row in rows.tolist())
    return map(Fact, plan.index.urls(rows), reasons, plan.rules_of(rows))


def blob_facts(plan: PrunePlan, blobs: Rows) -> Iterator[Fact]:
    """What a plan knows of blobs, in the order of their ids."""
    return (Fact(None, reason.text) for reason in plan.blob_reasons(blobs))


def file_entries(
    kind: str,
    folder: str,
    facts: Iterable[Fact],
    batch: Batch,
    result: BatchResult,
    *,
    action: str | None = None,
) -> list[JournalEntry]:
    """The entries of a batch of files of a folder; see `JournalEntry`."""
    entries = []
    rows = zip(batch.names, facts, result.freed, result.outcomes, strict=True)
    for position, (name, (url, reason, rule), freed, outcome) in enumerate(rows):
        error = result.message(position) if position in result.errors else None
        path = f"{folder}/{name}"
        became = Outcome(outcome).name.lower()
        entries.append(JournalEntry(kind, path, url, reason, freed, became, error, rule, action))
    return entries
