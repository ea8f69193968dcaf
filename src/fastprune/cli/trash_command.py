"""`fastprune trash`: its commands and options. What they do is in `fastprune.cli.trashing`."""

from __future__ import annotations

import dataclasses
from typing import Annotated

import typer

from fastprune.cli.app import add_group, command
from fastprune.cli.headings import PACE, SAFETY, SELECTION
from fastprune.cli.options import GlobalOptions
from fastprune.cli.shared_options import LockWait, NoLock, TextOrJson, Yes

trash = add_group(
    "trash",
    "Show, put back or delete for good what prune --trash moved.",
    examples=("fastprune trash list", "fastprune trash empty --older-than 30d --dry-run"),
)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ListOptions:
    """How the trash is shown."""

    form: TextOrJson = "text"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ChangeOptions:
    """How the trash is changed."""

    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run",
            "-n",
            help="Show what would be done and change nothing at all.",
            rich_help_panel=SAFETY,
        ),
    ] = False
    concurrency: Annotated[
        str | None,
        typer.Option(
            "--concurrency",
            metavar="N|auto",
            help="Threads. Default: auto, 32.",
            rich_help_panel=PACE,
        ),
    ] = None
    lock_wait: LockWait = None
    no_lock: NoLock = False
    form: TextOrJson = "text"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class RestoreOptions:
    """What is put back."""

    run: Annotated[str, typer.Argument(metavar="RUN", help="A run, or enough of its beginning.")]
    force: Annotated[
        bool,
        typer.Option(
            "--force",
            help="Restore although a server seems to run on this cache.",
            rich_help_panel=SAFETY,
        ),
    ] = False


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class EmptyOptions:
    """What is deleted for good."""

    runs: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[RUN]...", help="Runs, or enough of their beginnings. Default: all."
        ),
    ] = None
    older_than: Annotated[
        str | None,
        typer.Option(
            "--older-than",
            metavar="DUR",
            help="Only runs longer ago than this: 36h, 30d, 2w.",
            rich_help_panel=SELECTION,
        ),
    ] = None
    yes: Yes = False


@command("list", ListOptions, examples=("fastprune trash list --format json",), parent=trash)
def list_trash(options: GlobalOptions, listing: ListOptions) -> int:
    """List the runs in the trash: when they were, and what they hold."""
    from fastprune.cli.trashing import print_trash

    return print_trash(options, listing)


@command(
    "restore",
    RestoreOptions,
    ChangeOptions,
    examples=("fastprune trash restore 20260101 --dry-run",),
    parent=trash,
)
def restore_run(options: GlobalOptions, restoring: RestoreOptions, changing: ChangeOptions) -> int:
    """Put a run back into the cache.

    Blobs first, then images, then lists. Nothing in the cache is overwritten: what it has
    another file of by now stays in the trash. Can be repeated, after a crash as well.
    """
    from fastprune.cli.trashing import restore_trash

    return restore_trash(options, restoring, changing)


@command(
    "empty",
    EmptyOptions,
    ChangeOptions,
    examples=("fastprune trash empty --older-than 30d",),
    parent=trash,
)
def empty_runs(options: GlobalOptions, emptying: EmptyOptions, changing: ChangeOptions) -> int:
    """Delete runs in the trash for good, which frees their bytes."""
    from fastprune.cli.trashing import empty_trash

    return empty_trash(options, emptying, changing)
