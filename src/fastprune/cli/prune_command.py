"""`fastprune prune`: its options. What it does is in `fastprune.cli.pruning`."""

from __future__ import annotations

from fastprune.cli.app import command
from fastprune.cli.options import GlobalOptions, SelectionOptions
from fastprune.cli.prune_options import DeleteLimitOptions, PlanningOptions, PruneOptions


@command(
    "prune",
    SelectionOptions,
    PlanningOptions,
    DeleteLimitOptions,
    PruneOptions,
    examples=(
        "fastprune prune --not-pulled-for 30d --dry-run",
        "fastprune prune --pattern '^quay.io/' --keep-last 3 --trash",
    ),
)
def prune_manifests(
    options: GlobalOptions,
    selection: SelectionOptions,
    planning: PlanningOptions,
    limits: DeleteLimitOptions,
    pruning: PruneOptions,
) -> int:
    """Remove selected manifests, and blobs that nothing else needs.

    A selected list takes its cached images along. What a list that stays still refers to
    is kept. Blobs that nothing referred to before go as well. At least one criterion is
    needed, or --orphans-only; those of the config file's pruneConfig count.
    """
    from fastprune.cli.pruning import prune

    return prune(options, selection, planning, limits, pruning)
