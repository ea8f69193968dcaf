"""Options that shape a plan, bound it, and say how it is carried out.

`list`, `du`, `explain`, `plan`, `prune` and `apply` share them.
"""

from __future__ import annotations

import dataclasses
from typing import Annotated

import typer

from fastprune.cli.headings import HOW_MUCH, KEEP, OUTPUT, PACE, SAFETY, SELECTION
from fastprune.cli.options import (
    AuditLogFile,
    HtmlFile,
    LockWait,
    MetricsFile,
    NoLock,
    PolicyFile,
    TextOrJson,
    Yes,
)
from fastprune.policy.criteria import Criteria


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class SelectionOptions(Criteria):
    """Which manifests to select and to keep."""

    pattern: Annotated[
        list[str] | None,
        typer.Option(
            "--pattern",
            metavar="P[,P...]",
            help="The image URL matches any of these RE2 expressions. Repeatable.",
            rich_help_panel=SELECTION,
        ),
    ] = None
    exclude: Annotated[
        list[str] | None,
        typer.Option(
            "--exclude",
            metavar="P[,P...]",
            help="Keep what any of these matches, whatever else selects it. Repeatable.",
            rich_help_panel=KEEP,
        ),
    ] = None
    date: Annotated[
        str | None,
        typer.Option(
            "--date",
            "--prune-before",
            "--created-before",
            metavar="T",
            help="Created before YYYY-MM-DDTHH:MM:SS or YYYY-MM-DD, local wall clock.",
            rich_help_panel=SELECTION,
        ),
    ] = None
    older_than: Annotated[
        str | None,
        typer.Option(
            "--older-than",
            metavar="DUR",
            help="Created longer ago than this: 90m, 36h, 30d, 2w, 1y, 1d12h.",
            rich_help_panel=SELECTION,
        ),
    ] = None
    pulled_before: Annotated[
        str | None,
        typer.Option(
            "--pulled-before",
            metavar="T",
            help="Last pulled before this time; a list and its children count as one.",
            rich_help_panel=SELECTION,
        ),
    ] = None
    not_pulled_for: Annotated[
        str | None,
        typer.Option(
            "--not-pulled-for",
            metavar="DUR",
            help="Last pulled longer ago than this.",
            rich_help_panel=SELECTION,
        ),
    ] = None
    dangling: Annotated[
        bool,
        typer.Option(
            "--dangling",
            help="Untagged images that no list refers to.",
            rich_help_panel=SELECTION,
        ),
    ] = False
    broken: Annotated[
        bool,
        typer.Option(
            "--broken",
            help="Images with missing blobs, and lists that lead only to such images.",
            rich_help_panel=SELECTION,
        ),
    ] = False
    keep_last: Annotated[
        int | None,
        typer.Option(
            "--keep-last",
            metavar="N",
            help="Keep the N newest tags of each repository (of those that --pattern matches), by "
            "creation, then last pull, then name. With no other criterion all other tags are "
            "selected.",
            rich_help_panel=KEEP,
        ),
    ] = None
    keep_within: Annotated[
        str | None,
        typer.Option(
            "--keep-within",
            metavar="DUR",
            help="Keep what was pulled or created within this time, or has no time at all.",
            rich_help_panel=KEEP,
        ),
    ] = None
    keep_from: Annotated[
        list[str] | None,
        typer.Option(
            "--keep-from",
            metavar="FILE|-",
            help="Keep the images that this file, or stdin, names: references as Kubernetes "
            "prints them. Repeatable.",
            rich_help_panel=KEEP,
        ),
    ] = None
    max_size: Annotated[
        str | None,
        typer.Option(
            "--max-size",
            metavar="SIZE",
            help="Those pulled longest ago, until the cache is no larger: 500GB, 1.5TiB.",
            rich_help_panel=HOW_MUCH,
        ),
    ] = None
    min_free_space: Annotated[
        str | None,
        typer.Option(
            "--min-free-space",
            metavar="SIZE|N%",
            help="The same, until the file system has this much free space.",
            rich_help_panel=HOW_MUCH,
        ),
    ] = None
    free: Annotated[
        str | None,
        typer.Option(
            "--free",
            metavar="SIZE",
            help="The same, until this much comes free. Of several targets the largest counts.",
            rich_help_panel=HOW_MUCH,
        ),
    ] = None
    zone: Annotated[
        str | None,
        typer.Option(
            "--zone",
            metavar="NAME",
            help="The server's time zone, for ages, as in Europe/Berlin. Default: this machine's.",
            rich_help_panel=SELECTION,
        ),
    ] = None
    count: Annotated[
        int | None,
        typer.Option(
            "--count",
            metavar="N",
            help="At most N images, those pulled longest ago first.",
            rich_help_panel=HOW_MUCH,
        ),
    ] = None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class PlanningOptions:
    """How a selection becomes a plan: children, blobs, and unreadable manifests."""

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
    """How much may go at once; a larger plan is refused as a whole."""

    max_delete_count: Annotated[
        int | None,
        typer.Option(
            "--max-delete-count",
            metavar="N",
            help="Refuse, with exit code 4, to remove more manifests than this.",
            rich_help_panel=HOW_MUCH,
        ),
    ] = None
    max_delete_size: Annotated[
        str | None,
        typer.Option(
            "--max-delete-size",
            metavar="SIZE",
            help="Refuse to free more than this: 500GB, 1.5TiB.",
            rich_help_panel=HOW_MUCH,
        ),
    ] = None
    max_delete_percent: Annotated[
        float | None,
        typer.Option(
            "--max-delete-percent",
            metavar="N",
            help="Refuse to remove more than N percent of the manifests in the cache.",
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
