"""`fastprune apply`: its options. What it does is in `fastprune.cli.applying`."""

from __future__ import annotations

from typing import Annotated

import typer

from fastprune.cli.app import command
from fastprune.cli.headings import KEEP
from fastprune.cli.options import GlobalOptions
from fastprune.cli.prune_options import DeleteLimitOptions, PruneOptions


@command(
    "apply",
    DeleteLimitOptions,
    PruneOptions,
    examples=(
        "fastprune apply prune.plan --dry-run",
        "fastprune apply prune.plan --audit-log prunes.jsonl",
    ),
)
def apply_plan(
    options: GlobalOptions,
    limits: DeleteLimitOptions,
    pruning: PruneOptions,
    file: Annotated[str, typer.Argument(metavar="FILE", help="What plan wrote; - for stdin.")],
    grace: Annotated[
        str | None,
        typer.Option(
            "--grace",
            metavar="DUR",
            help="Spare blobs younger than this. Default: as the plan was made.",
            rich_help_panel=KEEP,
        ),
    ] = None,
) -> int:
    """Carry out a saved plan, as far as it is still safe.

    Scans the cache again. What changed, was pulled or is needed since the plan was made is
    left, and named with the reason; the exit code is 3 then. A plan that was made for
    another cache, or that removes more than it may, is refused with exit code 4, a file
    that was altered with 2.
    """
    from fastprune.cli.applying import apply

    return apply(options, limits, pruning, file=file, grace=grace)
