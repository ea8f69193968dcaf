"""`fastprune du`: options to a survey, a usage, lines."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime

from fastprune.cli.app import command
from fastprune.cli.cluster_options import ClusterOptions
from fastprune.cli.headings import OUTPUT
from fastprune.cli.options import GlobalOptions, html_option, option, policy_option
from fastprune.cli.plan_options import SelectionOptions
from fastprune.cli.server_options import ServerOptions, scan_options_of, server_of
from fastprune.cli.state_folder import StateOptions
from fastprune.errors import UsageError

_GROUPINGS = ("registry", "repository", "image", "layer")
_KEYS = ("name", "unique", "shared", "total", "images", "oldest", "newest")
_FORMATS = ("text", "json", "csv")
_DEFAULT_TOP = 25


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class UsageOptions:
    """What to show of the usage, and how."""

    policy: str | None = policy_option()
    by: str = option(
        "--by GROUP", OUTPUT, "registry, repository, image or layer.", default="repository"
    )
    depth: int | None = option(
        "--depth N",
        OUTPUT,
        "Sum repositories up to N parts of their names; docker.io/library has 2.",
        min=1,
    )
    sort: str = option(
        "--sort KEY",
        OUTPUT,
        "name, unique, shared, total, images, oldest or newest; -KEY reverses the order.",
        default="-unique",
    )
    top: int | None = option(
        "--top N",
        OUTPUT,
        "Show N rows, and the sum of the others; 0 for all. Default: 25, or all with json and csv.",
        min=0,
    )
    html: str | None = html_option()
    form: str = option("--format FORMAT", OUTPUT, "text, json or csv.", default="text")


@command(
    "du",
    examples=("fastprune du --by registry", "fastprune du --not-pulled-for 90d --html usage.html"),
)
def show_usage(
    options: GlobalOptions,
    selection: SelectionOptions,
    wanted: UsageOptions,
    running: ServerOptions,
    state: StateOptions,
    cluster: ClusterOptions,
) -> int:
    """Show where the space goes, and how long ago it was pulled.

    Reads only. UNIQUE is what comes free if the row goes. Files that several rows need are
    counted in a row of their own, so that all rows add up to the bytes on disk. With a
    selection, files that other images need have such a row, too. The last tables show the
    ages, and what pruning by age would leave.
    """
    from fastprune.cli.cache_warnings import warn_about, warn_of_links, warn_of_servers
    from fastprune.cli.html_page import checked_html, cutoffs, write_page
    from fastprune.cli.option_values import check_choice
    from fastprune.cli.request import policy_and_zone
    from fastprune.cli.session import open_session, write
    from fastprune.cli.terminal import terminal_width

    session = open_session(options, state, cluster)
    now = datetime.now(UTC)
    check_choice(wanted.by, "--by", _GROUPINGS)
    check_choice(wanted.sort.removeprefix("-"), "--sort", _KEYS)
    check_choice(wanted.form, "--format", _FORMATS)
    if wanted.depth is not None and wanted.by != "repository":
        raise UsageError(f"--depth cuts names of repositories, and --by says {wanted.by}")
    policy, zone = policy_and_zone(session, selection, wanted.policy)
    page = checked_html(wanted.html, session.image_path)
    server = server_of(running)
    survey = session.reader().survey(policy, scan_options_of(session, server))
    # numpy was imported while the workers read, so these imports are cheap now.
    from fastprune.usage.ages import AGES
    from fastprune.usage.report import UsageSort, csv_lines, json_lines, sorted_groups, usage_rows
    from fastprune.usage.rows import By
    from fastprune.usage.table import table_lines

    warn_about(survey.index)
    warn_of_links(survey.index, survey.blob_bytes)
    warn_of_servers(session.image_path, server)
    if page is not None:
        write_page(page, survey, None, "du", zone)
    usage = survey.usage(By(wanted.by), depth=wanted.depth)
    sort, reverse = UsageSort(wanted.sort.removeprefix("-")), wanted.sort.startswith("-")
    top = wanted.top
    if top is None:
        top = _DEFAULT_TOP if wanted.form == "text" else 0
    rows = usage_rows(usage, sorted_groups(usage, sort, reverse=reverse), top or None)
    if wanted.form == "csv":
        write(csv_lines(rows))
        return 0
    ages, began = survey.ages(), cutoffs(AGES, now, zone)
    if wanted.form == "json":
        write(json_lines(usage, rows, ages, began))
    else:
        width, paint = terminal_width(), session.paint
        write(table_lines(usage, list(rows), ages, began, width=width, paint=paint))
    return 0
