"""`fastprune apply`: a saved plan, what still holds of it, a report."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from fastprune.cli.app import command
from fastprune.cli.cluster_options import ClusterOptions
from fastprune.cli.headings import KEEP
from fastprune.cli.options import GlobalOptions, argument, option
from fastprune.cli.plan_options import DeleteLimitOptions, PruneOptions
from fastprune.cli.server_options import ServerOptions, grace_of, scan_options_of, server_of
from fastprune.cli.state_folder import StateOptions

if TYPE_CHECKING:
    from fastprune.cli.metrics_file import Note
    from fastprune.cli.session import Session
    from fastprune.deletion.cache_reader import CacheReader
    from fastprune.pipeline import TimedPlan

_STDIN = 0


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class SavedPlanOptions:
    """Which plan to carry out, and what of it to spare."""

    file: str = argument("FILE", "What plan wrote; - for stdin.")
    grace: str | None = option(
        "--grace DUR",
        KEEP,
        "Spare blobs younger than this. Default: as the plan was made; with --server at least 1h.",
    )


@command(
    "apply",
    examples=(
        "fastprune apply prune.plan --dry-run",
        "fastprune apply prune.plan --audit-log prunes.jsonl",
    ),
)
def apply_plan(
    options: GlobalOptions,
    limits: DeleteLimitOptions,
    pruning: PruneOptions,
    wanted: SavedPlanOptions,
    running: ServerOptions,
    state: StateOptions,
    cluster: ClusterOptions,
) -> int:
    """Carry out a saved plan, as far as it is still safe.

    Scans the cache again. What has changed, was pulled or is needed since the plan was made
    stays, and is named with the reason; the exit code is 3 then. A plan that was made for
    another cache, or that removes more than it may, is refused with exit code 4, a file
    that was altered with 2.
    """
    from fastprune.cli.option_values import check_form, delete_limits_of, seconds_of
    from fastprune.cli.plan_run import carry_out, run_with_metrics
    from fastprune.pipeline import PlanOptions
    from fastprune.policy.criteria_io import is_stdin

    def work(session: Session, pruning: PruneOptions, note: Note) -> int:
        check_form(pruning.form)
        server, spared = server_of(running), seconds_of(wanted.grace, "--grace")
        grace_of(spared, server)
        delete_limits = delete_limits_of(limits)
        from_stdin = is_stdin(wanted.file)
        if from_stdin:
            session.inputs.take_stdin("the plan")
        session.check_cache()
        import anyio

        from fastprune.plan.files import load_plan

        saved = anyio.run(load_plan, _STDIN if from_stdin else wanted.file)
        grace = grace_of(spared, server, otherwise=saved.header.grace)

        def plan(reader: CacheReader, deadline: float | None) -> TimedPlan:
            scan = scan_options_of(session, server)
            return reader.replan(saved, PlanOptions(scan, grace=grace, deadline=deadline))

        return carry_out(
            session, "apply", pruning, delete_limits, plan, note=note, server=server, grace=grace
        )

    return run_with_metrics("apply", options, state, cluster, pruning, work)
