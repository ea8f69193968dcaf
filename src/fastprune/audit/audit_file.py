"""The file of an audit log: opened before anything is removed, and never in the cache.

Stage: rim. Input: paths. Output: an `AuditFile`. I/O: opens or makes one file.

It is a module of its own, without heavy imports, because it is needed before the workers of a scan
are forked.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from fastprune.errors import FastpruneError, JournalError, UsageError
from fastprune.layouts.default import DEFAULT_LAYOUT
from fastprune.layouts.layout import Layout
from fastprune.whole_files import folder_of_cache

if TYPE_CHECKING:
    from fastprune.audit.audit_log import AuditLog
    from fastprune.deletion.journal import JournalEntry
    from fastprune.plan.prune_plan import PrunePlan
    from fastprune.report.prune_report import PruneReport
    from fastprune.verification.repair_plan import RepairPlan
    from fastprune.verification.repair_report import RepairReport

_MODE = 0o640
_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOCTTY


class AuditFile:
    """An open file that takes down prunes and repairs, one after the other. A `RunJournal`.

    Attributes:
        incomplete: Why lines are missing at the end of the last run; None if none are.
    """

    def __init__(self, path: str, descriptor: int) -> None:
        """Writes nothing yet; the caller closes the descriptor. The path is for messages."""
        self.incomplete: JournalError | None = None
        self._path, self._descriptor = path, descriptor
        self._log: AuditLog | None = None

    async def begin(self, plan: PrunePlan | RepairPlan, run: str, action: str) -> None:
        """See `RunJournal.begin`."""
        from fastprune.audit.audit_log import AuditLog, plan_facts
        from fastprune.version import __version__

        self.incomplete = None
        self._log = AuditLog(
            self._path, self._descriptor, run=run, action=action, now=lambda: datetime.now(UTC)
        )
        await self._log.start(plan_facts(plan, __version__))

    async def note(self, entries: Sequence[JournalEntry]) -> None:
        """See `Journal.note`."""
        await self._begun.note(entries)

    async def settle(self) -> None:
        """See `Journal.settle`."""
        await self._begun.settle()

    async def end(self, report: PruneReport | RepairReport, stopped: str) -> None:
        """See `RunJournal.end`; what can't be written is in `incomplete`."""
        from fastprune.audit.audit_log import report_facts

        is_signal = stopped in signal.Signals.__members__
        code = 128 + signal.Signals[stopped] if is_signal else report.exit_code
        await self._end(report_facts(report, code))

    async def fail(self, error: BaseException) -> None:
        """See `RunJournal.fail`; what can't be written is in `incomplete`."""
        code = error.exit_code if isinstance(error, FastpruneError) else 1
        # The lines before it are valid.
        await self._end({"totals": None, "stopped": None, "error": str(error), "exit_code": code})

    async def _end(self, facts: Mapping[str, Any]) -> None:
        try:
            await self._begun.end(facts)
        except JournalError as error:
            self.incomplete = error

    @property
    def exit_code(self) -> int:
        """That of the program if all else went well: 3 if lines are missing, else 0."""
        return 0 if self.incomplete is None else self.incomplete.exit_code

    @property
    def _begun(self) -> AuditLog:
        assert self._log is not None, "a run begins before a file of it is noted"
        return self._log


@contextmanager
def open_audit_log(
    path: str | os.PathLike[str],
    root: str | os.PathLike[str],
    layout: Layout = DEFAULT_LAYOUT,
) -> Iterator[AuditFile]:
    """Opens an audit log, or makes it, as the journal of `ApplyOptions`.

    Args:
        path: The file.
        root: Path of the cache, whose folders can't hold it.
        layout: What kind of cache it is.

    Raises:
        UsageError: It can't be opened, or lies in a folder of the cache.
    """
    path = os.fspath(path)
    if found := folder_of_cache(path, os.fspath(root), layout):
        raise UsageError(
            f"--audit-log {path}: lies in a folder of the cache ({found[1]}), where only "
            "cached files may be; nothing was deleted"
        )
    try:
        # Non-blocking: a FIFO without a reader is an error instead of an endless wait.
        descriptor = os.open(path, _FLAGS | os.O_NONBLOCK, _MODE)
    except OSError as error:
        raise UsageError(f"--audit-log {path}: {error.strerror}; nothing was deleted") from None
    os.set_blocking(descriptor, True)
    try:
        yield AuditFile(path, descriptor)
    finally:
        os.close(descriptor)
