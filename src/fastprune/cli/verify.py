"""`fastprune verify`: options to findings, a report; a repair, if asked for."""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from fastprune.cli.app import command
from fastprune.cli.check_options import CheckOptions, verify_options_of
from fastprune.cli.cluster_options import ClusterOptions
from fastprune.cli.headings import CHECKS, OUTPUT, SAFETY
from fastprune.cli.options import (
    GlobalOptions,
    audit_log_option,
    flag,
    format_option,
    lock_wait_option,
    metrics_option,
    no_lock_option,
    yes_option,
)
from fastprune.cli.server_options import ServerOptions, ask, scan_options_of, server_of
from fastprune.cli.signals import run_until_signal
from fastprune.cli.state_folder import VerifiedOptions
from fastprune.errors import UsageError
from fastprune.text.quantities import format_bytes, format_count

if TYPE_CHECKING:
    from fastprune.cli.metrics_file import Note
    from fastprune.cli.session import Session
    from fastprune.server.client import ServerClient
    from fastprune.verification.findings import Findings
    from fastprune.verification.repair_plan import RepairPlan
    from fastprune.verification.repair_report import RepairReport
    from fastprune.verification.verifier import VerifyOptions


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class RepairOptions:
    """Whether and how what is damaged is moved aside."""

    repair: bool = flag(
        "--repair",
        CHECKS,
        "Move damaged manifests and bad blobs to the trash of the cache, so that the "
        "server pulls them anew; fastprune trash restore puts them back. With --server: let the "
        "server forget what is damaged, while it runs.",
    )
    dry_run: bool = flag("--dry-run -n", SAFETY, "With --repair: show exactly what would be moved.")
    yes: bool = yes_option()
    force: bool = flag("--force", SAFETY, "Repair although a server seems to run on this cache.")
    lock_wait: str | None = lock_wait_option()
    no_lock: bool = no_lock_option()
    audit_log: str | None = audit_log_option()


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ReportOptions:
    """How findings are reported."""

    strict: bool = flag(
        "--strict", OUTPUT, "Exit code 3 for notes too: orphans, dangling, foreign."
    )
    form: str = format_option()
    summary: bool = flag("--summary", OUTPUT, "Leave out the line of each finding.")
    metrics_file: str | None = metrics_option()


@command(
    "verify",
    examples=(
        "fastprune verify --content --content-since last",
        "fastprune verify --repair --dry-run",
    ),
)
def check_cache(
    options: GlobalOptions,
    checks: CheckOptions,
    repairing: RepairOptions,
    reporting: ReportOptions,
    running: ServerOptions,
    state: VerifiedOptions,
    cluster: ClusterOptions,
) -> int:
    """Check the cache for damaged manifests and blobs, and orphans.

    Damage is manifests that can't be read or that are not what their names stand for, and
    blobs that are missing, cut off or altered: the exit code is 3 then. Orphans, dangling
    images and foreign files are notes. Reads only, unless --repair is given: then what is
    damaged goes to the trash, and the exit code is 0 if nothing damaged is left. With --server,
    damage is also what the server answers for although its file or a blob is gone.
    """
    from fastprune.cli.metrics_file import failures_in_metrics, with_metrics
    from fastprune.cli.session import open_session
    from fastprune.layouts.default import DEFAULT_LAYOUT
    from fastprune.scanning.jobs import auto_jobs

    metrics_file, dry_run = reporting.metrics_file, repairing.dry_run
    with failures_in_metrics(metrics_file, "verify", options, dry_run=dry_run):
        session = open_session(options, state, cluster)
    if checks.content and options.jobs is None:
        # Reading blobs keeps more processors busy than merging a scan can feed.
        auto = auto_jobs(session.image_path, DEFAULT_LAYOUT, merging=False)
        session = dataclasses.replace(session, jobs=auto.jobs)
    work = partial(_verify, session, checks, repairing, reporting, running)
    return with_metrics(metrics_file, "verify", session.image_path, work, dry_run=dry_run)


_MOST_NAMED = 20


def _verify(
    session: Session,
    checks: CheckOptions,
    repairing: RepairOptions,
    reporting: ReportOptions,
    running: ServerOptions,
    note: Note,
) -> int:
    from fastprune.cli.cache_warnings import warn_of_servers
    from fastprune.cli.option_values import check_form
    from fastprune.verification.report import findings_values

    server = server_of(running)
    check_form(reporting.form)
    _check_repair_options(repairing)
    verify_options = verify_options_of(session.scan_options, checks)
    if repairing.repair:
        findings, report, code = _repair(session, repairing, verify_options, server)
    else:
        findings, report, code = _checked(session, verify_options, server), None, 0
    note(findings_values(findings))
    if report is None or report.dry_run:
        warn_of_servers(session.image_path, server)
    if report is not None:
        _say_problems(report)
    _print(findings, report, reporting)
    if not code and reporting.strict and findings.notes:
        return 3
    return code or (findings if report is None else report).exit_code


