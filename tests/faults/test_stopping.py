"""A prune is stopped: it ends between two batches, with a report and a whole audit log."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
from pathlib import Path
from typing import Any

import anyio
import pytest
from tests.cli.program import (
    command,
    environment,
    finish,
    on_terminal,
    run,
    started,
    wait_until,
)
from tests.hazards.steps import plan_for
from tests.support.cachebuilder import CacheBuilder, files
from tests.support.oracle import Cache, kept_images_lost_blobs, kept_lists_lost_children, load

from fastprune import Limits, PruneReport
from fastprune.deletion.batches import Crew
from fastprune.deletion.deleter import Batch, BatchResult, Unlinker
from fastprune.deletion.phases import RunContext
from fastprune.deletion.pruning import carry_out

IMAGES = 200

every_signal = pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Lists with a child each, and an image that stays and shares a layer with all of them."""
    builder = CacheBuilder(tmp_path / "cache")
    base = builder.blob(10)
    for number in range(IMAGES // 2):
        child = builder.image(f"a@sha256:{number:064x}", layers=[base])
        builder.index(f"a:{number}", children=[child])
    builder.image("kept:1", layers=[base])
    return builder.root


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def whole(before: Cache, root: Path) -> bool:
    after = load(root)
    lost = kept_images_lost_blobs(before, after) + kept_lists_lost_children(before, after)
    return not lost


PRUNE = ("prune", "--pattern", "^a", "--max-deletes-per-second", "200")


@every_signal
@pytest.mark.parametrize("mode", ["delete", "trash"])
def test_a_signal_stops_it_and_report_and_log_say_what_went(
    number: signal.Signals, mode: str, root: Path, tmp_path: Path
) -> None:
    before, log = load(root), tmp_path / "log"
    trash = ["--trash"] if mode == "trash" else []
    options = ("--format", "json", "--audit-log", str(log), *trash)
    with started(*PRUNE, *options, cache=root) as process:
        wait_until(lambda: len(files(root)) < len(before.paths) - 50)
        process.send_signal(number)
        result = finish(process)
    assert result.code == 128 + number
    gone = before.paths - files(root)
    assert 50 < len(gone) < IMAGES
    report = json.loads(result.out)
    assert report["stopped"] == number.name
    assert {one["path"] for one in report["manifests"]} == gone
    assert report["totals"]["left"] == IMAGES + IMAGES // 2 - len(gone)
    assert {one["name"] for one in lines(log) if one.get("outcome") == "removed"} == gone
    assert (lines(log)[-1]["event"], lines(log)[-1]["exit_code"]) == ("end", result.code)
    assert f"stopped: {number.name}" in result.err
    assert whole(before, root)
    assert run("prune", "--pattern", "^a", "--summary", cache=root).code == 0
    assert set(load(root).manifests) == {
        path for path, one in before.manifests.items() if one.url == "kept:1"
    }


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_second_signal_ends_it_at_once_without_damage(
    number: signal.Signals, root: Path, tmp_path: Path
) -> None:
    before, log = load(root), tmp_path / "log"
    # A full pipe that nobody reads: the first signal alone can't end the program.
    os.mkfifo(log)
    pipe = os.open(log, os.O_RDWR)
    fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, 4096)
    try:
        with started("prune", "--pattern", "^a", "--audit-log", log, cache=root) as process:
            wait_until(lambda: len(files(root)) < len(before.paths) - 50)
            process.send_signal(number)
            wait_until(lambda: not pending(process, number))
            assert process.poll() is None
            process.send_signal(number)
            result = finish(process)
    finally:
        os.close(pipe)
    assert (result.code, result.out, result.err) == (128 + number, "", "")
    assert whole(before, root)
    assert run("prune", "--pattern", "^a", "--summary", cache=root).code == 0


@pytest.mark.parametrize("first", [signal.SIGHUP, signal.SIGTERM])
def test_a_further_sighup_ends_nothing_that_is_being_finished(
    first: signal.Signals, root: Path
) -> None:
    """A shell and the kernel both send one when a terminal goes; systemd, after SIGTERM."""
    before = load(root)
    options = (*PRUNE, "--format", "json")
    with started(*options, cache=root) as process:
        wait_until(lambda: len(files(root)) < len(before.paths) - 50)
        process.send_signal(first)
        wait_until(lambda: not pending(process, first))
        process.send_signal(signal.SIGHUP)
        result = finish(process)
    assert result.code == 128 + first
    assert json.loads(result.out)["stopped"] == first.name
    assert whole(before, root)


