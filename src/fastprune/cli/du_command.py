"""`fastprune du`: its options. What it does is in `fastprune.cli.measuring_usage`."""

from __future__ import annotations

import dataclasses
from typing import Annotated

import typer

from fastprune.cli.app import command
from fastprune.cli.headings import OUTPUT
from fastprune.cli.options import GlobalOptions, SelectionOptions
from fastprune.cli.shared_options import HtmlFile, PolicyFile


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class UsageOptions:
    """What to show of the usage, and how."""

    policy: PolicyFile = None
    by: Annotated[
        str,
        typer.Option(
            "--by",
            metavar="GROUP",
            help="registry, repository, image or layer.",
            rich_help_panel=OUTPUT,
        ),
    ] = "repository"
    depth: Annotated[
        int | None,
        typer.Option(
            "--depth",
            metavar="N",
            min=1,
            help="Sum repositories up to N parts of their names; docker.io/library has 2.",
            rich_help_panel=OUTPUT,
        ),
    ] = None
    sort: Annotated[
        str,
        typer.Option(
            "--sort",
            metavar="KEY",
            help="name, unique, shared, total, images, oldest or newest; -KEY for the other "
            "way round.",
            rich_help_panel=OUTPUT,
        ),
    ] = "-unique"
    top: Annotated[
        int | None,
        typer.Option(
            "--top",
            metavar="N",
            min=0,
            help="Show so many, and the sum of the others; 0 for all. Default: 25, with json "
            "and csv all.",
            rich_help_panel=OUTPUT,
        ),
    ] = None
    html: HtmlFile = None
    form: Annotated[
        str,
        typer.Option(
            "--format", metavar="FORMAT", help="text, json or csv.", rich_help_panel=OUTPUT
        ),
    ] = "text"


@command(
    "du",
    SelectionOptions,
    UsageOptions,
    examples=(
        "fastprune du --by registry",
        "fastprune du --not-pulled-for 90d --html usage.html",
    ),
)
def show_usage(options: GlobalOptions, selection: SelectionOptions, wanted: UsageOptions) -> int:
    """Show where the space goes, and how long ago it was pulled.

    Reads only. UNIQUE is what comes free if the row goes; what several rows need is a row
    of its own, so that all rows add up to the bytes on disk. With a selection, nothing
    that is not selected may need it either. Last, what pruning by age would leave.
    """
    from fastprune.cli.measuring_usage import measure_usage

    return measure_usage(options, selection, wanted)
