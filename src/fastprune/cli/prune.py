"""`fastprune prune`: its options, and what it does with them."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from fastprune.cli.app import command
from fastprune.cli.cluster_options import ClusterOptions
from fastprune.cli.options import GlobalOptions
from fastprune.cli.plan_options import (
    DeleteLimitOptions,
    PlanningOptions,
    PruneOptions,
    SelectionOptions,
)
from fastprune.cli.server_options import ServerOptions, scan_options_of, server_of
from fastprune.cli.state_folder import StateOptions
from fastprune.errors import UsageError

if TYPE_CHECKING:
    from fastprune.cli.metrics_file import Note
    from fastprune.cli.session import Session
    from fastprune.deletion.cache_reader import CacheReader
    from fastprune.pipeline import TimedPlan


@command(
    "prune",
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
    running: ServerOptions,
    state: StateOptions,
    cluster: ClusterOptions,
) -> int:
    """Remove selected manifests, and blobs that nothing else needs.

    A selected list takes its cached images along. Images that a remaining list refers to
    are kept. Blobs that nothing referred to before go as well. At least one criterion is
    needed, or --orphans-only; those of the config file's pruneConfig count.
    """
    from fastprune.cli.option_values import check_form
    from fastprune.cli.plan_run import carry_out, run_with_metrics
    from fastprune.cli.request import request_of

    def work(session: Session, pruning: PruneOptions, note: Note) -> int:
        server = server_of(running)
        request = request_of(session, selection, planning, limits, server=server)
        check_form(pruning.form)
        if pruning.trash and request.min_free_space:
            # The space would be missing the next time as well: so every run would move more.
            raise UsageError(
                f"{request.min_free_space}: can't be combined with --trash, as what is moved to "
                "the trash frees nothing; delete, or give --free or --max-size"
            )

        def plan(reader: CacheReader, deadline: float | None) -> TimedPlan:
            scan = scan_options_of(session, server)
            how = dataclasses.replace(request.options, scan=scan, deadline=deadline)
            return reader.plan(request.policy, how)

        return carry_out(
            session,
            "prune",
            pruning,
            request.delete_limits,
            plan,
            note=note,
            zone=request.zone,
            server=server,
            grace=request.options.grace,
        )

    return run_with_metrics("prune", options, state, cluster, pruning, work)
