"""`fastprune list`: options to a policy, a scan, lines."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from fastprune.cli.app import command
from fastprune.cli.headings import OUTPUT
from fastprune.cli.options import GlobalOptions, PolicyFile
from fastprune.cli.plan_options import SelectionOptions
from fastprune.errors import UnreadableManifestsError, UsageError
from fastprune.text.quantities import format_count

if TYPE_CHECKING:
    from fastprune.index.cache_index import CacheIndex

_FORMATS = ("table", "text", "url", "json", "jsonl", "csv")
_KEYS = ("url", "created", "pulled", "size")


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
            help="url, created, pulled or size; -KEY reverses the order.",
            rich_help_panel=OUTPUT,
        ),
    ] = "url",
    limit: Annotated[
        int | None,
        typer.Option(
            "--limit", metavar="N", min=0, help="Print at most N.", rich_help_panel=OUTPUT
        ),
    ] = None,
) -> int:
    """List the manifests of the cache.

    Reads only. With a selection or a policy file, lists the manifests that meet it, without
    the children that a prune would take along. The size of an image is the sum of its blobs;
    a list has none. Manifests that can't be read are left out with a warning; if nothing is
    left to list, the exit code is 4.
    """
    from fastprune.cli.cache_warnings import warn_about, warn_of_servers
    from fastprune.cli.option_values import check_choice
    from fastprune.cli.request import what_is_meant
    from fastprune.cli.session import open_session, write
    from fastprune.cli.terminal import terminal_width

    session = open_session(options)
    meant, _ = what_is_meant(session, selection, policy)
    if form is not None:
        check_choice(form, "--format", _FORMATS)
    if sort.removeprefix("-") not in _KEYS:
        keys = ", ".join(_KEYS)
        raise UsageError(f"--sort: {sort!r} is none of {keys}, with or without a minus")
    # An image and its children have one age: edges are needed for that.
    index = session.scan(edges=meant.needs_edges, pattern_sets=meant.pattern_sets)
    # numpy was imported while the workers read, so these imports are cheap now.
    from fastprune.report.listing import Format, SortKey, render, sorted_rows
    from fastprune.selection.selecting import select

    warn_about(index)
    warn_of_servers(session.image_path)
    terminal = sys.stdout.isatty()
    chosen = Format(form) if form else (Format.table if terminal else Format.text)
    tabular = chosen in (Format.table, Format.csv)
    rows = select(index, meant).selected.nonzero()[0]
    rows = sorted_rows(index, rows, SortKey(sort.lstrip("-")), reverse=sort.startswith("-"))
    write(
        render(
            index,
            rows[:limit],
            chosen,
            header=tabular if header is None else header,
            short_digest=chosen is Format.table if short_digest is None else short_digest,
            width=terminal_width(),
            paint=session.paint,
        )
    )
    return 0 if len(rows) else _nothing_listed(index)


def _nothing_listed(index: CacheIndex) -> int:
    """The exit code of an empty listing; warns if unreadable manifests may be missing in it."""
    from fastprune.cli.messages import facts, log

    if not index.faults:
        return 0
    code = UnreadableManifestsError.exit_code
    log.error(
        "nothing is listed, but %s can't be read: what was asked for may be among them",
        format_count(len(index.faults), "manifest"),
        extra=facts(exit_code=code),
    )
    return code
