"""Options that shape a plan, bound it, and say how it is carried out.

`list`, `du`, `explain`, `plan`, `prune` and `apply` share them.
"""

from __future__ import annotations

import dataclasses

from fastprune.cli.headings import HOW_MUCH, KEEP, OUTPUT, PACE, SAFETY, SELECTION
from fastprune.cli.options import (
    audit_log_option,
    flag,
    format_option,
    html_option,
    lock_wait_option,
    metrics_option,
    no_lock_option,
    option,
    policy_option,
    yes_option,
)
from fastprune.policy.criteria import Criteria


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class SelectionOptions(Criteria):
    """Which manifests to select and to keep."""

    pattern: list[str] | None = option(
        "--pattern P[,P...]",
        SELECTION,
        "The image URL matches any of these RE2 expressions. Repeatable.",
    )
    exclude: list[str] | None = option(
        "--exclude P[,P...]",
        KEEP,
        "Keep what any of these matches, whatever else selects it. Repeatable.",
    )
    date: str | None = option(
        "--date --prune-before --created-before T",
        SELECTION,
        "Created before YYYY-MM-DDTHH:MM:SS or YYYY-MM-DD, local wall clock.",
    )
    older_than: str | None = option(
        "--older-than DUR", SELECTION, "Created longer ago than this: 90m, 36h, 30d, 2w, 1y, 1d12h."
    )
    pulled_before: str | None = option(
        "--pulled-before T",
        SELECTION,
        "Last pulled before this time; a list and its children count as one.",
    )
    not_pulled_for: str | None = option(
        "--not-pulled-for DUR", SELECTION, "Last pulled longer ago than this."
    )
    dangling: bool = flag("--dangling", SELECTION, "Untagged images that no list refers to.")
    broken: bool = flag(
        "--broken", SELECTION, "Images with missing blobs, and lists that lead only to such images."
    )
    keep_last: int | None = option(
        "--keep-last N",
        KEEP,
        "Keep the N newest tags of each repository (of those that --pattern matches), by "
        "creation, then last pull, then name. With no other criterion all other tags are "
        "selected.",
    )
    keep_within: str | None = option(
        "--keep-within DUR",
        KEEP,
        "Keep what was pulled or created within this time, or has no time at all.",
    )
    keep_from: list[str] | None = option(
        "--keep-from FILE|-",
        KEEP,
        "Keep the images that this file, or stdin, names: references as Kubernetes "
        "prints them. Repeatable.",
    )
    max_size: str | None = option(
        "--max-size SIZE",
        HOW_MUCH,
        "Those pulled longest ago, until the cache is no larger: 500GB, 1.5TiB.",
    )
    min_free_space: str | None = option(
        "--min-free-space SIZE|N%",
        HOW_MUCH,
        "The same, until the file system has this much free space.",
    )
    free: str | None = option(
        "--free SIZE",
        HOW_MUCH,
        "The same, until this much comes free. Of several targets the largest counts.",
    )
    zone: str | None = option(
        "--zone NAME",
        SELECTION,
        "The server's time zone, for ages, as in Europe/Berlin. Default: this machine's.",
    )
    count: int | None = option(
        "--count N", HOW_MUCH, "At most N images, those pulled longest ago first."
    )


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class PlanningOptions:
    """How a selection becomes a plan: children, blobs, and unreadable manifests."""

    policy: str | None = policy_option()
    orphans_only: bool = flag(
        "--orphans-only", SELECTION, "Remove only blobs that nothing refers to."
    )
    allow_broken: bool = flag(
        "--allow-broken", SAFETY, "Remove selected images although a list that stays needs them."
    )
    skip_corrupt: bool = flag(
        "--skip-corrupt",
        SAFETY,
        "Treat manifests with broken content as absent, instead of refusing.",
    )
    grace: str | None = option(
        "--grace DUR",
        KEEP,
        "Spare blobs younger than this. Default: 0; with --server 1d, and at least 1h.",
    )


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class DeleteLimitOptions:
    """How much may go at once; a larger plan is refused as a whole."""

    max_delete_count: int | None = option(
        "--max-delete-count N",
        HOW_MUCH,
        "Refuse, with exit code 4, to remove more manifests than this.",
    )
    max_delete_size: str | None = option(
        "--max-delete-size SIZE", HOW_MUCH, "Refuse to free more than this: 500GB, 1.5TiB."
    )
    max_delete_percent: float | None = option(
        "--max-delete-percent N",
        HOW_MUCH,
        "Refuse to remove more than N percent of the manifests in the cache.",
    )
    allow_remove_all: bool = flag(
        "--allow-remove-all", SAFETY, "Go on although no manifest would be left in the cache."
    )


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class PruneOptions:
    """How a plan is carried out."""

    dry_run: bool | None = option(
        "--dry-run/--no-dry-run -n",
        SAFETY,
        "Show exactly what would be removed and change nothing at all.",
        show_default=False,
    )
    yes: bool = yes_option()
    trash: bool = flag(
        "--trash",
        SAFETY,
        "Move files into the trash of the cache instead of deleting them: see fastprune trash.",
    )
    audit_log: str | None = audit_log_option()
    metrics_file: str | None = metrics_option()
    force: bool = flag(
        "--force",
        SAFETY,
        "Prune although a server seems to run on this cache, or another one than --server names.",
    )
    max_duration: str | None = option(
        "--max-duration DUR",
        PACE,
        "Stop cleanly after this time, with exit code 3, and say what is left.",
    )
    max_deletes_per_second: float | None = option(
        "--max-deletes-per-second N", PACE, "Delete no faster than this."
    )
    concurrency: str | None = option(
        "--concurrency N|auto",
        PACE,
        "Threads that delete. Default: auto, 32. A server is asked for one thing at a time.",
    )
    lock_wait: str | None = lock_wait_option()
    no_lock: bool = no_lock_option()
    html: str | None = html_option()
    form: str = format_option()
    summary: bool = flag("--summary", OUTPUT, "Leave out the line of each manifest and blob.")
