"""What `fastprune verify` does: options to findings, a report; a repair, if asked for."""

from __future__ import annotations

import dataclasses
import os
import sys
from typing import TYPE_CHECKING

from fastprune.cli.messages import log
from fastprune.cli.metering import Note, failures_metered, metered
from fastprune.cli.options import GlobalOptions
from fastprune.cli.session import Session, open_session, write, write_json
from fastprune.cli.values import check_form
from fastprune.cli.verify_command import CheckOptions, RepairOptions, ReportOptions
from fastprune.cli.warnings import warn_of_servers
from fastprune.errors import UsageError
from fastprune.executors.processes import available_jobs
from fastprune.metrics import findings_values
from fastprune.quantities import format_count, parse_percentage
from fastprune.scanner import ScanOptions
from fastprune.verification.verifier import VerifyOptions, verify_cache

if TYPE_CHECKING:
    from fastprune.verification.findings import Findings
    from fastprune.verification.repair_report import RepairReport

_SEED_BYTES = 4
_LARGEST_SEED = 2**64 - 1
_MOST_NAMED = 20


def verify(
    options: GlobalOptions,
    checks: CheckOptions,
    repairing: RepairOptions,
    reporting: ReportOptions,
) -> int:
    """Verifies, repairs if asked to, prints what was found and done, and gives the exit code.

    Raises:
        FastpruneError: It can't be done.
    """
    metrics_file, dry_run = reporting.metrics_file, repairing.dry_run
    with failures_metered(metrics_file, "verify", options, dry_run=dry_run):
        session = open_session(options)
    if checks.content and options.jobs is None:
        # Reading blobs keeps more processors busy than merging a scan can feed.
        session = dataclasses.replace(session, jobs=available_jobs(most=sys.maxsize))

    def work(note: Note) -> int:
        return _verify(session, checks, repairing, reporting, note)

    return metered(metrics_file, "verify", session.image_path, work, dry_run=dry_run)


def _verify(
    session: Session,
    checks: CheckOptions,
    repairing: RepairOptions,
    reporting: ReportOptions,
    note: Note,
) -> int:
    check_form(reporting.form)
    _check_repair_options(repairing)
    verify_options = _verify_options(session, checks)

    def find() -> Findings:
        with session.executor() as executor:
            return verify_cache(
                session.image_path, lambda _: executor, verify_options, progress=session.progress()
            )

    if not repairing.repair:
        findings, report, code = find(), None, 0
    else:
        from fastprune.cli.repairing import repair

        findings, report, code = repair(session, repairing, find)
    note(findings_values(findings))
    if report is None or report.dry_run:
        warn_of_servers(session.image_path)
    if report is not None:
        _say_problems(report)
    _print(findings, report, reporting)
    return code or _exit_code(findings, report, strict=reporting.strict)


def _exit_code(findings: Findings, report: RepairReport | None, *, strict: bool) -> int:
    code = findings.exit_code if report is None else report.exit_code
    return 3 if strict and findings.notes else code


def _check_repair_options(repairing: RepairOptions) -> None:
    """Makes sure that nobody takes a mere check for a repair.

    Raises:
        UsageError: An option means something only with --repair.
    """
    given = dataclasses.asdict(repairing)
    if given.pop("repair"):
        return
    for name, value in given.items():
        if value:
            raise UsageError(f"--{name.replace('_', '-')} is about --repair: give both")


def _verify_options(session: Session, checks: CheckOptions) -> VerifyOptions:
    """How the options say to verify.

    Raises:
        UsageError: A value can't be used.
    """
    if checks.sample is not None and not checks.content:
        raise UsageError("--sample is a part of what --content reads: give both")
    if checks.seed is not None and checks.sample is None:
        raise UsageError("--seed chooses a sample: give --sample as well")
    if checks.seed is not None and checks.seed > _LARGEST_SEED:
        raise UsageError(f"--seed {checks.seed}: at most {_LARGEST_SEED}")
    seed = int.from_bytes(os.urandom(_SEED_BYTES)) if checks.seed is None else checks.seed
    return VerifyOptions(
        scan=ScanOptions(max_manifest_bytes=session.max_manifest_bytes),
        content=checks.content,
        sample=parse_percentage(checks.sample, "--sample") if checks.sample else 1,
        seed=seed,
    )


def _say_problems(report: RepairReport) -> None:
    for path in report.changed[:_MOST_NAMED]:
        log.warning("%s changed since it was found and was left alone", path)
    for path in report.plan.left[:_MOST_NAMED]:
        log.warning("%s could not be checked and was left alone", path)
    for failure in report.failures[:_MOST_NAMED]:
        log.error("%s can't be moved: %s", failure.path, failure.message)
    if report.stopped:
        log.warning(
            "stopped by %s; %s left to move", report.stopped, format_count(report.left, "file")
        )


def _print(findings: Findings, report: RepairReport | None, reporting: ReportOptions) -> None:
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
