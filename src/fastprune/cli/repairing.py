"""What `fastprune verify --repair` does: under the lock, findings to a repair."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from fastprune.cli.locking import locked
from fastprune.cli.messages import log, notice
from fastprune.cli.running import run_until_signal
from fastprune.cli.session import Session
from fastprune.cli.terminal import confirmed
from fastprune.cli.values import seconds_of
from fastprune.cli.verify_command import RepairOptions
from fastprune.cli.warnings import refuse_or_override_servers, warn_of_undurable
from fastprune.limits import DEFAULT_CONCURRENCY, Limits
from fastprune.quantities import format_bytes, format_count
from fastprune.runs import RUN_ID_RANDOM_BYTES, make_run_id

if TYPE_CHECKING:
    from fastprune.journal import Journal
    from fastprune.verification.findings import Findings
    from fastprune.verification.repair_plan import RepairPlan
    from fastprune.verification.repair_report import RepairReport

Repaired = tuple["Findings", "RepairReport | None", int]
"""What was found; what was done about it, if anything; and an exit code, 0 if it is theirs."""


def repair(session: Session, repairing: RepairOptions, find: Callable[[], Findings]) -> Repaired:
    """Verifies and repairs.

    Args:
        session: The global options.
        repairing: How.
        find: Verifies; called when the cache is locked, unless this is a dry run.

    Raises:
        FastpruneError: It can't be done; nothing was moved.
    """
    wait = seconds_of(repairing.lock_wait, "--lock-wait") or 0
    if repairing.dry_run:
        findings = find()
        from fastprune.verification.repair_plan import plan_repair
        from fastprune.verification.repair_report import planned_report

        if repairing.audit_log:
            log.warning("a dry run moves nothing, so nothing is written to the audit log")
        return findings, planned_report(plan_repair(findings)), 0
    overridden = refuse_or_override_servers(session.image_path, force=repairing.force)
    from fastprune.cli.auditing import opened_audit

    run = make_run_id(datetime.now(UTC), os.urandom(RUN_ID_RANDOM_BYTES))
    with (
        locked(session.image_path, wait, no_lock=repairing.no_lock) as unlocked,
        opened_audit(repairing.audit_log, session.image_path, run, "trash") as audit,
    ):
        findings = find()
        from fastprune.api import repair as carry_out
        from fastprune.verification.repair_plan import plan_repair

        plan = plan_repair(findings)
        if not plan.is_empty and not repairing.yes and not _confirmed(plan):
            notice("nothing was moved")
            return findings, None, 1
        limits = Limits(session.concurrency(None) or DEFAULT_CONCURRENCY)

        def work(stopped: Callable[[], str]) -> Awaitable[RepairReport]:
            def move(journal: Journal | None) -> Awaitable[RepairReport]:
                return carry_out(
                    findings,
                    force=repairing.force,
                    trash_run=run,
                    limits=limits.or_when(stopped),
                    progress=session.progress(),
                    journal=journal,
                )

            return audit.around_repair(plan, move, stopped)

        report, signal_code = run_until_signal(work)
    warn_of_undurable(session.image_path, report.not_durable)
    report = dataclasses.replace(report, overridden=overridden, no_lock=unlocked)
    return findings, report, signal_code or audit.exit_code


def _confirmed(plan: RepairPlan) -> bool:
    blobs = plan.count("blob")
    manifests = plan.files - blobs
    return confirmed(
        f"Move {format_count(manifests, 'manifest')} and {format_count(blobs, 'blob')} "
        f"({format_bytes(plan.size)}) to the trash of {plan.findings.index.root}?"
    )
