"""What `fastprune tune` does: options to a measurement, a report, saved defaults."""

from __future__ import annotations

import dataclasses
import math
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from types import FrameType

from fastprune.cli.messages import log
from fastprune.cli.options import GlobalOptions
from fastprune.cli.saved import SavedDefaults, save_defaults
from fastprune.cli.session import (
    Session,
    open_session,
    write,
    write_json,
)
from fastprune.cli.terminal import terminal_width
from fastprune.cli.tune_command import TuneOptions
from fastprune.cli.values import check_form, parse_number_or_auto
from fastprune.errors import FastpruneError, UsageError
from fastprune.executors.processes import available_jobs
from fastprune.scanner import check_root
from fastprune.signals import heeded
from fastprune.text import printable
from fastprune.tuning.figures import TuneReport, job_settings


def tune(options: GlobalOptions, tuning: TuneOptions) -> int:
    """Measures, prints the report, and gives the exit code.

    Raises:
        FastpruneError: It can't be done; nothing was left behind.
    """
    check_form(tuning.form)
    if math.isnan(tuning.seconds):
        # It is in any range, as it is never outside of it.
        raise UsageError(f"--seconds {tuning.seconds}: not a number")
    session = open_session(options)
    check_root(session.image_path)
    report = _measure(session, tuning, parse_number_or_auto(options.jobs, "--jobs"))
    saved, code = None, 0
    if tuning.save:
        advice = report.recommendation
        try:
            defaults = SavedDefaults(advice.jobs, advice.concurrency, report.deletes_per_second)
            saved = save_defaults(report.image_path, defaults)
        except FastpruneError as error:
            # What was measured is worth showing all the same.
            log.error("%s", error)
            code = error.exit_code
    _print(report, saved, tuning.form)
    return code


def _measure(session: Session, tuning: TuneOptions, jobs: int | None) -> TuneReport:
    with ExitStack() as stack:
        # All workers are forked now, while this process is small and has no threads. The
        # last ones end first: they have inherited the sockets of those before them.
        executors = [
            stack.enter_context(dataclasses.replace(session, jobs=number).executor())
            for number in job_settings(available_jobs(), jobs)
        ]
        from fastprune.tuning import measuring

        return measuring.tune(
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

    before = {number: signal.signal(number, note) for number in heeded()}
    try:
        yield lambda: signal.Signals(arrived[0]).name if arrived else ""
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        if arrived:
            signal.raise_signal(arrived[0])


def _print(report: TuneReport, saved: str | None, form: str) -> None:
    from fastprune.tuning.report import as_document, text_lines

    if form == "json":
        write_json(as_document(report, saved=saved))
        return
    lines = [*text_lines(report, width=terminal_width())]
    if saved:
        lines.append(f"Saved in {printable(saved)}: later runs on this cache use it.")
    write(lines)
