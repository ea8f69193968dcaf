"""What `fastprune verify` does: options to findings, a report."""

from __future__ import annotations

import dataclasses
import secrets
import sys
from typing import TYPE_CHECKING

from fastprune.cli.carrying import check_form
from fastprune.cli.options import GlobalOptions
from fastprune.cli.session import Session, open_session, write, write_json
from fastprune.cli.verify_command import CheckOptions, ReportOptions
from fastprune.cli.warnings import warn_of_servers
from fastprune.errors import UsageError
from fastprune.executors.processes import available_jobs
from fastprune.quantities import parse_percentage
from fastprune.scanner import ScanOptions
from fastprune.verifier import VerifyOptions, verify_cache

if TYPE_CHECKING:
    from fastprune.verification import Findings

_SEED_BITS = 32
_LARGEST_SEED = 2**64 - 1


def verify(options: GlobalOptions, checks: CheckOptions, reporting: ReportOptions) -> int:
    """Verifies, prints the findings, and gives the exit code.

    Raises:
        FastpruneError: It can't be done.
    """
    session = open_session(options)
    check_form(reporting.form)
    verify_options = _verify_options(session, checks)
    if checks.content and options.jobs is None:
        # Reading blobs keeps more processors busy than merging a scan can feed.
        session = dataclasses.replace(session, jobs=available_jobs(most=sys.maxsize))
    findings = _verify(session, verify_options)
    warn_of_servers(session.image_path)
    _print(findings, reporting)
    if reporting.strict and findings.notes:
        return 3
    return findings.exit_code


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
    return VerifyOptions(
        scan=ScanOptions(max_manifest_bytes=session.max_manifest_bytes),
        content=checks.content,
        sample=parse_percentage(checks.sample, "--sample") if checks.sample else 1,
        seed=secrets.randbits(_SEED_BITS) if checks.seed is None else checks.seed,
    )


def _verify(session: Session, options: VerifyOptions) -> Findings:
    with session.executor() as executor:
        return verify_cache(
            session.image_path, lambda _: executor, options, progress=session.progress()
        )


def _print(findings: Findings, reporting: ReportOptions) -> None:
    from fastprune.verification_report import as_document, text_lines

    if reporting.form == "json":
        write_json(as_document(findings, summary=reporting.summary))
    else:
        write(text_lines(findings, summary=reporting.summary))
