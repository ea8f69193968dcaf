"""What `fastprune du` does: options to a survey, a usage, lines."""

from __future__ import annotations

from datetime import UTC, datetime

from fastprune.cli.asking import what_is_meant
from fastprune.cli.du_command import UsageOptions
from fastprune.cli.options import GlobalOptions, SelectionOptions
from fastprune.cli.picturing import checked_html, cutoffs, write_page
from fastprune.cli.session import open_session, write
from fastprune.cli.terminal import terminal_width
from fastprune.cli.warnings import warn_about, warn_of_links, warn_of_servers
from fastprune.errors import UsageError
from fastprune.scanner import ScanOptions
from fastprune.usage.surveying import survey_cache

_GROUPINGS = ("registry", "repository", "image", "layer")
_KEYS = ("name", "unique", "shared", "total", "images", "oldest", "newest")
_FORMATS = ("text", "json", "csv")
_DEFAULT_TOP = 25


def measure_usage(options: GlobalOptions, selection: SelectionOptions, wanted: UsageOptions) -> int:
    """Shows where the space goes, and gives the exit code.

    Raises:
        FastpruneError: It can't be done.
    """
    session = open_session(options)
    now = datetime.now(UTC)
    _check(wanted)
    policy, zone = what_is_meant(session, selection, wanted.policy)
    page = checked_html(wanted.html, session.image_path)
    with session.executor() as executor:
        survey = survey_cache(
            session.image_path,
            policy,
            lambda _: executor,
            ScanOptions(max_manifest_bytes=session.max_manifest_bytes),
            progress=session.progress(),
        )
    # numpy is there by now: it was imported while the workers read.
    from fastprune.usage.ages import AGES
    from fastprune.usage.report import UsageSort, csv_lines, json_lines, sorted_groups, usage_rows
    from fastprune.usage.rows import By
    from fastprune.usage.table import table_lines

    warn_about(survey.index)
    warn_of_links(survey.index, survey.blob_bytes)
    warn_of_servers(session.image_path)
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
    began = cutoffs(AGES, now, zone)
    if wanted.form == "json":
        write(json_lines(usage, rows, survey.ages(), began))
    else:
        write(
            table_lines(
                usage,
                list(rows),
                survey.ages(),
                began,
                width=terminal_width(),
                paint=session.paint,
            )
        )
    return 0


def _check(wanted: UsageOptions) -> None:
    for value, option, allowed in (
        (wanted.by, "--by", _GROUPINGS),
        (wanted.sort.removeprefix("-"), "--sort", _KEYS),
        (wanted.form, "--format", _FORMATS),
    ):
        if value not in allowed:
            raise UsageError(f"{option}: {value!r} is none of {', '.join(allowed)}")
    if wanted.depth is not None and wanted.by != "repository":
        raise UsageError(f"--depth cuts names of repositories, and --by says {wanted.by}")