@pytest.mark.parametrize("ignored", [signal.SIGHUP, signal.SIGINT, signal.SIGTERM])
def test_a_signal_that_was_ignored_at_the_start_stays_so(
    ignored: signal.Signals, root: Path
) -> None:
    """As nohup does with SIGHUP, and a script's & with SIGINT."""
    name = ignored.name.removeprefix("SIG")
    prefix = ["sh", "-c", f'trap "" {name}; exec "$@"', "sh"]
    before = load(root)
    with subprocess.Popen(
        [*prefix, *command(*PRUNE, "--format", "json", cache=root)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(),
    ) as process:
        wait_until(lambda: len(files(root)) < len(before.paths) - 50)
        process.send_signal(ignored)
        result = finish(process)
    assert result.code == 0
    report = json.loads(result.out)
    assert (report["stopped"], report["totals"]["manifests"]) == (None, IMAGES)


def test_when_its_terminal_goes_away_log_and_metrics_are_whole(root: Path, tmp_path: Path) -> None:
    before, log, metrics = load(root), tmp_path / "log", tmp_path / "run.prom"
    files_of_run = ("--yes", "--audit-log", log, "--metrics-file", metrics)
    with on_terminal(*PRUNE, *files_of_run, cache=root) as terminal:
        wait_until(lambda: len(files(root)) < len(before.paths) - 50)
        terminal.hang_up()
        assert terminal.wait() == 128 + signal.SIGHUP
    gone = before.paths - files(root)
    assert 50 < len(gone) < IMAGES
    assert {one["name"] for one in lines(log) if one.get("outcome") == "removed"} == gone
    end = lines(log)[-1]
    assert (end["event"], end["stopped"], end["exit_code"]) == ("end", "SIGHUP", 129)
    assert "exit_code" in metrics.read_text("utf-8")
    assert " 129\n" in metrics.read_text("utf-8")
    assert whole(before, root)


def pending(process: subprocess.Popen[bytes], number: signal.Signals) -> bool:
    """Whether a signal has still to be taken (proc(5), SigPnd and ShdPnd)."""
    status = Path(f"/proc/{process.pid}/status").read_text(encoding="ascii")
    masks = [line.split()[1] for line in status.splitlines() if "Pnd:" in line]
    return any(int(mask, 16) & (1 << (number - 1)) for mask in masks)


@every_signal
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_signal_that_comes_when_all_is_done_does_not_cut_the_report_off(
    unbuffered: str, number: signal.Signals, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONUNBUFFERED", unbuffered)
    before = load(root)
    reader, writer = os.pipe()
    # Too small for the report, which waits for us while it is written.
    fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 4096)
    with open(reader, encoding="utf-8") as report:
        with started("prune", "--pattern", "^a", cache=root, stdout=writer) as process:
            os.close(writer)
            begun = report.read(1)
            process.send_signal(number)
            wait_until(lambda: not pending(process, number))
            out = begun + report.read()
            result = finish(process)
    assert (result.code, result.err) == (0, "")
    assert out.startswith("Prune manifests:\n")
    assert f"Manifests: {IMAGES} " in out
    assert out.splitlines()[-1].startswith("Time: ")
    assert whole(before, root)


def test_the_time_that_is_given_ends_it_and_it_says_what_is_left(root: Path) -> None:
    before = load(root)
    options = ("--max-deletes-per-second", "50", "--max-duration", "1s", "--format", "json")
    result = run("prune", "--pattern", "^a", *options, cache=root)
    assert result.code == 3
    report = json.loads(result.out)
    assert report["stopped"] == "--max-duration"
    gone = before.paths - files(root)
    assert report["totals"]["left"] == IMAGES + IMAGES // 2 - len(gone) > 0
    assert whole(before, root)


class Clock:
    """A clock of the event loop that moves only when somebody sleeps."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        monkeypatch.setattr(anyio, "current_time", lambda: self.now)
        monkeypatch.setattr(anyio, "sleep", self._sleep)

    async def _sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


class Timed(Unlinker):
    """Deletes, and notes when."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.times: list[float] = []

    def remove(self, folder: int, batch: Batch) -> BatchResult:
        self.times += [self.clock.now] * len(batch.names)
        return super().remove(folder, batch)


@pytest.mark.parametrize("per_second", [10, 75.0, 10_000])
def test_the_rate_is_kept_in_every_second(per_second: float, clock: Clock, root: Path) -> None:
    times = carried_out(root, clock, Limits(1, per_second=per_second))
    # What was begun before a second was over is finished in the next.
    most = per_second + Crew(Limits(1, per_second=per_second)).batch_size(len(times), 256)
    for first, begin in enumerate(times):
        assert sum(1 for moment in times[first:] if moment < begin + 1) <= most


@pytest.mark.parametrize("concurrency", [1, 8])
@pytest.mark.parametrize("per_second", [10, 75.0, 10_000])
def test_the_rate_holds_for_all_threads_together(
    concurrency: int, per_second: float, clock: Clock, root: Path
) -> None:
    limits = Limits(concurrency, per_second=per_second)
    began = clock.now
    times = carried_out(root, clock, limits)
    # The last batches need not wait for what comes after them.
    files_before = len(times) - concurrency * Crew(limits).batch_size(len(times), 256)
    assert clock.now - began >= files_before / per_second * 0.99


def carried_out(root: Path, clock: Clock, limits: Limits) -> list[float]:
    """Prunes; returns the time of each deletion."""
    deleter = Timed(clock)
    plan = plan_for(root, "^a")
    report: PruneReport = anyio.run(carry_out, plan, deleter, RunContext(limits))
    assert report.exit_code == 0
    assert len(deleter.times) == IMAGES + IMAGES // 2
    return sorted(deleter.times)
