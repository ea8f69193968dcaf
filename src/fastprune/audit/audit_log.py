"""An audit log: what happened to every file that a prune tried, as JSON lines in a file.

Stage: apply. Input: `JournalEntry`s. Output: lines, described in docs/audit-log.md. I/O:
appends to one file outside the folders of the cache, through aiofiles.

A line that can't be written ends the run. It is kept and tried again at the end, because the
run may have freed space for it.
"""

from __future__ import annotations

import dataclasses
import errno
import os
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import aiofiles
import anyio

from fastprune.deletion.journal import JournalEntry
from fastprune.errors import JournalError, UsageError
from fastprune.executors.threads import OneThread, in_thread
from fastprune.plan.prune_plan import PrunePlan
from fastprune.policy.policy import Policy
from fastprune.report.prune_report import PruneReport
from fastprune.text.escaping import to_json
from fastprune.verification.repair_plan import RepairPlan
from fastprune.verification.repair_report import RepairReport
from fastprune.whole_files import sync_if_offered

FORMAT_VERSION = 1


class AuditLog:
    """The audit log of one run. A `Journal`."""

    def __init__(
        self, path: str, descriptor: int, *, run: str, action: str, now: Callable[[], datetime]
    ) -> None:
        """Writes nothing yet; the caller closes the descriptor. The path is for messages."""
        self._path = path
        self._descriptor, self._run, self._action, self._now = descriptor, run, action, now
        self._pending = bytearray()
        self._turn = anyio.Lock()

    async def start(self, facts: Mapping[str, Any]) -> None:
        """Writes the first line, with more fields, after one that an earlier run did not finish.

        Raises:
            UsageError: The line can't be written, so nothing may be removed.
        """
        self._file = await aiofiles.open(
            self._descriptor, "ab", buffering=0, closefd=False, executor=OneThread()
        )
        if await in_thread(_ends_within_a_line, self._path, self._descriptor):
            self._pending += b"\n"
        self._add([{"event": "start", "format": FORMAT_VERSION, **facts, "action": self._action}])
        try:
            await self._flush()
        except OSError as error:
            raise UsageError(
                f"--audit-log {self._path}: can't be written: {error.strerror}; nothing was deleted"
            ) from error

    async def note(self, entries: Sequence[JournalEntry]) -> None:
        """See `Journal.note`."""
        self._add([self._line(entry) for entry in entries])
        try:
            await self._flush()
        except OSError as error:
            raise self._failure(error) from error

    async def settle(self) -> None:
        """See `Journal.settle`."""
        try:
            await self._flush()
            await in_thread(sync_if_offered, self._descriptor)
        except OSError as error:
            raise self._failure(error) from error

    async def end(self, facts: Mapping[str, Any]) -> None:
        """Writes the last line, with more fields, and all that could not be written before.

        Raises:
            JournalError: Lines can't be written; the message says how many are missing.
        """
        self._add([{"event": "end", **facts}])
        try:
            await self.settle()
        except JournalError as error:
            missing = self._pending.count(b"\n")
            raise JournalError(f"{error}; lines that are missing in it: {missing}") from error

    def _line(self, entry: JournalEntry) -> dict[str, Any]:
        line: dict[str, Any] = {
            "event": "file",
            "action": entry.action or self._action,
            "kind": entry.kind,
            "name": entry.path,
            "url": entry.url,
            "reason": entry.reason,
            "bytes": entry.size,
            "outcome": entry.outcome,
            "error": entry.error,
        }
        if entry.kind == "blob":
            del line["url"]
        if entry.rule is not None:
            line["rule"] = entry.rule
        return line

    def _add(self, lines: Sequence[dict[str, Any]]) -> None:
        """Adds lines to those to write, before any wait: no cancellation loses them."""
        shared = {"run": self._run, "time": _rfc3339(self._now())}
        self._pending += b"".join(to_json(shared | line) + b"\n" for line in lines)

    async def _flush(self) -> None:
        async with self._turn:
            while self._pending:
                written = await self._file.write(bytes(self._pending))
                if written is None:
                    raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
                del self._pending[:written]

    def _failure(self, error: OSError) -> JournalError:
        return JournalError(f"the audit log {self._path} can't be written: {error.strerror}")


def plan_facts(plan: PrunePlan | RepairPlan, version: str) -> dict[str, Any]:
    """The fields of the first line about a plan or a repair by this version of fastprune."""
    if isinstance(plan, RepairPlan):
        root, policy = plan.findings.index.root, {"repair": True}
        manifests, blobs, size = plan.files - plan.count("blob"), plan.count("blob"), plan.size
    else:
        root = plan.index.root
        policy = _policy_facts(plan.policy) | {"allow_broken": plan.allow_broken}
        manifests, blobs, size = int(plan.removed.sum()), len(plan.blobs), plan.bytes_freed
    return {
        "fastprune": version,
        "image_path": os.path.abspath(root),
        "policy": policy,
        "planned": {"manifests": manifests, "blobs": blobs, "bytes": size},
    }


def report_facts(report: PruneReport | RepairReport, exit_code: int) -> dict[str, Any]:
    """The fields of the last line about a run that ended or was stopped."""
    if isinstance(report, RepairReport):
        kinds = {"list": "lists", "image": "images", "unreadable": "unreadable", "blob": "blobs"}
        went = {name: report.count(kind) for kind, name in kinds.items()}
        went["bytes"] = report.size
    else:
        went = {
            "lists": len(report.lists),
            "images": len(report.images),
            "blobs": len(report.blobs),
            "bytes": report.bytes_freed,
        }
    return {
        "totals": {
            **went,
            "already_gone": report.already_gone,
            "changed": len(report.changed),
            "failed": len(report.failures),
            "left": report.left,
        },
        "stopped": report.stopped or None,
        "error": None,
        "exit_code": exit_code,
    }


def _policy_facts(policy: Policy) -> dict[str, Any]:
    """The criteria that were given, by the names of `Policy`'s attributes."""
    facts = {
        field.name: value
        for field in dataclasses.fields(policy)
        if (value := getattr(policy, field.name)) != field.default
    }
    if policy.rules:
        facts["rules"] = [{"name": one.name} | _policy_facts(one.policy) for one in policy.rules]
    return facts


def _rfc3339(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _ends_within_a_line(path: str, descriptor: int) -> bool:
    """Whether a regular file has an unfinished line at its end, as far as it can be read."""
    size = os.fstat(descriptor).st_size
    if not size or not os.path.isfile(path):
        return False
    try:
        with open(path, "rb") as file:
            file.seek(size - 1)
            return file.read(1) not in (b"\n", b"")
    except OSError:
        return False
