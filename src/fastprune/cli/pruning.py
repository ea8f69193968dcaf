"""What `fastprune prune` does: options to a policy, a plan, a report."""

from __future__ import annotations

import dataclasses

from fastprune.cli.asking import request_of
from fastprune.cli.carrying import carry_out, run_metered
from fastprune.cli.metering import Note
from fastprune.cli.options import GlobalOptions, SelectionOptions
from fastprune.cli.prune_options import DeleteLimitOptions, PlanningOptions, PruneOptions
from fastprune.cli.session import Session
from fastprune.cli.values import check_form
from fastprune.errors import UsageError
from fastprune.executors import Executor
from fastprune.pipeline import TimedPlan, work_out


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
