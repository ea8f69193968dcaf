"""`fastprune tune`: options to measurements, a report."""

from __future__ import annotations

import dataclasses
import math
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING

from fastprune.cli.app import command
from fastprune.cli.headings import MEASURING, OUTPUT
from fastprune.cli.options import GlobalOptions, flag, format_option, option
from fastprune.errors import FastpruneError, UsageError
from fastprune.text.escaping import printable

if TYPE_CHECKING:
    from fastprune.cli.session import Session
    from fastprune.tuning.figures import TuneReport


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class TuneOptions:
    """How to measure, and whether to save the result."""

    save: bool = flag(
        "--save",
        OUTPUT,
        "Make the recommendation the default for this cache, in "
        "~/.config/fastprune/tuned.json ($XDG_CONFIG_HOME). An explicit --jobs or "
        "--concurrency, auto included, beats it.",
    )
    seconds: float = option(
        "--seconds S", MEASURING, "How long to measure.", default=5, min=1, max=3600
    )
    files: int = option(
        "--files N",
        MEASURING,
        "Temporary files of 4 KiB to delete with each concurrency, at most.",
        default=5_000,
        min=100,
        max=1_000_000,
    )
    form: str = format_option()


@command("tune", examples=("fastprune tune --save",))
def tune_cache(options: GlobalOptions, tuning: TuneOptions) -> int:
    """Measure this machine; recommend --jobs and --concurrency.

    Reads a sample of the cache. Deletes temporary files of its own, in a new folder beside
    the image path (or in it) that is always removed. Nothing else changes. Estimates how long
    a prune of everything takes. A number given with --jobs is tried, too. If workers wait for
    the file system, as on a network, more of them are tried, until more are no faster.
    """
    from fastprune.cli.messages import log
    from fastprune.cli.option_values import check_form, parse_number_or_auto
    from fastprune.cli.session import open_session, write, write_json
    from fastprune.cli.terminal import terminal_width
    from fastprune.cli.tuned_defaults import SavedDefaults, save_defaults
    from fastprune.tuning.report import as_document, text_lines

    check_form(tuning.form)
    if math.isnan(tuning.seconds):
        # The parser's check of the range lets "nan" pass.
        raise UsageError(f"--seconds {tuning.seconds}: not a number")
    session = open_session(options)
    session.check_cache()
    report = _measure(session, tuning, parse_number_or_auto(options.jobs, "--jobs"))
    saved, code = None, 0
    if tuning.save:
        advice = report.recommendation
        try:
            defaults = SavedDefaults(advice.jobs, advice.concurrency, report.deletes_per_second)
            saved = save_defaults(report.image_path, defaults)
        except FastpruneError as error:
            # The figures are still worth showing.
            log.error("%s", error)
            code = error.exit_code
    if tuning.form == "json":
        write_json(as_document(report, saved=saved))
        return code
    lines = [*text_lines(report, width=terminal_width())]
    if saved:
        lines.append(f"Saved in {printable(saved)}: later runs on this cache use it.")
    write(lines)
    return code


def _measure(session: Session, tuning: TuneOptions, jobs: int | None) -> TuneReport:
    from fastprune.cli.signals import signals_held_back
    from fastprune.executors.processes import available_jobs
    from fastprune.tuning.figures import job_settings

    with ExitStack() as stack:
        # All workers are forked now, while this process is small and has no threads. The
        # last ones end first: they have inherited the sockets of those before them.
        executors = [
            stack.enter_context(dataclasses.replace(session, jobs=number).executor())
            for number in job_settings(available_jobs(), jobs)
        ]
        from fastprune.layouts.default import DEFAULT_LAYOUT
        from fastprune.tuning import measuring
        from fastprune.tuning.trials import waiting_trials

        return measuring.tune(
            session.image_path,
            executors,
            layout=DEFAULT_LAYOUT,
            waiting=waiting_trials(session.image_path, DEFAULT_LAYOUT, jobs),
            clock=time.perf_counter,
            seconds=tuning.seconds,
            files=tuning.files,
            progress=session.progress(),
            signals=signals_held_back(),
        )
