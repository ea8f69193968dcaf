"""`fastprune list`: its options. What it does is in `fastprune.cli.listing`."""

from __future__ import annotations

from typing import Annotated

import typer

from fastprune.cli.app import command
from fastprune.cli.headings import OUTPUT
from fastprune.cli.options import GlobalOptions, SelectionOptions
from fastprune.cli.shared_options import PolicyFile


@command(
    "list",
    SelectionOptions,
    examples=(
        "fastprune list --pattern dashboard",
        "fastprune list --not-pulled-for 30d --sort -size --limit 20",
    ),
)
def list_manifests(
    options: GlobalOptions,
    selection: SelectionOptions,
    policy: PolicyFile = None,
    form: Annotated[
        str | None,
        typer.Option(
            "--format",
            metavar="FORMAT",
            help="table (default on a terminal), text (default otherwise: six columns as "
            "ociregistry prints them), url, json, jsonl or csv.",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    header: Annotated[
        bool | None,
        typer.Option(
            "--header/--no-header",
            help="Begin with the names of the columns. Default: for table and csv.",
            show_default=False,
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    short_digest: Annotated[
        bool | None,
        typer.Option(
            "--short-digest/--full-digest",
            help="Show 12 digits of a digest, 10 in text. Default: for table.",
            show_default=False,
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    sort: Annotated[
        str,
        typer.Option(
            "--sort",
            metavar="KEY",
            help="url, created, pulled or size; -KEY for the other way round.",
            rich_help_panel=OUTPUT,
        ),
    ] = "url",
    limit: Annotated[
        int | None,
        typer.Option(
            "--limit", metavar="N", min=0, help="Print at most so many.", rich_help_panel=OUTPUT
        ),
    ] = None,
) -> int:
    """List the manifests of the cache.

    Reads only. With a selection, or a policy file, what meets it: without the children that
    a prune would take along. A size is the sum of the blobs that an image names; a list has
    none. Manifests that can't be read are warned about and left out; if nothing is left to
    list, the exit code is 4.
    """
    from fastprune.cli.listing import print_list

    return print_list(
        options,
        selection,
        policy_file=policy,
        form=form,
        header=header,
        short_digest=short_digest,
        sort=sort,
        limit=limit,
    )
