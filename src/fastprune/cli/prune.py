"""`fastprune prune`: its options, and what it does with them."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from fastprune.cli.app import command
from fastprune.cli.options import GlobalOptions
from fastprune.cli.plan_options import (
    DeleteLimitOptions,
    PlanningOptions,
    PruneOptions,
    SelectionOptions,
)
from fastprune.errors import UsageError

if TYPE_CHECKING:
    from fastprune.cli.metrics_file import Note
    from fastprune.cli.session import Session
    from fastprune.executors.executor import Executor
    from fastprune.pipeline import TimedPlan


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
    return prune(options, selection, planning, limits, pruning)


def prune(
    options: GlobalOptions,
    selection: SelectionOptions,
    planning: PlanningOptions,
    limits: DeleteLimitOptions,
    pruning: PruneOptions,
) -> int:
    """Prunes, prints the report, and gives the exit code.

    Raises:
        FastpruneError: It can't be done; nothing was deleted.
    """
    from fastprune.cli.option_values import check_form
    from fastprune.cli.plan_run import carry_out, run_metered
    from fastprune.cli.request import request_of
    from fastprune.pipeline import work_out

    def work(session: Session, pruning: PruneOptions, note: Note) -> int:
        request = request_of(session, selection, planning, limits)
        check_form(pruning.form)
        if pruning.trash and request.min_free_space:
            # The space would be missing the next time as well: so every run would move more.
            raise UsageError(
                f"{request.min_free_space}: can't be combined with --trash, as what is moved to "
                "the trash frees nothing; delete, or give --free or --max-size"
            )

        def plan(executor: Executor, deadline: float | None) -> TimedPlan:
            return work_out(
                session.image_path,
                request.policy,
                lambda _: executor,
                dataclasses.replace(request.options, deadline=deadline),
                progress=session.progress(),
            )

        return carry_out(
            session,
            "prune",
            pruning,
            request.delete_limits,
            plan,
            note=note,
            zone=request.zone,
        )

    return run_metered("prune", options, pruning, work)
