"""`fastprune plan`: options to a policy, a plan, a file."""

from __future__ import annotations

import dataclasses
import sys
from functools import partial
from typing import TYPE_CHECKING

from fastprune.cli.app import command
from fastprune.cli.cluster_options import ClusterOptions
from fastprune.cli.headings import OUTPUT
from fastprune.cli.options import STDOUT, GlobalOptions, html_option, metrics_option, option
from fastprune.cli.plan_options import DeleteLimitOptions, PlanningOptions, SelectionOptions
from fastprune.cli.server_options import ServerOptions, check_agreement, scan_options_of, server_of
from fastprune.cli.state_folder import StateOptions
from fastprune.errors import DeleteLimitError, Exceeded, UsageError

if TYPE_CHECKING:
    from fastprune.cli.metrics_file import Note
    from fastprune.cli.session import Session
    from fastprune.guard.server_findings import ServerFinding
    from fastprune.pipeline import TimedPlan
    from fastprune.plan.prune_plan import PrunePlan


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class WritingOptions:
    """Where the plan goes, and what is said about it."""

    output: str = option(
        "--output -o FILE",
        OUTPUT,
        "Where to write the plan; - for stdout.",
        default=dataclasses.MISSING,
    )
    form: str = option(
        "--format FORMAT", OUTPUT, "Format of the totals: text or json.", default="text"
    )
    html: str | None = html_option()
    metrics_file: str | None = metrics_option()


@command(
    "plan",
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
    writing: WritingOptions,
    running: ServerOptions,
    state: StateOptions,
    cluster: ClusterOptions,
) -> int:
    """Work out a prune and write it to a file for review and apply.

    Changes nothing in the cache. The file holds a line of JSON for each manifest and blob
    that would go, with the reason. The options mean what they mean for prune. A plan that
    removes more than it may is not written, and the exit code is 4.
    """
    from fastprune.cli.cache_warnings import warn_about, warn_of_own_pruning, warn_of_servers
    from fastprune.cli.html_page import checked_html, write_plan_page
    from fastprune.cli.messages import say_error
    from fastprune.cli.metrics_file import failures_in_metrics, with_metrics
    from fastprune.cli.option_values import check_form
    from fastprune.cli.request import request_of
    from fastprune.cli.session import open_session
    from fastprune.report.metrics import plan_values

    def work(note: Note) -> int:
        root = session.image_path
        server = server_of(running)
        request = request_of(session, selection, planning, limits, server=server)
        check_form(writing.form)
        session.check_cache()
        page = checked_html(writing.html, root)
        _check_output(writing.output, root)
        if server is not None:
            warn_of_own_pruning(root, session.config)
        how = dataclasses.replace(request.options, scan=scan_options_of(session, server))
        timed = session.reader().plan(request.policy, how)
        check_agreement(timed.plan.index, server)
        note(plan_values(timed.plan) | {"last_run_step_duration_seconds": timed.seconds})
        warn_about(timed.plan.index)
        servers = warn_of_servers(root, server)
        if page is not None:
            write_plan_page(page, timed.plan, "plan", request.zone, progress=session.progress())
        exceeded = request.delete_limits.exceeded_by(timed.plan)
        if not exceeded:
            _write_plan(timed.plan, writing.output, request.options.grace)
        _print_totals(session, timed, exceeded, servers, writing)
        if not exceeded:
            return 0
        refused = DeleteLimitError(exceeded)
        refused.hint = f"no plan was written, and {refused.hint}"
        say_error(refused)
        return refused.exit_code

    with failures_in_metrics(writing.metrics_file, "plan", options):
        session = open_session(options, state, cluster)
    return with_metrics(writing.metrics_file, "plan", session.image_path, work)


def _check_output(output: str, root: str) -> None:
    """Checks the file of the plan, before a long scan."""
    from fastprune.layouts.default import DEFAULT_LAYOUT
    from fastprune.whole_files import checked_target

    if output == STDOUT:
        return
    try:
        checked_target(output, root, DEFAULT_LAYOUT)
    except UsageError as error:
        raise UsageError(f"--output {error}") from None


def _write_plan(plan: PrunePlan, output: str, grace: float) -> None:
    if output != STDOUT:
        import anyio

        from fastprune.plan.files import save_plan

        anyio.run(partial(save_plan, plan, output, grace=grace))
        return
    from fastprune.cli.session import write
    from fastprune.plan.encoding import encode
    from fastprune.plan.identity import identify
    from fastprune.version import __version__

    blocks = encode(plan, identify(plan.index.root), made_by=__version__, grace=grace)
    write(block.decode().removesuffix("\n") for block in blocks)


def _print_totals(
    session: Session,
    timed: TimedPlan,
    exceeded: tuple[Exceeded, ...],
    servers: tuple[ServerFinding, ...],
    writing: WritingOptions,
) -> None:
    from fastprune.cli.cache_warnings import warn_of_shortfall
    from fastprune.cli.plan_run import print_report, with_estimate
    from fastprune.report.prune_rendering import text_lines
    from fastprune.report.prune_report import planned_report

    report = dataclasses.replace(
        planned_report(timed.plan), seconds=timed.seconds, exceeded=exceeded, servers=servers
    )
    warn_of_shortfall(report)
    report = with_estimate(report, session)
    if writing.output != STDOUT:
        print_report(report, session, "plan", form=writing.form, summary=True)
    elif not session.quiet:
        print("\n".join(text_lines(report, summary=True)), file=sys.stderr)
