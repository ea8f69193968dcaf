"""Options that `prune`, `plan` and `apply` share: what shapes a plan, how it is carried out."""

from __future__ import annotations

import dataclasses
from typing import Annotated

import typer

from fastprune.cli.headings import HOW_MUCH, KEEP, OUTPUT, PACE, SAFETY, SELECTION
from fastprune.cli.shared_options import (
    AuditLogFile,
    HtmlFile,
    LockWait,
    MetricsFile,
    NoLock,
    PolicyFile,
    TextOrJson,
    Yes,
)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class PlanningOptions:
    """What becomes of a selection: children, blobs, and what is in doubt."""

    policy: PolicyFile = None
    orphans_only: Annotated[
        bool,
        typer.Option(
            "--orphans-only",
            help="Remove only blobs that nothing refers to.",
            rich_help_panel=SELECTION,
        ),
    ] = False
    allow_broken: Annotated[
        bool,
        typer.Option(
            "--allow-broken",
            help="Remove selected images although a list that stays needs them.",
            rich_help_panel=SAFETY,
        ),
    ] = False
    skip_corrupt: Annotated[
        bool,
        typer.Option(
            "--skip-corrupt",
            help="Treat manifests with broken content as absent, instead of refusing.",
            rich_help_panel=SAFETY,
        ),
    ] = False
    grace: Annotated[
        str | None,
        typer.Option(
            "--grace",
            metavar="DUR",
            help="Spare blobs younger than this. Default: 0.",
            rich_help_panel=KEEP,
        ),
    ] = None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class DeleteLimitOptions:
    """How much may go at once; what would be more is refused as a whole."""

    max_delete_count: Annotated[
        int | None,
        typer.Option(
            "--max-delete-count",
            metavar="N",
            help="Refuse, with exit code 4, to remove more manifests.",
            rich_help_panel=HOW_MUCH,
        ),
    ] = None
    max_delete_size: Annotated[
        str | None,
        typer.Option(
            "--max-delete-size",
            metavar="SIZE",
            help="Refuse to free more: 500GB, 1.5TiB.",
            rich_help_panel=HOW_MUCH,
        ),
    ] = None
    max_delete_percent: Annotated[
        float | None,
        typer.Option(
            "--max-delete-percent",
            metavar="N",
            help="Refuse to remove more of the manifests in the cache, in percent.",
            rich_help_panel=HOW_MUCH,
        ),
    ] = None
    allow_remove_all: Annotated[
        bool,
        typer.Option(
            "--allow-remove-all",
            help="Go on although no manifest would be left in the cache.",
            rich_help_panel=SAFETY,
        ),
    ] = False


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class PruneOptions:
    """How a plan is carried out."""

    dry_run: Annotated[
        bool | None,
        typer.Option(
            "--dry-run/--no-dry-run",
            "-n",
            help="Show exactly what would be removed and change nothing at all.",
            show_default=False,
            rich_help_panel=SAFETY,
        ),
    ] = None
    yes: Yes = False
    trash: Annotated[
        bool,
        typer.Option(
            "--trash",
            help="Move files into the trash of the cache instead of deleting them: see "
            "fastprune trash.",
            rich_help_panel=SAFETY,
        ),
    ] = False
    audit_log: AuditLogFile = None
    metrics_file: MetricsFile = None
    force: Annotated[
        bool,
        typer.Option(
            "--force",
            help="Prune although a server seems to run on this cache.",
            rich_help_panel=SAFETY,
        ),
    ] = False
    max_duration: Annotated[
        str | None,
        typer.Option(
            "--max-duration",
            metavar="DUR",
            help="Stop cleanly after this time, with exit code 3, and say what is left.",
            rich_help_panel=PACE,
        ),
    ] = None
    max_deletes_per_second: Annotated[
        float | None,
        typer.Option(
            "--max-deletes-per-second",
            metavar="N",
            help="Delete no faster than this.",
            rich_help_panel=PACE,
        ),
    ] = None
    concurrency: Annotated[
        str | None,
        typer.Option(
            "--concurrency",
            metavar="N|auto",
            help="Threads that delete. Default: auto, 32.",
            rich_help_panel=PACE,
        ),
    ] = None
    lock_wait: LockWait = None
    no_lock: NoLock = False
    html: HtmlFile = None
    form: TextOrJson = "text"
    summary: Annotated[
        bool,
        typer.Option(
            "--summary",
            help="Leave out the line of each manifest and blob.",
            rich_help_panel=OUTPUT,
        ),
    ] = False
