"""`fastprune trash`: its commands; options to runs, a report."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING

from fastprune.cli.app import add_group, command
from fastprune.cli.headings import PACE, SAFETY, SELECTION
from fastprune.cli.options import (
    GlobalOptions,
    argument,
    flag,
    format_option,
    lock_wait_option,
    no_lock_option,
    option,
    yes_option,
)
from fastprune.cli.signals import run_until_signal
from fastprune.text.quantities import format_bytes, format_count

if TYPE_CHECKING:
    from fastprune.cli.session import Session
    from fastprune.deletion.cache_reader import CacheReader
    from fastprune.trash.model import RunContents, TrashContents
    from fastprune.trash.report import TrashReport

trash = add_group(
    "trash",
    "Show, put back or delete for good what prune --trash moved.",
    examples=("fastprune trash list", "fastprune trash empty --older-than 30d --dry-run"),
)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ListOptions:
    """How the trash is shown."""

    form: str = format_option()


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ChangeOptions:
    """How the trash is changed."""

    dry_run: bool = flag(
        "--dry-run -n", SAFETY, "Show what would be done and change nothing at all."
    )
    concurrency: str | None = option("--concurrency N|auto", PACE, "Threads. Default: auto, 32.")
    lock_wait: str | None = lock_wait_option()
    no_lock: bool = no_lock_option()
    form: str = format_option()


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class RestoreOptions:
    """What is put back."""

    run: str = argument("RUN", "A run, or enough of its beginning.")
    force: bool = flag("--force", SAFETY, "Restore although a server seems to run on this cache.")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class EmptyOptions:
    """What is deleted for good."""

    runs: list[str] | None = argument(
        "[RUN]...", "Runs, or enough of their beginnings. Default: all.", default=None
    )
    older_than: str | None = option(
        "--older-than DUR", SELECTION, "Only runs longer ago than this: 36h, 30d, 2w."
    )
    yes: bool = yes_option()


@command("list", examples=("fastprune trash list --format json",), parent=trash)
def show_trash(options: GlobalOptions, listing: ListOptions) -> int:
    """List the runs in the trash: when they were, and what they hold."""
    from fastprune.cli.session import write, write_json

    session = _open(options, listing.form)
    found = _read(session.reader(), session)
    from fastprune.trash.report import list_document, list_lines

    if listing.form == "json":
        write_json(list_document(session.image_path, found.runs, found.foreign))
    else:
        write(list_lines(found.runs, session.paint))
    return 0


@command("restore", examples=("fastprune trash restore 20260101 --dry-run",), parent=trash)
def restore_run(options: GlobalOptions, restoring: RestoreOptions, changing: ChangeOptions) -> int:
    """Put a run back into the cache.

    Blobs first, then images, then lists. Nothing in the cache is overwritten: if it has
    another file of that name by now, the one in the trash stays there. Can be repeated, after
    a crash as well.
    """
    from fastprune.cli.cache_lock import exclusion_of, held

    session = _open(options, changing.form)
    limits = session.limits(changing.concurrency)
    exclusion = exclusion_of(changing.lock_wait, no_lock=changing.no_lock, force=restoring.force)
    if changing.dry_run:
        began = time.monotonic()
        (contents,) = _read(session.reader(), session, [restoring.run]).runs
        from fastprune.deletion.trashing import planned_restore

        root = session.image_path
        report = planned_restore(root, contents, progress=session.progress())
        return _finish(_with_estimate(report, session, began), changing, None)
    with held(session, exclusion) as cache:
        (contents,) = _read(cache.reader, session, [restoring.run]).runs
        report, signal_code = run_until_signal(
            lambda stopped: cache.restore(contents, limits.or_when(stopped))
        )
    return _finish(report, changing, signal_code)


@command("empty", examples=("fastprune trash empty --older-than 30d",), parent=trash)
def empty_runs(options: GlobalOptions, emptying: EmptyOptions, changing: ChangeOptions) -> int:
    """Delete runs in the trash for good, which frees their bytes."""
    from fastprune.cli.cache_lock import exclusion_of, held
    from fastprune.cli.messages import notice
    from fastprune.cli.option_values import seconds_of

    session = _open(options, changing.form)
    root = session.image_path
    limits = session.limits(changing.concurrency)
    seconds = seconds_of(emptying.older_than, "--older-than")
    age = None if seconds is None else timedelta(seconds=seconds)
    exclusion = exclusion_of(changing.lock_wait, no_lock=changing.no_lock, trash_only=True)
    if changing.dry_run:
        began = time.monotonic()
        runs = _read(session.reader(), session, emptying.runs or None, age).runs
        from fastprune.deletion.trashing import planned_empty

        report = _with_estimate(planned_empty(root, runs), session, began)
        return _finish(report, changing, None)
    with held(session, exclusion) as cache:
        runs = _read(cache.reader, session, emptying.runs or None, age).runs
        if runs and not emptying.yes and not _confirmed(root, runs):
            notice("nothing was deleted")
            return 1
        report, signal_code = run_until_signal(
            lambda stopped: cache.empty(runs, limits.or_when(stopped))
        )
    return _finish(report, changing, signal_code)


_MOST_NAMED = 20


def _open(options: GlobalOptions, form: str) -> Session:
    from fastprune.cli.option_values import check_form
    from fastprune.cli.session import open_session

    check_form(form)
    session = open_session(options)
    session.check_cache()
    return session


def _read(
    reader: CacheReader,
    session: Session,
    runs: Sequence[str] | None = None,
    older_than: timedelta | None = None,
) -> TrashContents:
    """Reads runs of the trash, and says what does not belong there."""
    from fastprune.cli.messages import log

    most = session.max_manifest_bytes
    found = reader.read_trash(runs, older_than=older_than, max_manifest_bytes=most)
    for path in found.all_foreign[:_MOST_NAMED]:
        log.warning("%s does not belong in the trash, and is left alone", path)
    return found


def _confirmed(root: str, runs: Sequence[RunContents]) -> bool:
    from fastprune.cli.terminal import confirmed

    files = sum(contents.files for contents in runs)
    size = sum(contents.size for contents in runs)
    return confirmed(
        f"Delete {format_count(len(runs), 'run')} ({format_count(files, 'file')}, "
        f"{format_bytes(size)}) in the trash of {root} for good?"
    )


def _with_estimate(report: TrashReport, session: Session, began: float) -> TrashReport:
    """The report of a dry run with an estimate of the real one."""
    from fastprune.report.estimates import estimate

    restoring = report.command == "restore"
    return dataclasses.replace(
        report,
        estimate=estimate(
            sum(report.counts.values()),
            0 if restoring else report.size,
            scan_seconds=time.monotonic() - began,
            # What is put back gets its old name, and then loses that in the trash.
            operations=2 if restoring else 1,
            measured=session.saved_rate,
        ),
    )


def _finish(report: TrashReport, changing: ChangeOptions, signal_code: int | None) -> int:
    """Says what is amiss, prints the report, and gives the exit code."""
    from fastprune.cli.cache_warnings import warn_of_undurable
    from fastprune.cli.messages import log
    from fastprune.cli.session import write, write_json

    warn_of_undurable(report.root, report.not_durable)
    for path in report.kept[:_MOST_NAMED]:
        log.warning("%s stays in the trash: the cache has another file of that name", path)
    for failure in report.failures[:_MOST_NAMED]:
        verb = "put back" if report.command == "restore" else "deleted"
        log.error("%s can't be %s: %s", failure.path, verb, failure.message)
    if report.missing_blobs:
        log.warning(
            "%s by images that were put back but missing: pull these images again",
            format_count(len(report.missing_blobs), "blob is needed", "blobs are needed"),
        )
    if report.stopped:
        log.warning("stopped by %s; %s left", report.stopped, format_count(report.left, "file"))
    from fastprune.trash.report import report_document, report_lines

    if changing.form == "json":
        write_json(report_document(report))
    else:
        write(report_lines(report))
    return signal_code or report.exit_code
