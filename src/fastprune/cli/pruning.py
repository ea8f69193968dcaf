"""What `fastprune prune` does: options to a policy, a plan, a report."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime

from fastprune.cli.carrying import carry_out, check_form, seconds_of
from fastprune.cli.config import PruneSettings, prune_settings
from fastprune.cli.metering import Note, metered
from fastprune.cli.options import GlobalOptions, SelectionOptions
from fastprune.cli.prune_options import DeleteLimitOptions, PlanningOptions, PruneOptions
from fastprune.cli.refusing import delete_limits_of
from fastprune.cli.selection import overridden, to_policy
from fastprune.cli.session import Session, open_session
from fastprune.executors import Executor
from fastprune.pipeline import PlanOptions, TimedPlan, work_out
from fastprune.policy import Policy
from fastprune.scanner import ScanOptions


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
    session = open_session(options)
    settings = prune_settings(session.config)
    dry_run = bool(settings.dry_run if pruning.dry_run is None else pruning.dry_run)
    pruning = dataclasses.replace(pruning, dry_run=dry_run)

    def work(note: Note) -> int:
        policy = prune_policy(selection, planning, settings, root=session.image_path)
        check_form(pruning.form)
        plan_options = plan_options_of(session, planning)
        delete_limits = delete_limits_of(limits)

        def plan(executor: Executor, deadline: float | None) -> TimedPlan:
            return work_out(
                session.image_path,
                policy,
                lambda _: executor,
                dataclasses.replace(plan_options, deadline=deadline),
                progress=session.progress(),
            )

        return carry_out(
            session, "prune", pruning, delete_limits, plan, note=note, zone=selection.zone
        )

    return metered(pruning.metrics_file, "prune", session.image_path, work, dry_run=dry_run)


def prune_policy(
    selection: SelectionOptions, planning: PlanningOptions, settings: PruneSettings, *, root: str
) -> Policy:
    """What the options, filled up from the config file, say to prune.

    Raises:
        UsageError: A value can't be used, or nothing says what to prune.
    """
    if planning.orphans_only:
        settings = dataclasses.replace(
            settings, pattern=None, date=None, older_than=None, not_pulled_for=None, count=None
        )
    policy = to_policy(
        overridden(selection, settings),
        datetime.now(UTC),
        root=root,
        orphans_only=planning.orphans_only,
    )
    policy.check()
    return policy


def plan_options_of(session: Session, planning: PlanningOptions) -> PlanOptions:
    """How the options say that a plan is worked out.

    Raises:
        UsageError: A value can't be used.
    """
    return PlanOptions(
        scan=ScanOptions(max_manifest_bytes=session.max_manifest_bytes),
        allow_broken=planning.allow_broken,
        skip_corrupt=planning.skip_corrupt,
        grace=seconds_of(planning.grace, "--grace") or 0,
    )
