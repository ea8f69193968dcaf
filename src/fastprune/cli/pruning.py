"""What `fastprune prune` does: options to a policy, a plan, a report."""

from __future__ import annotations

import dataclasses
import math
import secrets
import sys
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from fastprune.cli.auditing import opened_audit
from fastprune.cli.config import prune_settings
from fastprune.cli.options import GlobalOptions, SelectionOptions
from fastprune.cli.prune_command import PruneOptions
from fastprune.cli.running import run_until_signal
from fastprune.cli.selection import overridden, to_policy
from fastprune.cli.session import (
    Session,
    log,
    open_session,
    write,
    write_json,
)
from fastprune.cli.warnings import warn_of_servers
from fastprune.errors import UnreadableManifestsError, UsageError
from fastprune.limits import DEFAULT_CONCURRENCY, Limits
from fastprune.pipeline import PlanOptions, TimedPlan, refuse_servers, work_out
from fastprune.policy import Policy
from fastprune.quantities import format_bytes, format_count, parse_duration
from fastprune.runs import RUN_ID_RANDOM_BYTES, make_run_id
from fastprune.scanner import ScanOptions, check_root

if TYPE_CHECKING:
    from fastprune.plan import PrunePlan
    from fastprune.report import PruneReport

_MOST_NAMED = 20


def prune(options: GlobalOptions, selection: SelectionOptions, pruning: PruneOptions) -> int:
    """Prunes, prints the report, and gives the exit code.

    Raises:
        FastpruneError: It can't be done; nothing was deleted.
    """
    session = open_session(options)
    settings = prune_settings(session.config)
    if pruning.orphans_only:
        settings = dataclasses.replace(
            settings, pattern=None, date=None, older_than=None, not_pulled_for=None, count=None
        )
    dry_run = bool(settings.dry_run if pruning.dry_run is None else pruning.dry_run)
    policy = to_policy(
        overridden(selection, settings), datetime.now(UTC), orphans_only=pruning.orphans_only
    )
    policy.check()
    if pruning.form not in ("text", "json"):
        raise UsageError(f"--format: {pruning.form!r} is neither text nor json")
    try:
        outcome = _prune(session, policy, dataclasses.replace(pruning, dry_run=dry_run))
    except UnreadableManifestsError as error:
        if pruning.form == "json":
            write_json(_refusal(session, error))
        raise
    if outcome is None:
        print("fastprune: nothing was removed", file=sys.stderr)
        return 1
    report, code = outcome
    _say_problems(report)
    if dry_run:
        warn_of_servers(session.image_path)
    _print(report, pruning)
    return code


def _prune(
    session: Session, policy: Policy, pruning: PruneOptions
) -> tuple[PruneReport, int] | None:
    """Gives the report and the exit code; None for a no."""
    concurrency = session.concurrency(pruning.concurrency)
    pace = pruning.max_deletes_per_second
    if pace is not None and not 0 < pace < math.inf:
        raise UsageError(f"--max-deletes-per-second {pace}: must be more than 0")
    longest = _seconds(pruning.max_duration, "--max-duration")
    deadline = None if longest is None else time.monotonic() + longest
    wait = _seconds(pruning.lock_wait, "--lock-wait") or 0
    options = PlanOptions(
        scan=ScanOptions(max_manifest_bytes=session.max_manifest_bytes),
        allow_broken=pruning.allow_broken,
        skip_corrupt=pruning.skip_corrupt,
        grace=_seconds(pruning.grace, "--grace") or 0,
        deadline=deadline,
    )

    def plan() -> TimedPlan:
        with session.executor() as executor:
            return work_out(
                session.image_path,
                policy,
                lambda _: executor,
                options,
                progress=session.progress(),
            )

    if pruning.dry_run:
        timed = plan()
        from fastprune.report import planned_report

        if pruning.audit_log:
            log.warning("a dry run removes nothing, so nothing is written to the audit log")
        report = planned_report(timed.plan, trash=pruning.trash)
        return dataclasses.replace(report, seconds=timed.seconds), report.exit_code
    if not pruning.force:
        refuse_servers(session.image_path)
    check_root(session.image_path)
    from fastprune.guard import cache_lock

    run = make_run_id(datetime.now(UTC), secrets.token_bytes(RUN_ID_RANDOM_BYTES))
    action = "trash" if pruning.trash else "delete"
    with (
        cache_lock(session.image_path, wait),
        opened_audit(pruning.audit_log, session.image_path, run, action) as audit,
    ):
        timed = plan()
        if not timed.plan.is_empty and not pruning.yes and not _confirmed(timed.plan, pruning):
            return None
        limits = Limits(concurrency or DEFAULT_CONCURRENCY, per_second=pace).until(
            deadline, time.monotonic
        )
        from fastprune.api import apply

        report, signal_code = run_until_signal(
            lambda stopped: audit.around(
                timed.plan,
                lambda journal: apply(
                    timed.plan,
                    trash_run=run if pruning.trash else None,
                    limits=limits.or_when(stopped),
                    progress=session.progress(),
                    journal=journal,
                ),
                stopped,
            )
        )
    code = signal_code or report.exit_code or audit.exit_code
    return dataclasses.replace(report, seconds=timed.seconds | report.seconds), code


def _seconds(text: str | None, option: str) -> float | None:
    return parse_duration(text, option) if text is not None else None


def _confirmed(plan: PrunePlan, pruning: PruneOptions) -> bool:
    """Asks, if there is a terminal to ask on."""
    if not sys.stdin.isatty() or not sys.stderr.isatty():
        return True
    manifests = len(plan.lists) + len(plan.images)
    remove, where = ("Move", "to the trash of") if pruning.trash else ("Remove", "from")
    question = (
        f"{remove} {format_count(manifests, 'manifest')} and "
        f"{format_count(len(plan.blobs), 'blob')} ({format_bytes(plan.bytes_freed)}) "
        f"{where} {plan.index.root}? [y/N] "
    )
    print(question, end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def _say_problems(report: PruneReport) -> None:
    from fastprune.cli.warnings import warn_about

    warn_about(report.plan.index)
    for row in report.plan.protected.tolist():
        index = report.plan.index
        keeper = index.url(int(report.plan.kept_by[row]))
        log.info("%s stays: %s refers to it", index.url(row), keeper)
    for path in report.appeared[:_MOST_NAMED]:
        log.error("%s appeared during the prune: a server is at work, no blob was removed", path)
    for path in report.changed:
        log.warning("%s changed since the scan and was left alone", path)
    for failure in report.failures:
        log.error("%s can't be removed: %s", failure.path, failure.message)
    if report.stopped:
        log.warning(
            "stopped by %s; %s left to remove", report.stopped, format_count(report.left, "file")
        )


def _print(report: PruneReport, pruning: PruneOptions) -> None:
    from fastprune.report import as_document, text_lines

    if pruning.form == "json":
        write_json(as_document(report, summary=pruning.summary))
    else:
        write(text_lines(report, summary=pruning.summary))


def _refusal(session: Session, error: UnreadableManifestsError) -> dict[str, object]:
    return {
        "version": 1,
        "command": "prune",
        "image_path": session.image_path,
        "error": str(error),
        "exit_code": error.exit_code,
        "corrupt": [{"path": path, "reason": reason} for path, reason in error.faults],
    }
