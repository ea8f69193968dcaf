"""What `fastprune list` does: options to a policy, a scan, lines."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from fastprune.cli.asking import what_is_meant
from fastprune.cli.messages import facts, log
from fastprune.cli.options import GlobalOptions, SelectionOptions
from fastprune.cli.session import open_session, write
from fastprune.cli.terminal import terminal_width
from fastprune.cli.warnings import warn_about, warn_of_servers
from fastprune.errors import UnreadableManifestsError, UsageError
from fastprune.quantities import format_count

if TYPE_CHECKING:
    from fastprune.index import CacheIndex


def print_list(
    options: GlobalOptions,
    selection: SelectionOptions,
    *,
    policy_file: str | None,
    form: str | None,
    header: bool | None,
    short_digest: bool | None,
    sort: str,
    limit: int | None,
) -> int:
    """Lists, and gives the exit code; see `list_command` for the options.

    Raises:
        FastpruneError: It can't be done.
    """
    session = open_session(options)
    policy, _ = what_is_meant(session, selection, policy_file)
    _check(form, sort)
    # The ages of an image count with those of its children: that needs the edges.
    index = session.scan(edges=policy.needs_edges, pattern_sets=policy.pattern_sets)
    # numpy is there by now: it was imported while the workers read.
    from fastprune.listing import Format, SortKey, render, sorted_rows
    from fastprune.named_rules import select_by_policy

    warn_about(index)
    warn_of_servers(session.image_path)
    terminal = sys.stdout.isatty()
    chosen = Format(form) if form else (Format.table if terminal else Format.text)
    tabular = chosen in (Format.table, Format.csv)
    rows = select_by_policy(index, policy).selected.nonzero()[0]
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
    """The exit code of an empty listing; says so if something may be missing in it."""
    if not index.faults:
        return 0
    code = UnreadableManifestsError.exit_code
    log.error(
        "nothing is listed, but %s can't be read: what was asked for may be among them",
        format_count(len(index.faults), "manifest"),
        extra=facts(exit_code=code),
    )
    return code


def _check(form: str | None, sort: str) -> None:
    formats = ("table", "text", "url", "json", "jsonl", "csv")
    if form is not None and form not in formats:
        raise UsageError(f"--format: {form!r} is none of {', '.join(formats)}")
    keys = ("url", "created", "pulled", "size")
    if sort.removeprefix("-") not in keys:
        raise UsageError(f"--sort: {sort!r} is none of {', '.join(keys)}, with or without a minus")
