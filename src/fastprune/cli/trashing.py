"""What `fastprune trash` does: options to runs, a report."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING

from fastprune.cli.locking import locked
from fastprune.cli.messages import log, notice
from fastprune.cli.options import GlobalOptions
from fastprune.cli.running import run_until_signal
from fastprune.cli.session import Session, open_session, write, write_json
from fastprune.cli.terminal import confirmed
from fastprune.cli.trash_command import ChangeOptions, EmptyOptions, ListOptions, RestoreOptions
from fastprune.cli.values import check_form, seconds_of
from fastprune.cli.warnings import refuse_or_override_servers, warn_of_undurable
from fastprune.limits import DEFAULT_CONCURRENCY, Limits
from fastprune.quantities import format_bytes, format_count
from fastprune.runs import find_run, run_time
from fastprune.scanner import check_root
from fastprune.trash.tree import TrashListing, list_trash

if TYPE_CHECKING:
    from fastprune.trash.model import RunContents
    from fastprune.trash.report import TrashReport

_MOST_NAMED = 20


def print_trash(options: GlobalOptions, listing: ListOptions) -> int:
    """Lists the trash, and gives the exit code.

    Raises:
        FastpruneError: It can't be done.
    """
    session = _open(options, listing.form)
    found = list_trash(session.image_path)
    runs = _read(session, found.runs)
    from fastprune.trash.report import list_document, list_lines

    _warn_of_foreign(found, runs)
    if listing.form == "json":
        write_json(list_document(session.image_path, runs, found.foreign))
    else:
        write(list_lines(runs, session.paint))
    return 0


def restore_trash(
    options: GlobalOptions, restoring: RestoreOptions, changing: ChangeOptions
) -> int:
    """Puts a run back, prints the report, and gives the exit code.

    Raises:
        FastpruneError: It can't be done.
    """
    session = _open(options, changing.form)
    root = session.image_path
    limits = _limits(session, changing)
    if changing.dry_run:
        began = time.monotonic()
        contents = _choose(session, [restoring.run])
        from fastprune.trash.changing import planned_restore

        report = planned_restore(root, contents[0], progress=session.progress())
        return _finish(_with_estimate(report, session, began), changing, None)
    overridden = refuse_or_override_servers(root, force=restoring.force)
    from fastprune.servers import find_servers

    with _locked(root, changing) as unlocked:
        contents = _choose(session, [restoring.run])
        from fastprune.trash.changing import restore

        def work(stopped: Callable[[], str]) -> Awaitable[TrashReport]:
            return restore(
                root,
                contents[0],
                limits=limits.or_when(stopped),
                progress=session.progress(),
                look=None if restoring.force else partial(find_servers, root),
            )

        report, signal_code = run_until_signal(work)
    report = dataclasses.replace(report, overridden=overridden, no_lock=unlocked)
    return _finish(report, changing, signal_code)


def empty_trash(options: GlobalOptions, emptying: EmptyOptions, changing: ChangeOptions) -> int:
    """Deletes runs for good, prints the report, and gives the exit code.

    Raises:
        FastpruneError: It can't be done.
    """
    session = _open(options, changing.form)
    root = session.image_path
    limits = _limits(session, changing)
    seconds = seconds_of(emptying.older_than, "--older-than")
    age = None if seconds is None else timedelta(seconds=seconds)
    now = datetime.now(UTC)
    if changing.dry_run:
        began = time.monotonic()
        contents = _choose(session, emptying.runs, now=now, age=age)
        from fastprune.trash.changing import planned_empty

        report = _with_estimate(planned_empty(root, contents), session, began)
        return _finish(report, changing, None)
    with _locked(root, changing) as unlocked:
        contents = _choose(session, emptying.runs, now=now, age=age)
        if contents and not emptying.yes and not _confirmed(root, contents):
            notice("nothing was deleted")
            return 1
        from fastprune.trash.changing import empty

        def work(stopped: Callable[[], str]) -> Awaitable[TrashReport]:
            return empty(
                root, contents, limits=limits.or_when(stopped), progress=session.progress()
            )

        report, signal_code = run_until_signal(work)
    report = dataclasses.replace(report, no_lock=unlocked)
    return _finish(report, changing, signal_code)


def _open(options: GlobalOptions, form: str) -> Session:
    check_form(form)
    session = open_session(options)
    check_root(session.image_path)
    return session


def _locked(root: str, changing: ChangeOptions) -> AbstractContextManager[str]:
    wait = seconds_of(changing.lock_wait, "--lock-wait") or 0
    return locked(root, wait, no_lock=changing.no_lock)


def _limits(session: Session, changing: ChangeOptions) -> Limits:
    return Limits(session.concurrency(changing.concurrency) or DEFAULT_CONCURRENCY)


def _choose(
    session: Session,
    wanted: Sequence[str] | None,
    *,
    now: datetime | None = None,
    age: timedelta | None = None,
) -> list[RunContents]:
    """Reads the runs that are meant: those that are named, or all; old ones only."""
    found = list_trash(session.image_path)
    runs = list(found.runs)
    if wanted:
        runs = sorted({find_run(found.runs, prefix) for prefix in wanted})
    if now is not None and age is not None:
        runs = [run for run in runs if (at := run_time(run)) is not None and now - at > age]
    contents = _read(session, runs)
    _warn_of_foreign(found, contents)
    return contents


def _read(session: Session, runs: Sequence[str]) -> list[RunContents]:
    if not runs:
        return []
    with session.executor() as executor:
        # The workers are forked: now is the time for heavy imports.
        from fastprune.trash.contents import read_run

        return [
            read_run(
                session.image_path,
                run,
                executor,
                max_manifest_bytes=session.max_manifest_bytes,
                progress=session.progress(),
            )
            for run in runs
        ]


def _confirmed(root: str, runs: Sequence[RunContents]) -> bool:
    files = sum(contents.files for contents in runs)
    size = sum(contents.size for contents in runs)
    return confirmed(
        f"Delete {format_count(len(runs), 'run')} ({format_count(files, 'file')}, "
        f"{format_bytes(size)}) in the trash of {root} for good?"
    )


def _warn_of_foreign(found: TrashListing, runs: Sequence[RunContents]) -> None:
    paths = [*found.foreign, *(f"{one.run}/{path}" for one in runs for path in one.foreign)]
    for path in paths[:_MOST_NAMED]:
        log.warning("%s does not belong in the trash, and is left alone", path)


def _with_estimate(report: TrashReport, session: Session, began: float) -> TrashReport:
    """The report of a dry run with an estimate of the real one."""
    from fastprune.estimates import estimate

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
