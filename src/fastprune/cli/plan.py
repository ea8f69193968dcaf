"""`fastprune plan`: options to a policy, a plan, a file."""

from __future__ import annotations

import dataclasses
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from fastprune.cli.app import command
from fastprune.cli.headings import OUTPUT
from fastprune.cli.options import GlobalOptions, HtmlFile, MetricsFile
from fastprune.cli.plan_options import DeleteLimitOptions, PlanningOptions, SelectionOptions
from fastprune.errors import DeleteLimitError, Exceeded, UsageError

if TYPE_CHECKING:
    from fastprune.cli.metrics_file import Note
    from fastprune.cli.session import Session
    from fastprune.guard.server_findings import ServerFinding
    from fastprune.pipeline import TimedPlan
    from fastprune.plan.prune_plan import PrunePlan


@command(
    "plan",
    SelectionOptions,
    PlanningOptions,
    DeleteLimitOptions,
    examples=(
        "fastprune plan --older-than 1y -o prune.plan",
        "fastprune plan --min-free-space 20% -o - | fastprune apply - --dry-run",
    ),
)
def plan_prune(
    options: GlobalOptions,
    selection: SelectionOptions,
    planning: PlanningOptions,
    limits: DeleteLimitOptions,
    output: Annotated[
        str,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="Where to write the plan; - for stdout.",
            rich_help_panel=OUTPUT,
        ),
    ],
    form: Annotated[
        str,
        typer.Option(
            "--format",
            metavar="FORMAT",
            help="Of the totals: text or json.",
            rich_help_panel=OUTPUT,
        ),
    ] = "text",
    html: HtmlFile = None,
    metrics_file: MetricsFile = None,
) -> int:
    """Work out a prune and write it to a file for review and apply.

    Changes nothing in the cache. The file holds a line of JSON for each manifest and blob
    that would go, with the reason. The options mean what they mean for prune. A plan that
    removes more than it may is not written, and the exit code is 4.
    """
    from fastprune.cli.metrics_file import failures_metered, metered
    from fastprune.cli.session import open_session

    with failures_metered(metrics_file, "plan", options):
        session = open_session(options)
    return metered(
        metrics_file,
        "plan",
        session.image_path,
        lambda note: plan(
            session, selection, planning, limits, output=output, form=form, html=html, note=note
        ),
    )


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
    from fastprune.cli.cache_warnings import warn_about, warn_of_servers
    from fastprune.cli.html_page import checked_html, write_plan_page
    from fastprune.cli.messages import say_error
    from fastprune.cli.option_values import check_form
    from fastprune.cli.request import request_of
    from fastprune.layouts.default import DEFAULT_LAYOUT
    from fastprune.pipeline import work_out
    from fastprune.reading.folders import check_root
    from fastprune.report.metrics import plan_values

    request = request_of(session, selection, planning, limits)
    check_form(form)
    check_root(session.image_path, DEFAULT_LAYOUT)
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
    from fastprune.layouts.default import DEFAULT_LAYOUT
    from fastprune.whole_files import checked_target

    try:
        checked_target(output, root, DEFAULT_LAYOUT)
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
    from fastprune.cli.cache_warnings import warn_of_shortfall
    from fastprune.cli.plan_run import print_report, with_estimate
    from fastprune.report.prune_report import planned_report, text_lines

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
    from fastprune.cli.session import write
    from fastprune.plan.encoding import encode
    from fastprune.plan.identity import identify
    from fastprune.version import __version__

    cache = identify(plan.index.root)
    blocks = encode(plan, cache, made_by=__version__, grace=grace)
    write(block.decode().removesuffix("\n") for block in blocks)


def _save(plan: PrunePlan, output: str, grace: float) -> None:
    import anyio

    from fastprune.plan.files import save_plan

    async def save() -> None:
        await save_plan(plan, output, grace=grace)

    anyio.run(save)
