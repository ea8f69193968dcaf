"""`fastprune explain`: its options. What it does is in `fastprune.cli.explaining`."""

from __future__ import annotations

from typing import Annotated

import typer

from fastprune.cli.app import command
from fastprune.cli.headings import OUTPUT
from fastprune.cli.options import GlobalOptions, SelectionOptions
from fastprune.cli.prune_options import PlanningOptions
from fastprune.cli.shared_options import TextOrJson


@command(
    "explain",
    SelectionOptions,
    PlanningOptions,
    examples=(
        "fastprune explain calico/typha:v3.27.0",
        "fastprune explain calico/typha:v3.27.0 --keep-last 3",
    ),
)
def explain_image(
    options: GlobalOptions,
    selection: SelectionOptions,
    planning: PlanningOptions,
    reference: Annotated[
        str,
        typer.Argument(
            metavar="REF",
            help="An image URL, a tag or a digest, whole or enough of its beginning or end.",
        ),
    ],
    limit: Annotated[
        int,
        typer.Option(
            "--limit",
            metavar="N",
            min=0,
            help="Names of each sort to show.",
            rich_help_panel=OUTPUT,
        ),
    ] = 5,
    form: TextOrJson = "text",
) -> int:
    """Say why an image would go or stay, and what holds its blobs.

    Reads only. With the selection options of prune it says what that prune would do to the
    image, and why.
    """
    from fastprune.cli.explaining import explain

    return explain(options, selection, planning, reference=reference, limit=limit, form=form)
