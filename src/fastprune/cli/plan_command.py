"""`fastprune plan`: its options. What it does is in `fastprune.cli.planning`."""

from __future__ import annotations

from typing import Annotated

import typer

from fastprune.cli.app import command
from fastprune.cli.headings import OUTPUT
from fastprune.cli.options import GlobalOptions, SelectionOptions
from fastprune.cli.prune_options import DeleteLimitOptions, PlanningOptions
from fastprune.cli.shared_options import HtmlFile, MetricsFile


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
    from fastprune.cli.metering import failures_metered, metered
    from fastprune.cli.planning import plan
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
