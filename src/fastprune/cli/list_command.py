"""`fastprune list`."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from typing import Annotated

import typer

from fastprune.cli.app import command
from fastprune.cli.options import GlobalOptions, SelectionOptions
from fastprune.cli.selection import to_policy
from fastprune.cli.session import open_session, write
from fastprune.errors import UsageError
from fastprune.scanner import ScanOptions, scan_cache


@command("list", SelectionOptions)
def list_manifests(
    options: GlobalOptions,
    selection: SelectionOptions,
    form: Annotated[
        str | None,
        typer.Option(
            "--format",
            metavar="FORMAT",
            help="table (default on a terminal), text (default otherwise: six columns as "
            "ociregistry prints them), url, json, jsonl or csv.",
        ),
    ] = None,
    header: Annotated[
        bool | None,
        typer.Option(
            "--header/--no-header",
            help="Begin with the names of the columns. Default: for table and csv.",
            show_default=False,
        ),
    ] = None,
    short_digest: Annotated[
        bool | None,
        typer.Option(
            "--short-digest/--full-digest",
            help="Show 12 digits of a digest. Default: for table.",
            show_default=False,
        ),
    ] = None,
    sort: Annotated[
        str,
        typer.Option(
            "--sort",
            metavar="KEY",
            help="url, created, pulled or size; -KEY for the other way round.",
        ),
    ] = "url",
    limit: Annotated[
        int | None, typer.Option("--limit", metavar="N", min=0, help="Print at most so many.")
    ] = None,
) -> int:
    """List the manifests of the cache.

    Reads only. A size is the sum of the blobs that an image names; a list has none.
    Manifests that can't be read are warned about and left out.
    """
    session = open_session(options)
    policy = to_policy(selection, datetime.now(UTC))
    _check(form, sort)
    # The ages of an image count with those of its children: that needs the edges.
    needs_edges = policy.pulled_before is not None or policy.count is not None
    scan_options = ScanOptions(
        edges=needs_edges,
        pattern_sets=policy.pattern_sets,
        max_manifest_bytes=session.max_manifest_bytes,
    )
    with session.executor() as executor:
        index = scan_cache(
            session.image_path, lambda _: executor, scan_options, progress=session.progress()
        )
    from fastprune.cli.warnings import warn_about, warn_of_servers
    from fastprune.listing import Format, SortKey, render, sorted_rows
    from fastprune.selection import select

    warn_about(index)
    warn_of_servers(session.image_path)
    terminal = sys.stdout.isatty()
    chosen = Format(form) if form else (Format.table if terminal else Format.text)
    tabular = chosen in (Format.table, Format.csv)
    rows = select(index, policy).selected.nonzero()[0]
    rows = sorted_rows(index, rows, SortKey(sort.lstrip("-")), reverse=sort.startswith("-"))
    write(
        render(
            index,
            rows[:limit],
            chosen,
            header=tabular if header is None else header,
            short_digest=chosen is Format.table if short_digest is None else short_digest,
            width=_terminal_width(),
        )
    )
    return 0


def _check(form: str | None, sort: str) -> None:
    formats = ("table", "text", "url", "json", "jsonl", "csv")
    if form is not None and form not in formats:
        raise UsageError(f"--format: {form!r} is none of {', '.join(formats)}")
    keys = ("url", "created", "pulled", "size")
    if sort.removeprefix("-") not in keys:
        raise UsageError(f"--sort: {sort!r} is none of {', '.join(keys)}, with or without a minus")


def _terminal_width() -> int:
    import shutil

    return shutil.get_terminal_size((120, 24)).columns
