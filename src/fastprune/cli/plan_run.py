"""What `prune` and `apply` share: a plan is worked out, carried out under the lock, reported."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from typing import TYPE_CHECKING

from fastprune.cli.cache_lock import exclusion_of, held
from fastprune.cli.cache_warnings import warn_of_own_pruning, warn_of_servers
from fastprune.cli.cluster_options import ClusterOptions
from fastprune.cli.html_page import checked_html, write_plan_page
from fastprune.cli.messages import facts, log, notice, say_error
from fastprune.cli.metrics_file import Note, failures_in_metrics, with_metrics
from fastprune.cli.option_values import seconds_of
from fastprune.cli.options import GlobalOptions
from fastprune.cli.plan_options import PruneOptions
from fastprune.cli.server_config import prune_settings
from fastprune.cli.server_options import check_agreement
from fastprune.cli.session import Session, open_session, write, write_json
from fastprune.cli.signals import run_until_signal
from fastprune.cli.state_folder import StateOptions
from fastprune.cli.terminal import confirmed
from fastprune.errors import DeleteLimitError, UsageError
from fastprune.pipeline import TimedPlan
from fastprune.policy.delete_limits import DeleteLimits
from fastprune.report.metrics import NOTHING_DONE, plan_values, report_values
from fastprune.text.quantities import format_bytes, format_count

if TYPE_CHECKING:
    from fastprune.deletion.cache_reader import CacheReader
    from fastprune.plan.prune_plan import PrunePlan
    from fastprune.report.prune_report import PruneReport
    from fastprune.server.client import ServerClient

_MOST_NAMED = 20

WorkOut = Callable[["CacheReader", float | None], TimedPlan]
"""Gets a plan of a cache, with a deadline by `time.monotonic`."""


def run_with_metrics(
    command: str,
    options: GlobalOptions,
    state: StateOptions,
    cluster: ClusterOptions,
    pruning: PruneOptions,
    work: Callable[[Session, PruneOptions, Note], int],
) -> int:
    """Opens the session of a command that carries a plan out, does its work, and writes metrics.

    Where the options do not say whether this is a dry run, the server's configuration file does.
    The work gets options that say so, and gives the exit code.
    """
    asked = bool(pruning.dry_run)
    with failures_in_metrics(pruning.metrics_file, command, options, dry_run=asked):
        session = open_session(options, state, cluster)
        settings = prune_settings(session.config)
    dry_run = bool(settings.dry_run if pruning.dry_run is None else pruning.dry_run)
    pruning = dataclasses.replace(pruning, dry_run=dry_run)
    return with_metrics(
        pruning.metrics_file,
        command,
        session.image_path,
        partial(work, session, pruning),
        dry_run=dry_run,
    )


def carry_out(
    session: Session,
    command: str,
    pruning: PruneOptions,
    delete_limits: DeleteLimits,
    work_out: WorkOut,
    *,
    note: Note,
    zone: str | None = None,
    server: ServerClient | None = None,
    grace: float = 0,
) -> int:
    """Gets a plan, carries it out, prints the report, and gives the exit code.

    The plan is worked out once the cache is locked; for a dry run, without a lock. A running server
    is asked to remove what goes: then blobs that nothing refers to are spared if they are younger
    than `grace`, in seconds. The zone is for the ages of the page that --html writes.

    Raises:
        FastpruneError: It can't be done; nothing was deleted.
    """
    if server is not None and pruning.trash:
        raise UsageError(
            "--trash: can't be combined with --server, as a server deletes what it is asked to "
            "remove; leave out --trash"
        )
    if pruning.html is not None and not pruning.dry_run:
        raise UsageError("--html shows what would go: give --dry-run as well")
    page = checked_html(pruning.html, session.image_path)
    note(NOTHING_DONE)

    def noted(reader: CacheReader, deadline: float | None) -> TimedPlan:
        timed = work_out(reader, deadline)
        note(plan_values(timed.plan) | {"last_run_step_duration_seconds": timed.seconds})
        return timed

    if server is not None:
        warn_of_own_pruning(session.image_path, session.config)
    outcome = _carry_out(session, pruning, delete_limits, noted, server, grace)
    if outcome is None:
        notice("nothing was removed")
        return 1
    report, code = outcome
    note(report_values(report))
    _say_problems(report)
    if report.dry_run:
        found = warn_of_servers(session.image_path, server)
        report = dataclasses.replace(report, servers=found)
    if page is not None:
        write_plan_page(page, report.plan, command, zone, progress=session.progress())
    print_report(report, session, command, form=pruning.form, summary=pruning.summary)
    if report.exceeded:
        say_error(DeleteLimitError(report.exceeded))
    return code


def _carry_out(
    session: Session,
    pruning: PruneOptions,
    delete_limits: DeleteLimits,
    work_out: WorkOut,
    server: ServerClient | None,
    grace: float,
) -> tuple[PruneReport, int] | None:
    """Gives the report and the exit code; None if the user answered no."""
    limits = session.limits(pruning.concurrency)
    pace = pruning.max_deletes_per_second
    if pace is not None and not 0 < pace < math.inf:
        raise UsageError(f"--max-deletes-per-second {pace}: must be a finite number above 0")
    limits = dataclasses.replace(limits, per_second=pace)
    longest = seconds_of(pruning.max_duration, "--max-duration")
    deadline = None if longest is None else time.monotonic() + longest
    exclusion = exclusion_of(
        pruning.lock_wait, no_lock=pruning.no_lock, force=pruning.force, server=server
    )
    if pruning.dry_run:
        timed = work_out(session.reader(), deadline)
        check_agreement(timed.plan.index, server)
        report = _rehearsed(timed, pruning, delete_limits)
        report = with_estimate(report, session, pace=pace, most_seconds=longest)
        return report, report.exit_code
    from fastprune.cli.audit_log import opened_audit
    from fastprune.deletion.held_cache import ApplyOptions

    with (
        held(session, exclusion) as cache,
        opened_audit(pruning.audit_log, session.image_path) as audit,
    ):
        timed = work_out(cache.reader, deadline)
        # A plan that is refused anyway is not worth a question.
        delete_limits.enforce(timed.plan)
        must_ask = not timed.plan.is_empty and not pruning.yes
        if must_ask and not _confirmed(session, timed.plan, pruning):
            return None
        options = ApplyOptions(pruning.trash, delete_limits=delete_limits, journal=audit)

        async def apply(stopped: Callable[[], str]) -> PruneReport:
            ending = limits.or_when(stopped).until(deadline, time.monotonic)
            how = dataclasses.replace(options, limits=ending, server=server, grace=grace)
            async with server or nullcontext():
                return await cache.apply(timed.plan, how)

        report, signal_code = run_until_signal(apply)
    return report, signal_code or report.exit_code or (audit.exit_code if audit else 0)


def _rehearsed(timed: TimedPlan, pruning: PruneOptions, delete_limits: DeleteLimits) -> PruneReport:
    """The report of a dry run."""
    from fastprune.report.prune_report import planned_report

    if pruning.audit_log:
        log.warning("a dry run removes nothing, so nothing is written to the audit log")
    return dataclasses.replace(
        planned_report(timed.plan, trash=pruning.trash),
        seconds=timed.seconds,
        exceeded=delete_limits.exceeded_by(timed.plan),
    )


def with_estimate(
    report: PruneReport,
    session: Session,
    *,
    pace: float | None = None,
    most_seconds: float | None = None,
) -> PruneReport:
    """The report of a dry run with an estimate of the real one.

    With a running server there is none: how fast it removes images was not measured.
    """
    from fastprune.report.estimates import estimate

    if report.plan.index.known is not None:
        return report
    return dataclasses.replace(
        report,
        estimate=estimate(
            len(report.lists) + len(report.images) + len(report.blobs),
            0 if report.trash else report.bytes_freed,
            scan_seconds=sum(report.seconds.values()),
            measured=session.saved_rate,
            pace=pace,
            most_seconds=most_seconds,
        ),
    )


def _confirmed(session: Session, plan: PrunePlan, pruning: PruneOptions) -> bool:
    remove, where = ("Move", "to the trash of") if pruning.trash else ("Remove", "from")
    return confirmed(
        f"{remove} {format_count(len(plan.manifests), 'manifest')} and "
        f"{format_count(len(plan.blobs), 'blob')} ({format_bytes(plan.bytes_removed)}) "
        f"{where} {plan.index.root}?",
        stdin_taken=bool(session.inputs.stdin_taken_by),
    )


def _say_problems(report: PruneReport) -> None:
    from fastprune.cli.cache_warnings import warn_about, warn_of_shortfall, warn_of_undurable

    warn_about(report.plan.index)
    warn_of_undurable(report.plan.index.root, report.not_durable)
    warn_of_shortfall(report)
    for row in report.plan.protected.tolist():
        index = report.plan.index
        keeper = index.url(int(report.plan.kept_by[row]))
        what = "it belongs to %s" if index.belongs(row) else "%s refers to it"
        log.info("%s stays: " + what, index.url(row), keeper)
    for path in report.appeared[:_MOST_NAMED]:
        log.error(
            "%s appeared during the prune: a server is at work, no %sblob was removed",
            path,
            "further " if len(report.blobs) else "",
            extra=facts(path=path),
        )
    for path in report.changed[:_MOST_NAMED]:
        log.warning("%s changed since the scan and was left alone", path, extra=facts(path=path))
    for failure in report.failures[:_MOST_NAMED]:
        log.error(
            "%s can't be removed: %s",
            failure.path,
            failure.message,
            extra=facts(path=failure.path, reason=failure.message),
        )
    unnamed = max(len(report.changed), len(report.failures)) - _MOST_NAMED
    if unnamed > 0:
        log.warning("and so on: --format json names all of them, and so does the audit log")
    if report.stopped:
        log.warning(
            "stopped: %s; %s left to remove", report.stopped, format_count(report.left, "file")
        )


def print_report(
    report: PruneReport, session: Session, command: str, *, form: str, summary: bool
) -> None:
    """Prints a report; the summary leaves out the line of each manifest and blob."""
    from fastprune.report.prune_rendering import as_document, text_lines

    if form == "json":
        write_json(as_document(report, summary=summary) | {"command": command})
    else:
        write(text_lines(report, summary=summary, paint=session.paint))
