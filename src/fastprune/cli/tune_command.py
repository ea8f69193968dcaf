"""`fastprune tune`: its options. What it does is in `fastprune.cli.tuning`."""

from __future__ import annotations

import dataclasses
from typing import Annotated

import typer

from fastprune.cli.app import command
from fastprune.cli.headings import MEASURING, OUTPUT
from fastprune.cli.options import GlobalOptions
from fastprune.cli.shared_options import TextOrJson


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class TuneOptions:
    """How to measure, and what becomes of the result."""

    save: Annotated[
        bool,
        typer.Option(
            "--save",
            help="Make the recommendation the default for this cache, in "
            "~/.config/fastprune/tuned.json ($XDG_CONFIG_HOME). An explicit --jobs or "
            "--concurrency, auto included, beats it.",
            rich_help_panel=OUTPUT,
        ),
    ] = False
    seconds: Annotated[
        float,
        typer.Option(
            "--seconds",
            metavar="S",
            min=1,
            max=3600,
            help="How long to measure.",
            rich_help_panel=MEASURING,
        ),
    ] = 5
    files: Annotated[
        int,
        typer.Option(
            "--files",
            metavar="N",
            min=100,
            max=1_000_000,
            help="Temporary files of 4 KiB to delete with each concurrency, at most.",
            rich_help_panel=MEASURING,
        ),
    ] = 5_000
    form: TextOrJson = "text"


@command("tune", TuneOptions, examples=("fastprune tune --save",))
def tune_cache(options: GlobalOptions, tuning: TuneOptions) -> int:
    """Measure this machine; recommend --jobs and --concurrency.

    Reads a sample of the cache. Deletes temporary files of its own, in a new folder beside
    the image path (or in it) that is removed whatever happens; nothing else is changed.
    Says how long a prune of everything takes. A number given with --jobs is tried besides
    the usual ones.
    """
    from fastprune.cli.tuning import tune

    return tune(options, tuning)
