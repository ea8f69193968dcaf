"""Writes the page of `--html FILE`, for every command: from a survey to a file."""

from __future__ import annotations

import os
from calendar import timegm
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from fastprune.errors import FastpruneError, UsageError
from fastprune.model import parse_time
from fastprune.policy.criteria import cutoff_ago, parse_zone
from fastprune.progress import Progress

if TYPE_CHECKING:
    from fastprune.plan.prune_plan import PrunePlan
    from fastprune.usage.surveying import Survey

_DAY = 86_400
_MODE = 0o644


def checked_html(path: str | None, root: str) -> str | None:
    """Checks the value of --html, before a long scan.

    Raises:
        UsageError: No page can be written there.
    """
    if path is None:
        return None
    from fastprune.layouts.default import DEFAULT_LAYOUT
    from fastprune.whole_files import check_writable, checked_target

    try:
        target = checked_target(path, root, DEFAULT_LAYOUT)
        check_writable(target)
    except OSError as error:
        raise UsageError(f"--html {path}: {error.strerror}") from None
    except UsageError as error:
        raise UsageError(f"--html {error}") from None
    return target


def write_plan_page(
    target: str, plan: PrunePlan, command: str, zone: str | None, *, progress: Progress
) -> None:
    """Writes the page of what a plan would free; `target` is what `checked_html` returned."""
    from fastprune.executors.inline import InlineExecutor
    from fastprune.policy.policy import Policy
    from fastprune.scanning.measuring import measure_blobs
    from fastprune.usage.surveying import survey_of

    index = plan.index
    files = measure_blobs(index, index.present_digests, InlineExecutor(), progress)
    survey = survey_of(index.with_linked_blobs(files.linked), Policy(), files.sizes)
    write_page(target, survey, plan, command, zone)


def write_page(
    target: str, survey: Survey, plan: PrunePlan | None, command: str, zone: str | None
) -> None:
    """Writes the page of a survey; `target` is what `checked_html` returned.

    The plan says what would go; without one, nothing would.
    """
    from fastprune.usage.page import NAMESPACE_DEPTH, PAGE_DAYS, page_document
    from fastprune.usage.page_template import render_page
    from fastprune.usage.rows import By
    from fastprune.version import __version__
    from fastprune.whole_files import write_whole

    scanned_at = datetime.fromtimestamp(survey.index.scanned_at, UTC)
    clock = scanned_at.astimezone(parse_zone(zone))
    document = page_document(
        [
            survey.usage(By.registry, apart=False),
            survey.usage(By.repository, depth=NAMESPACE_DEPTH, apart=False),
            survey.usage(By.repository, apart=False),
            survey.usage(By.image, apart=False),
        ],
        survey.usage(By.repository),
        survey.ages(),
        cutoffs(PAGE_DAYS, scanned_at, zone),
        survey.blob_bytes,
        plan=plan,
        now=timegm(clock.timetuple()),
        scanned=clock.strftime("%Y-%m-%d %H:%M"),
        command=command,
        version=__version__,
    )
    try:
        write_whole(target, [render_page(document)], mode=_MODE)
    except OSError as error:
        raise FastpruneError(
            f"{target} can't be written: {os.strerror(error.errno or 0)}"
        ) from error


def cutoffs(days: tuple[int, ...], now: datetime, zone: str | None) -> dict[int, int]:
    """For each number of days, the time that was so many days ago, on the server's clock."""
    server = parse_zone(zone)
    return {one: parse_time(cutoff_ago(_DAY * one, now, server)) or 0 for one in days}
