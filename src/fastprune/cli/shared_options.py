"""Options that mean the same wherever they are: each is a type that a field is annotated with."""

from __future__ import annotations

from typing import Annotated

import typer

from fastprune.cli.headings import OUTPUT, PACE, SAFETY, SELECTION

PolicyFile = Annotated[
    str | None,
    typer.Option(
        "--policy",
        metavar="FILE",
        help="Select and keep by the rules of this file, TOML or YAML. Options beside it can "
        "only keep more.",
        rich_help_panel=SELECTION,
    ),
]

HtmlFile = Annotated[
    str | None,
    typer.Option(
        "--html",
        metavar="FILE",
        help="Write a page to look at in a browser, with what would go marked; it loads "
        "nothing from anywhere.",
        rich_help_panel=OUTPUT,
    ),
]

MetricsFile = Annotated[
    str | None,
    typer.Option(
        "--metrics-file",
        metavar="FILE",
        help="Write metrics of the run to this file, for the node exporter of Prometheus "
        "(textfile collector).",
        rich_help_panel=OUTPUT,
    ),
]

Yes = Annotated[
    bool,
    typer.Option(
        "--yes",
        "-y",
        help="Do not ask. Without a terminal nothing is ever asked.",
        rich_help_panel=SAFETY,
    ),
]

AuditLogFile = Annotated[
    str | None,
    typer.Option(
        "--audit-log",
        metavar="FILE",
        help="Append a JSON line for every file that goes, with the reason, to this file.",
        rich_help_panel=OUTPUT,
    ),
]

LockWait = Annotated[
    str | None,
    typer.Option(
        "--lock-wait",
        metavar="DUR",
        help="Wait so long for another fastprune to end.",
        rich_help_panel=PACE,
    ),
]

NoLock = Annotated[
    bool,
    typer.Option(
        "--no-lock",
        help="Go on without a lock where the file system can't lock. What another fastprune "
        "has locked stays refused.",
        rich_help_panel=SAFETY,
    ),
]

TextOrJson = Annotated[
    str, typer.Option("--format", metavar="FORMAT", help="text or json.", rich_help_panel=OUTPUT)
]
