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
