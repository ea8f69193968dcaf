"""`fastprune list`: options to a policy, a scan, lines."""

from __future__ import annotations

import dataclasses
import sys
from typing import TYPE_CHECKING

from fastprune.cli.app import command
from fastprune.cli.cluster_options import ClusterOptions
from fastprune.cli.headings import OUTPUT
from fastprune.cli.options import GlobalOptions, option, policy_option
from fastprune.cli.plan_options import SelectionOptions
from fastprune.cli.server_options import ServerOptions, scan_options_of, server_of
from fastprune.cli.state_folder import StateOptions
from fastprune.errors import UnreadableManifestsError, UsageError
from fastprune.text.quantities import format_count

if TYPE_CHECKING:
    from fastprune.index.cache_index import CacheIndex

_FORMATS = ("table", "text", "url", "json", "jsonl", "csv")
_KEYS = ("url", "created", "pulled", "size")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ListingOptions:
    """What to show of the manifests, and how."""

    policy: str | None = policy_option()
    form: str | None = option(
        "--format FORMAT",
        OUTPUT,
        "table (default on a terminal), text (default otherwise: six columns as ociregistry prints "
        "them), url, json, jsonl or csv.",
    )
    header: bool | None = option(
        "--header/--no-header",
        OUTPUT,
        "Begin with the names of the columns. Default: for table and csv.",
        show_default=False,
    )
    short_digest: bool | None = option(
        "--short-digest/--full-digest",
        OUTPUT,
        "Show 12 digits of a digest, 10 in text. Default: for table.",
        show_default=False,
    )
    sort: str = option(
        "--sort KEY",
        OUTPUT,
        "url, created, pulled or size; -KEY reverses the order.",
        default="url",
    )
    limit: int | None = option("--limit N", OUTPUT, "Print at most N.", min=0)


@command(
    "list",
    examples=(
        "fastprune list --pattern dashboard",
        "fastprune list --not-pulled-for 30d --sort -size --limit 20",
    ),
)
def list_manifests(
    options: GlobalOptions,
    wanted: ListingOptions,
    selection: SelectionOptions,
    running: ServerOptions,
    state: StateOptions,
    cluster: ClusterOptions,
) -> int:
    """List the manifests of the cache.

    Reads only. With a selection or a policy file, lists the manifests that meet it, without
    the children that a prune would take along. The size of an image is the sum of its blobs;
    a list has none. Manifests that can't be read are left out with a warning; if nothing is
    left to list, the exit code is 4.
    """
    from fastprune.cli.cache_warnings import warn_about, warn_of_servers
    from fastprune.cli.option_values import check_choice
    from fastprune.cli.request import policy_and_zone
    from fastprune.cli.session import open_session, write
    from fastprune.cli.terminal import terminal_width

    session = open_session(options, state, cluster)
    meant, _ = policy_and_zone(session, selection, wanted.policy)
    if wanted.form is not None:
        check_choice(wanted.form, "--format", _FORMATS)
    sort = wanted.sort
    if sort.removeprefix("-") not in _KEYS:
        keys = ", ".join(_KEYS)
        raise UsageError(f"--sort: {sort!r} is none of {keys}, with or without a minus")
    server = server_of(running)
    scan = scan_options_of(session, server)
    # An image and its children have one age: edges are needed for that.
    scan = dataclasses.replace(scan, edges=meant.needs_edges, pattern_sets=meant.pattern_sets)
    index = session.scan(scan)
    # numpy was imported while the workers read, so these imports are cheap now.
    from fastprune.report.listing import Format, SortKey, render, sorted_rows
    from fastprune.selection.selecting import selected_names

    warn_about(index)
    warn_of_servers(session.image_path, server)
    terminal = sys.stdout.isatty()
    chosen = Format(wanted.form) if wanted.form else (Format.table if terminal else Format.text)
    tabular = chosen in (Format.table, Format.csv)
    rows = selected_names(index, meant)
    rows = sorted_rows(index, rows, SortKey(sort.lstrip("-")), reverse=sort.startswith("-"))
    short = chosen is Format.table if wanted.short_digest is None else wanted.short_digest
    write(
        render(
            index,
            rows[: wanted.limit],
            chosen,
            header=tabular if wanted.header is None else wanted.header,
            short_digest=short,
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
