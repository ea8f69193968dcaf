"""`fastprune prune`: its options. What it does is in `fastprune.cli.pruning`."""

from __future__ import annotations

import dataclasses
from typing import Annotated

import typer

from fastprune.cli.app import command
from fastprune.cli.options import GlobalOptions, SelectionOptions


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class PruneOptions:
    """How a prune is carried out."""

    dry_run: Annotated[
        bool | None,
        typer.Option(
            "--dry-run/--no-dry-run",
            "-n",
            help="Show exactly what would be removed and change nothing at all.",
            show_default=False,
        ),
    ] = None
    yes: Annotated[
        bool,
        typer.Option("--yes", "-y", help="Do not ask. Without a terminal nothing is ever asked."),
    ] = False
    orphans_only: Annotated[
        bool,
        typer.Option("--orphans-only", help="Remove only blobs that nothing refers to."),
    ] = False
    allow_broken: Annotated[
        bool,
        typer.Option(
            "--allow-broken", help="Remove selected images although a list that stays needs them."
        ),
    ] = False
    skip_corrupt: Annotated[
        bool,
        typer.Option(
            "--skip-corrupt",
            help="Treat manifests that can't be read as absent, instead of refusing.",
        ),
    ] = False
    trash: Annotated[
        bool,
        typer.Option(
            "--trash",
            help="Move files into the trash of the cache instead of deleting them: see "
            "fastprune trash.",
        ),
    ] = False
    audit_log: Annotated[
        str | None,
        typer.Option(
            "--audit-log",
            metavar="FILE",
            help="Append a JSON line for every file that goes, with the reason, to this file.",
        ),
    ] = None
    force: Annotated[
        bool, typer.Option("--force", help="Prune although a server seems to run on this cache.")
    ] = False
    grace: Annotated[
        str | None,
        typer.Option("--grace", metavar="DUR", help="Spare blobs younger than this. Default: 0."),
    ] = None
    max_duration: Annotated[
        str | None,
        typer.Option(
            "--max-duration",
            metavar="DUR",
            help="Stop cleanly after this time, with exit code 3, and say what is left.",
        ),
    ] = None
    max_deletes_per_second: Annotated[
        float | None,
        typer.Option("--max-deletes-per-second", metavar="N", help="Delete no faster than this."),
    ] = None
    concurrency: Annotated[
        str | None,
        typer.Option(
            "--concurrency", metavar="N|auto", help="Threads that delete. Default: auto, 16."
        ),
    ] = None
    lock_wait: Annotated[
        str | None,
        typer.Option(
            "--lock-wait", metavar="DUR", help="Wait so long for another fastprune to end."
        ),
    ] = None
    form: Annotated[str, typer.Option("--format", metavar="FORMAT", help="text or json.")] = "text"
    summary: Annotated[
        bool, typer.Option("--summary", help="Leave out the line of each manifest and blob.")
    ] = False


@command("prune", SelectionOptions, PruneOptions)
def prune_manifests(
    options: GlobalOptions, selection: SelectionOptions, pruning: PruneOptions
) -> int:
    """Remove selected manifests and the blobs that nothing needs any more.

    A selected list takes its cached images along. What a list that stays still refers to
    is kept. Blobs that nothing referred to before go as well. At least one criterion is
    needed, or --orphans-only; those of the config file's pruneConfig count.
    """
    from fastprune.cli.pruning import prune

    return prune(options, selection, pruning)