def _checked(session: Session, options: VerifyOptions, server: ServerClient | None) -> Findings:
    """Verifies, and asks the server what of the damage it has in memory."""
    options = dataclasses.replace(options, scan=scan_options_of(session, server))
    findings = session.reader().verify(options)
    if server is None:
        return findings
    from fastprune.deletion.healing import with_served

    return ask(server, partial(with_served, server, findings))


def _check_repair_options(repairing: RepairOptions) -> None:
    """Refuses options of a repair without --repair: nobody may take a mere check for one."""
    given = dataclasses.asdict(repairing)
    if given.pop("repair"):
        return
    for name, value in given.items():
        if value:
            raise UsageError(
                f"--{name.replace('_', '-')} has an effect only with --repair: give both"
            )


def _say_problems(report: RepairReport) -> None:
    from fastprune.cli.messages import log

    for path in report.changed[:_MOST_NAMED]:
        log.warning("%s changed since it was found and was left alone", path)
    for path in report.plan.beside[:_MOST_NAMED]:
        log.warning(
            "%s is damaged and was left alone, as the server may use it; 'fastprune verify "
            "--repair' moves it while no server runs",
            path,
        )
    for path in report.plan.left[:_MOST_NAMED]:
        log.warning("%s could not be checked and was left alone", path)
    for failure in report.failures[:_MOST_NAMED]:
        log.error("%s can't be moved: %s", failure.path, failure.message)
    if report.stopped:
        log.warning(
            "stopped by %s; %s left to move", report.stopped, format_count(report.left, "file")
        )


def _print(findings: Findings, report: RepairReport | None, reporting: ReportOptions) -> None:
    from fastprune.cli.session import write, write_json
    from fastprune.verification import repair_report
    from fastprune.verification import report as verification_report

    summary = reporting.summary
    if reporting.form == "json":
        document = verification_report.as_document(findings, summary=summary)
        if report is not None:
            document["repair"] = repair_report.as_document(report, summary=summary)
        write_json(document)
        return
    write(verification_report.text_lines(findings, summary=summary))
    if report is not None:
        write(repair_report.text_lines(report, summary=summary))


def _repair(
    session: Session, repairing: RepairOptions, options: VerifyOptions, server: ServerClient | None
) -> tuple[Findings, RepairReport | None, int]:
    """Verifies and repairs.

    Returns:
        What was found; what was done about it, if anything; and the exit code, 0 if the findings
        or the report decide on it.

    Raises:
        FastpruneError: It can't be done; nothing was moved.
    """
    from fastprune.cli.audit_log import opened_audit
    from fastprune.cli.cache_lock import exclusion_of, held
    from fastprune.cli.cache_warnings import warn_of_undurable
    from fastprune.cli.messages import log, notice
    from fastprune.deletion.held_cache import ApplyOptions

    exclusion = exclusion_of(
        repairing.lock_wait, no_lock=repairing.no_lock, force=repairing.force, server=server
    )
    if repairing.dry_run:
        findings = _checked(session, options, server)
        from fastprune.verification.repair_report import planned_report

        if repairing.audit_log:
            log.warning("a dry run moves nothing, so nothing is written to the audit log")
        return findings, planned_report(_planned(findings)), 0
    with (
        held(session, exclusion) as cache,
        opened_audit(repairing.audit_log, session.image_path) as audit,
    ):
        options = dataclasses.replace(options, scan=scan_options_of(session, server))
        findings = cache.reader.verify(options)
        if server is not None:
            findings = ask(server, partial(cache.with_served, findings, server))
        plan = _planned(findings)
        if not plan.is_empty and not repairing.yes and not _confirmed_repair(plan):
            notice("nothing was moved")
            return findings, None, 1
        limits = session.limits(None)

        async def repair(stopped: Callable[[], str]) -> RepairReport:
            how = ApplyOptions(limits=limits.or_when(stopped), journal=audit, server=server)
            async with server or contextlib.nullcontext():
                return await cache.repair(findings, how)

        report, signal_code = run_until_signal(repair)
    warn_of_undurable(session.image_path, report.not_durable)
    return findings, report, signal_code or (audit.exit_code if audit else 0)


def _planned(findings: Findings) -> RepairPlan:
    """What a repair does: beside a server if one was asked."""
    from fastprune.verification.repair_plan import plan_repair, plan_repair_beside

    if findings.served is None:
        return plan_repair(findings)
    return plan_repair_beside(findings, time.time())


def _confirmed_repair(plan: RepairPlan) -> bool:
    from fastprune.cli.terminal import confirmed

    blobs = plan.count("blob")
    manifests = plan.files - blobs
    heal = ""
    if plan.healing:
        heal = f"Let the server forget {format_count(len(plan.healing), 'image URL')}? "
    return confirmed(
        f"{heal}Move {format_count(manifests, 'manifest')} and {format_count(blobs, 'blob')} "
        f"({format_bytes(plan.size)}) to the trash of {plan.findings.index.root}?"
    )
