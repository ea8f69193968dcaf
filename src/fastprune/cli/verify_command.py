"""`fastprune verify`: its options. What it does is in `fastprune.cli.verifying`."""

from __future__ import annotations

import dataclasses
from typing import Annotated

import typer

from fastprune.cli.app import command
from fastprune.cli.headings import CHECKS, OUTPUT, SAFETY
from fastprune.cli.options import GlobalOptions
from fastprune.cli.shared_options import (
    AuditLogFile,
    LockWait,
    MetricsFile,
    NoLock,
    TextOrJson,
    Yes,
)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class CheckOptions:
    """What is checked."""

    content: Annotated[
        bool,
        typer.Option(
            "--content",
            help="Read blobs too, and compare the sha256 with the name.",
            rich_help_panel=CHECKS,
        ),
    ] = False
    sample: Annotated[
        str | None,
        typer.Option(
            "--sample",
            metavar="N%",
            help="With --content: read only a random part of the blobs.",
            rich_help_panel=CHECKS,
        ),
    ] = None
    seed: Annotated[
        int | None,
        typer.Option(
            "--seed",
            metavar="N",
            min=0,
            help="What chooses the sample. Default: random; the report says which.",
            rich_help_panel=CHECKS,
        ),
    ] = None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class RepairOptions:
    """Whether and how what is damaged is moved aside."""

    repair: Annotated[
        bool,
        typer.Option(
            "--repair",
            help="Move damaged manifests and bad blobs to the trash of the cache, so that the "
            "server pulls them anew; fastprune trash restore puts them back.",
            rich_help_panel=CHECKS,
        ),
    ] = False
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run",
            "-n",
            help="With --repair: show exactly what would be moved.",
            rich_help_panel=SAFETY,
        ),
    ] = False
    yes: Yes = False
    force: Annotated[
        bool,
        typer.Option(
            "--force",
            help="Repair although a server seems to run on this cache.",
            rich_help_panel=SAFETY,
        ),
    ] = False
    lock_wait: LockWait = None
    no_lock: NoLock = False
    audit_log: AuditLogFile = None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ReportOptions:
    """How findings are reported."""

    strict: Annotated[
        bool,
        typer.Option(
            "--strict",
            help="Exit code 3 for notes too: orphans, dangling, foreign.",
            rich_help_panel=OUTPUT,
        ),
    ] = False
    form: TextOrJson = "text"
    summary: Annotated[
        bool,
        typer.Option(
            "--summary", help="Leave out the line of each finding.", rich_help_panel=OUTPUT
        ),
    ] = False
    metrics_file: MetricsFile = None


@command(
    "verify",
    CheckOptions,
    RepairOptions,
    ReportOptions,
    examples=(
        "fastprune verify --content --sample 10%",
        "fastprune verify --repair --dry-run",
    ),
)
def verify_cache(
    options: GlobalOptions,
    checks: CheckOptions,
    repairing: RepairOptions,
    reporting: ReportOptions,
) -> int:
    """Check the cache for damaged manifests and blobs, and orphans.

    Damage is manifests that can't be read or that are not what their names stand for, and
    blobs that are missing, cut off or altered: the exit code is 3 then. Orphans, dangling
    images and foreign files are notes. Reads only, unless --repair is given: then what is
    damaged goes to the trash, and the exit code is 0 if nothing damaged is left.
    """
    from fastprune.cli.verifying import verify

    return verify(options, checks, repairing, reporting)
