"""`fastprune tune`."""

from __future__ import annotations

import dataclasses
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from fastprune.cli.app import command
from fastprune.cli.options import GlobalOptions
from fastprune.cli.session import (
    Session,
    log,
    open_session,
    parse_number_or_auto,
    write,
    write_json,
)
from fastprune.errors import FastpruneError, UsageError
from fastprune.executors.processes import available_jobs
from fastprune.scanner import check_root

if TYPE_CHECKING:
    from types import FrameType

    from fastprune.tuning.figures import TuneReport


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class TuneOptions:
    """How to measure, and what becomes of the result."""

    save: Annotated[
        bool,
        typer.Option(
            "--save",
            help="Make the recommendation the default for this cache, in "
            "~/.config/fastprune/tuned.json ($XDG_CONFIG_HOME). An explicit --jobs or "
            "--concurrency, auto included, beats it.",
        ),
    ] = False
    seconds: Annotated[
        float,
        typer.Option("--seconds", metavar="S", min=1, max=3600, help="How long to measure."),
    ] = 5
    files: Annotated[
        int,
        typer.Option(
            "--files",
            metavar="N",
            min=100,
            max=1_000_000,
            help="Temporary files of 4 KiB to delete with each concurrency, at most.",
        ),
    ] = 5_000
    form: Annotated[str, typer.Option("--format", metavar="FORMAT", help="text or json.")] = "text"


@command("tune", TuneOptions)
def tune_cache(options: GlobalOptions, tuning: TuneOptions) -> int:
    """Measure this machine and file system; recommend --jobs and --concurrency.

    Reads a sample of the cache. Deletes temporary files of its own, in a new folder beside
    the image path (or in it) that is removed whatever happens; nothing else is changed.
    Says how long a prune of everything takes. A number given with --jobs is tried besides
    the usual ones.
    """
    if tuning.form not in ("text", "json"):
        raise UsageError(f"--format: {tuning.form!r} is neither text nor json")
    session = open_session(options)
    check_root(session.image_path)
    report = _measure(session, tuning, parse_number_or_auto(options.jobs, "--jobs"))
    saved, code = None, 0
    if tuning.save:
        try:
            saved = _save(report)
        except FastpruneError as error:
            # What was measured is worth showing all the same.
            log.error("%s", error)
            code = error.exit_code
    _print(report, saved, tuning.form)
    return code


def _measure(session: Session, tuning: TuneOptions, jobs: int | None) -> TuneReport:
    from fastprune.tuning.figures import job_settings

    with ExitStack() as stack:
        # All workers are forked now, while this process is small and has no threads. The
        # last ones end first: they have inherited the sockets of those before them.
        executors = [
            stack.enter_context(dataclasses.replace(session, jobs=number).executor())
            for number in job_settings(available_jobs(), jobs)
        ]
        from fastprune.tuning.measuring import tune

        return tune(
            session.image_path,
            executors,
            clock=time.perf_counter,
            seconds=tuning.seconds,
            files=tuning.files,
            progress=session.progress(),
            signals=_signals_held_back(),
        )


@contextmanager
def _signals_held_back() -> Iterator[Callable[[], str]]:
    """Holds back what would end the process, until there is nothing left to clean up.

    Yields:
        A function that names the first signal that came, or gives an empty text.
    """
    arrived: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        del frame
        arrived.append(number)

    before = {
        number: signal.signal(number, note)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        if signal.getsignal(number) is not signal.SIG_IGN
    }
    try:
        yield lambda: signal.Signals(arrived[0]).name if arrived else ""
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        if arrived:
            signal.raise_signal(arrived[0])


def _save(report: TuneReport) -> str:
    from fastprune.cli.saved import SavedDefaults, save_defaults

    advice = report.recommendation
    return save_defaults(report.image_path, SavedDefaults(advice.jobs, advice.concurrency))


def _print(report: TuneReport, saved: str | None, form: str) -> None:
    from fastprune.tuning.report import as_document, text_lines

    if form == "json":
        write_json(as_document(report, saved=saved))
        return
    import shutil

    write(text_lines(report, width=shutil.get_terminal_size((80, 24)).columns))
    if saved:
        write([f"Saved in {saved}: later runs on this cache use it."])
