"""What `fastprune apply` does: a file to a saved plan, what still holds of it, a report."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from fastprune.cli.carrying import carry_out, run_metered
from fastprune.cli.metering import Note
from fastprune.cli.options import GlobalOptions
from fastprune.cli.prune_options import DeleteLimitOptions, PruneOptions
from fastprune.cli.session import Session
from fastprune.cli.values import check_form, delete_limits_of, seconds_of
from fastprune.executors import Executor
from fastprune.outside import is_stdin
from fastprune.pipeline import PlanOptions, TimedPlan, work_out_again
from fastprune.scanner import ScanOptions, check_root

if TYPE_CHECKING:
    from fastprune.planfile import SavedPlan

_STDIN = 0


def apply(
    options: GlobalOptions,
    limits: DeleteLimitOptions,
    pruning: PruneOptions,
    *,
    file: str,
    grace: str | None,
) -> int:
    """Carries out a saved plan, prints the report, and gives the exit code.

    Raises:
        FastpruneError: It can't be done; nothing was deleted.
    """

    def work(session: Session, pruning: PruneOptions, note: Note) -> int:
        check_form(pruning.form)
        spared = seconds_of(grace, "--grace")
        delete_limits = delete_limits_of(limits)
        if is_stdin(file):
            session.inputs.take_stdin("the plan")
        check_root(session.image_path)
        saved = _load(file)
        plan_options = PlanOptions(
            scan=ScanOptions(max_manifest_bytes=session.max_manifest_bytes),
            grace=saved.header.grace if spared is None else spared,
        )

        def plan(executor: Executor, deadline: float | None) -> TimedPlan:
            return work_out_again(
                session.image_path,
                saved,
                lambda _: executor,
                dataclasses.replace(plan_options, deadline=deadline),
                progress=session.progress(),
            )

        return carry_out(session, "apply", pruning, delete_limits, plan, note=note)

    return run_metered("apply", options, pruning, work)


def _load(file: str) -> SavedPlan:
    import anyio

    from fastprune.plans import load_plan

    return anyio.run(load_plan, _STDIN if is_stdin(file) else file)
