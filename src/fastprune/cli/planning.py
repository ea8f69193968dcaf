"""What `fastprune plan` does: options to a policy, a plan, a file."""

from __future__ import annotations

import dataclasses
import sys
from typing import TYPE_CHECKING

from fastprune.cli.asking import request_of
from fastprune.cli.carrying import print_report, with_estimate
from fastprune.cli.messages import say_error
from fastprune.cli.metering import Note
from fastprune.cli.options import SelectionOptions
from fastprune.cli.picturing import checked_html, write_plan_page
from fastprune.cli.prune_options import DeleteLimitOptions, PlanningOptions
from fastprune.cli.session import Session, write
from fastprune.cli.values import check_form
from fastprune.cli.warnings import warn_about, warn_of_servers, warn_of_shortfall
from fastprune.errors import DeleteLimitError, Exceeded, UsageError
from fastprune.metrics import plan_values
from fastprune.pipeline import TimedPlan, work_out
from fastprune.scanner import check_root

if TYPE_CHECKING:
    from fastprune.plan import PrunePlan
    from fastprune.server_findings import ServerFinding

STDOUT = "-"


def plan(
    session: Session,
    selection: SelectionOptions,
    planning: PlanningOptions,
    limits: DeleteLimitOptions,
    *,
    output: str,
    form: str,
    html: str | None,
    note: Note,
) -> int:
    """Plans, writes the plan, prints its totals, and gives the exit code.

    Raises:
        FastpruneError: It can't be done.
    """
    request = request_of(session, selection, planning, limits)
    check_form(form)
    check_root(session.image_path)
    page = checked_html(html, session.image_path)
    if output != STDOUT:
        _check_output(output, session.image_path)
    with session.executor() as executor:
        timed = work_out(
            session.image_path,
            request.policy,
            lambda _: executor,
            request.options,
            progress=session.progress(),
        )
    note(plan_values(timed.plan) | {"last_run_step_duration_seconds": timed.seconds})
    warn_about(timed.plan.index)
    servers = warn_of_servers(session.image_path)
    if page is not None:
        write_plan_page(page, timed.plan, "plan", request.zone, progress=session.progress())
    exceeded = request.delete_limits.exceeded_by(timed.plan)
    if not exceeded:
        _deliver(timed.plan, output, request.options.grace)
    _print_totals(session, timed, exceeded, servers, output, form)
    if exceeded:
        refused = DeleteLimitError(exceeded)
        refused.hint = f"no plan was written, and {refused.hint}"
        say_error(refused)
        return refused.exit_code
    return 0


def _check_output(output: str, root: str) -> None:
    """Checks where the plan is to go: better now than after a long scan."""
    from fastprune.wholefile import checked_target

    try:
        checked_target(output, root)
    except UsageError as error:
        raise UsageError(f"--output {error}") from None


def _deliver(plan: PrunePlan, output: str, grace: float) -> None:
    if output == STDOUT:
        _print_plan(plan, grace)
    else:
        _save(plan, output, grace)


def _print_totals(
    session: Session,
    timed: TimedPlan,
    exceeded: tuple[Exceeded, ...],
    servers: tuple[ServerFinding, ...],
    output: str,
    form: str,
) -> None:
    from fastprune.report import planned_report, text_lines

    report = dataclasses.replace(
        planned_report(timed.plan), seconds=timed.seconds, exceeded=exceeded, servers=servers
    )
    warn_of_shortfall(report)
    report = with_estimate(report, session)
    if output != STDOUT:
        print_report(report, "plan", form=form, summary=True, paint=session.paint)
    elif not session.quiet:
        print("\n".join(text_lines(report, summary=True)), file=sys.stderr)


def _print_plan(plan: PrunePlan, grace: float) -> None:
    from fastprune import __version__
    from fastprune.identity import identify
    from fastprune.planfile.encoding import encode

    cache = identify(plan.index.root)
    blocks = encode(plan, cache, made_by=__version__, grace=grace)
    write(block.decode().removesuffix("\n") for block in blocks)


def _save(plan: PrunePlan, output: str, grace: float) -> None:
    import anyio

    from fastprune.plans import save_plan

    async def save() -> None:
        await save_plan(plan, output, grace=grace)

    anyio.run(save)
