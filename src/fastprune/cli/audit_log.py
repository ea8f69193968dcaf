"""The audit log of a command: opened before any work, and ended even after an error."""

from __future__ import annotations

import signal
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeVar

from fastprune.audit.audit_file import opened_audit_file
from fastprune.cli.messages import log
from fastprune.errors import FastpruneError, JournalError
from fastprune.layouts.default import DEFAULT_LAYOUT

if TYPE_CHECKING:
    from fastprune.audit.audit_log import AuditLog
    from fastprune.deletion.journal import Journal
    from fastprune.plan.prune_plan import PrunePlan
    from fastprune.report.prune_report import PruneReport
    from fastprune.verification.repair_plan import RepairPlan
    from fastprune.verification.repair_report import RepairReport

Work = Callable[["Journal | None"], Awaitable["PruneReport"]]
"""Carries out a plan, and tells a journal of every file."""

RepairWork = Callable[["Journal | None"], Awaitable["RepairReport"]]
"""Carries out a repair, in the same way."""

Report = TypeVar("Report", "PruneReport", "RepairReport")


class Audit:
    """An audit log around a piece of work; or none, if none was asked for.

    Attributes:
        exit_code: 3 if lines are missing in the log, else 0.
    """

    def __init__(self, make_log: Callable[[], AuditLog] | None) -> None:
        """Writes nothing yet.

        Args:
            make_log: Makes the log; None if none was asked for.
        """
        self.exit_code = 0
        self._make_log = make_log

    async def around(self, plan: PrunePlan, work: Work, stopped: Callable[[], str]) -> PruneReport:
        """Writes the first line, carries out a plan, and writes the last line.

        Args:
            plan: The plan.
            work: Carries it out.
            stopped: Returns the name of the signal that stopped it, or an empty text.

        Raises:
            UsageError: The first line can't be written; the work was not begun.
        """
        if self._make_log is None:
            return await work(None)
        from fastprune.audit.audit_log import plan_facts, report_facts
        from fastprune.version import __version__

        return await self._around(plan_facts(plan, __version__), work, report_facts, stopped)

    async def around_repair(
        self, plan: RepairPlan, work: RepairWork, stopped: Callable[[], str]
    ) -> RepairReport:
        """Does the same for a repair."""
        if self._make_log is None:
            return await work(None)
        from fastprune.audit.audit_log import repair_facts, repaired_facts
        from fastprune.version import __version__

        return await self._around(repair_facts(plan, __version__), work, repaired_facts, stopped)

    async def _around(
        self,
        planned: dict[str, Any],
        work: Callable[[Journal | None], Awaitable[Report]],
        done: Callable[[Report, int], dict[str, Any]],
        stopped: Callable[[], str],
    ) -> Report:
        import anyio

        from fastprune.audit.audit_log import error_facts

        assert self._make_log is not None
        audit_log = self._make_log()
        await audit_log.start(planned)
        try:
            report = await work(audit_log)
        except BaseException as error:
            code = error.exit_code if isinstance(error, FastpruneError) else 1
            with anyio.CancelScope(shield=True):
                await self._end(audit_log, error_facts(error, code))
            raise
        name = stopped()
        code = 128 + signal.Signals[name] if name else report.exit_code
        await self._end(audit_log, done(report, code))
        return report

    async def _end(self, audit_log: AuditLog, facts: dict[str, object]) -> None:
        try:
            await audit_log.end(facts)
        except JournalError as error:
            log.error("%s", error)
            self.exit_code = error.exit_code


@contextmanager
def opened_audit(path: str | None, root: str, run: str, action: str) -> Iterator[Audit]:
    """Opens the file of the audit log, if one was asked for.

    Args:
        path: The value of `--audit-log`.
        root: Path of the cache.
        run: The run id.
        action: delete or trash.

    Raises:
        UsageError: It can't be opened; nothing was deleted.
    """
    if path is None:
        yield Audit(None)
        return
    with opened_audit_file(path, root, DEFAULT_LAYOUT) as descriptor:

        def make_log() -> AuditLog:
            from fastprune.audit.audit_log import AuditLog

            return AuditLog(path, descriptor, run=run, action=action, now=lambda: datetime.now(UTC))

        yield Audit(make_log)
