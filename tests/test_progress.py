"""Progress of a step: a line now and then, and only for steps that take long."""

from __future__ import annotations

import errno
import io
import json
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from rich.console import Console
from rich.progress import Progress
from tests.support.cachebuilder import CacheBuilder

from fastprune import Policy
from fastprune.cli.messages import set_up_messages
from fastprune.cli.options import GlobalOptions, LogFormat
from fastprune.cli.progress_bar import LINE_SECONDS, LineProgress, TerminalProgress
from fastprune.executors.inline import InlineExecutor
from fastprune.guard import drift
from fastprune.layouts.default import DEFAULT_LAYOUT
from fastprune.pipeline import PlanOptions, work_out
from fastprune.progress import SmoothRate, WhenSlow
from fastprune.reading.folders import FileTimes, StatTask, times_of_files
from fastprune.scanning.scanner import ScanOptions, scan_cache
from fastprune.tuning.scanning import list_names


class Told:
    """A progress that remembers what it is told."""

    def __init__(self) -> None:
        self.steps: list[str] = []
        self.counts: list[int] = []
        self.expected: list[int] = []
        self.recalled = 0

    def start(self, step: str, total: int | None, unit: str) -> None:
        self.steps.append(f"{step} {unit}")
        self.counts.append(0)

    def expect(self, size: int) -> None:
        self.expected.append(size)

    def advance(self, count: int, size: int = 0) -> None:
        self.counts[-1] += count

    def remembered(self, count: int) -> None:
        self.recalled += count

    def stop(self) -> None:
        self.steps.append("stop")


class Clock:
    """A clock that moves only when it is told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("time.monotonic", clock)
    return clock


def test_a_line_comes_every_half_minute_with_rate_and_time_left(
    clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    set_up_messages(GlobalOptions())
    progress = LineProgress()
    progress.start("removing", 10_000, "files")
    for _ in range(60):
        clock.now += 1
        progress.advance(100, 5_000)
    clock.now += 40
    progress.advance(4_000, 200_000)
    progress.stop()
    assert capsys.readouterr().err.splitlines() == [
        "fastprune: removing: 3,000 of 10,000 files, 150.0 kB (5.0 kB/s), 100/s, 70 s left",
        "fastprune: removing: 6,000 of 10,000 files, 300.0 kB (5.0 kB/s), 100/s, 40 s left",
        "fastprune: removing: 10,000 of 10,000 files, 500.0 kB (5.0 kB/s), 100/s, 0.00 s left",
        "fastprune: removing: 10,000 of 10,000 files, 500.0 kB (5.0 kB/s) in 1 min 40 s (100/s)",
    ]


def test_a_line_says_how_many_were_read_and_how_many_remembered(
    clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    set_up_messages(GlobalOptions())
    progress = LineProgress()
    progress.start("scanning", 10_000, "manifests")
    for remembered in (4_990, 4_000):
        clock.now += LINE_SECONDS
        progress.remembered(remembered)
        progress.advance(5_000, (5_000 - remembered) * 100)
    set_up_messages(GlobalOptions(log_format=LogFormat.json))
    progress.stop()
    *lines, last = capsys.readouterr().err.splitlines()
    set_up_messages(GlobalOptions())
    assert lines == [
        f"fastprune: scanning: {line}"
        for line in (
            (
                "5,000 of 10,000 manifests (10 read, 4,990 remembered), 1.0 kB (33 B/s), "
                "167/s, 30 s left"
            ),
            (
                "10,000 of 10,000 manifests (1,010 read, 8,990 remembered), 101.0 kB (1.7 kB/s), "
                "167/s, 0.00 s left"
            ),
        )
    ]
    assert (json.loads(last)["done"], json.loads(last)["remembered"]) == (10_000, 8_990)


def test_where_bytes_are_known_rate_and_time_left_are_theirs(
    clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    """Large files first: to count files would say that nearly all is left."""
    set_up_messages(GlobalOptions())
    progress = LineProgress()
    progress.start("reading blobs", 1_000, "blobs")
    progress.expect(10 * 10**9)
    for _ in range(60):
        clock.now += 1
        progress.advance(1, 10**8)
    set_up_messages(GlobalOptions(log_format=LogFormat.json))
    clock.now += 30
    progress.advance(900, 4 * 10**9)
    progress.stop()
    *lines, under_way, ended = capsys.readouterr().err.splitlines()
    set_up_messages(GlobalOptions())
    step = "fastprune: reading blobs"
    assert lines == [
        f"{step}: 30 of 1,000 blobs, 3.0 GB of 10.0 GB (100.0 MB/s), 1/s, 70 s left",
        f"{step}: 60 of 1,000 blobs, 6.0 GB of 10.0 GB (100.0 MB/s), 1/s, 40 s left",
    ]
    said = json.loads(under_way)
    assert (said["bytes"], said["total_bytes"], said["seconds_left"]) == (10**10, 10**10, 0)
    # What was done long ago counts less.
    assert said["bytes_per_second"] > 115e6
    assert json.loads(ended)["bytes_per_second"] == round(10**10 / 90, 1)


def test_the_rate_follows_a_change_and_is_not_shaken_by_one_pause() -> None:
    rate = SmoothRate(0)
    assert rate.per_second == 0
    for second in range(1, 101):
        rate.add(100, second)
        assert rate.per_second == pytest.approx(100)
    rate.add(0, 103)
    assert 85 < rate.per_second < 100
    for second in range(104, 224):
        rate.add(1_000, second)
    assert 970 < rate.per_second < 1_000


def bar_on_a_terminal(
    width: int, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> TerminalProgress:
    """A bar that draws nothing by itself."""
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setattr(Progress, "start", lambda _: None)
    progress = TerminalProgress(color=False)
    progress._bar.get_time = clock
    return progress


def line_of(progress: TerminalProgress, width: int) -> str:
    """What the bar shows: one line, which fits."""
    shown = io.StringIO()
    Console(file=shown, width=width).print(progress._bar.get_renderable())
    (line,) = shown.getvalue().splitlines()
    assert len(line) <= width
    return line


@pytest.mark.parametrize("width", [40, 80, 200])
def test_the_bar_goes_by_bytes_where_they_are_known(
    width: int, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    progress = bar_on_a_terminal(width, clock, monkeypatch)
    progress.start("reading", 1_000, "blobs")
    progress.expect(10**10)
    for _ in range(50):
        clock.now += 1
        progress.advance(1, 10**8)
    line = line_of(progress, width)
    assert "50/1000" in line
    assert "00:50" in line
    assert ("5.0 GB (100.0 MB/s)" in line) == (width >= 80)
    (task,) = progress._bar.tasks
    assert task.percentage == 50


@pytest.mark.parametrize("width", [40, 60, 80, 99, 100, 200])
def test_the_bar_says_how_many_are_remembered_where_there_is_room(
    width: int, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    progress = bar_on_a_terminal(width, clock, monkeypatch)
    progress.start("scanning", 100_000, "manifests")
    for _ in range(10):
        clock.now += 1
        progress.remembered(8_900)
        progress.advance(9_000, 10**7)
    line = line_of(progress, width)
    assert ("89,000 remembered" in line) == (width >= 80)
    assert ("1,000 read, 89,000 remembered" in line) == (width >= 100)
    assert "90000/100000" in line


@pytest.mark.parametrize("width", [40, 60, 80, 200])
def test_the_bar_fits_every_terminal_and_always_has_rate_and_time_left(
    width: int, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    progress = bar_on_a_terminal(width, clock, monkeypatch)
    bar = progress._bar
    task = bar.add_task("removing", total=63_801, unit="files", rate="7,261/s", bytes="3.8 GB")
    for _ in range(10):
        clock.now += 1
        bar.advance(task, 2_000)
    line = line_of(progress, width)
    for part in ("removing", "20000/63801", "7,261/s", "00:"):
        assert part in line, line
    assert ("3.8 GB" in line) == (width >= 80)


def test_a_bar_without_a_thread_is_drawn_when_something_is_done(
    clock: Clock, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def no_thread(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", no_thread)
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    progress = TerminalProgress(color=False)
    for step in ("scanning", "removing"):
        progress.start(step, 10, "files")
        for _ in range(4):
            clock.now += 1
            progress.advance(1)
        shown = capsys.readouterr().err
        assert f"{step}" in shown
        assert "4/10" in shown
        progress.stop()


def test_a_terminal_that_has_gone_away_stops_nothing(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Gone(io.StringIO):
        def isatty(self) -> bool:
            return True

        def write(self, text: str) -> int:
            raise OSError(errno.EIO, "gone")

    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    monkeypatch.setattr("sys.stderr", Gone())
    progress = TerminalProgress(color=False)
    progress._drawn = 0
    progress.start("removing", 10, "files")
    clock.now += 1
    progress.advance(1)
    progress.stop()


def test_a_step_whose_end_is_not_known_has_no_time_left(
    clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    set_up_messages(GlobalOptions(log_format=LogFormat.json))
    progress = LineProgress()
    progress.start("listing", None, "blobs")
    clock.now += LINE_SECONDS
    progress.advance(3_000)
    line = json.loads(capsys.readouterr().err)
    set_up_messages(GlobalOptions())
    del line["time"]
    assert line == {
        "level": "info",
        "message": "listing: 3,000 blobs, 100/s",
        "step": "listing",
        "state": "under way",
        "done": 3_000,
        "unit": "blobs",
        "bytes": 0,
        "per_second": 100.0,
        "seconds": 30.0,
    }


def test_a_step_that_is_over_at_once_is_not_worth_a_word(clock: Clock) -> None:
    told = Told()
    slow = WhenSlow(told)
    slow.start("measuring", 10, "blobs")
    clock.now += 0.9
    slow.advance(10)
    slow.stop()
    assert told.steps == []


def test_a_step_that_takes_long_is_passed_on_with_what_was_done_before(clock: Clock) -> None:
    told = Told()
    slow = WhenSlow(told)
    slow.start("measuring", 100, "blobs")
    slow.expect(400)
    for _ in range(4):
        slow.remembered(9)
        slow.advance(10, 1)
        clock.now += 0.5
    slow.stop()
    assert (told.steps, told.counts) == (["measuring blobs", "stop"], [40])
    assert told.recalled == 36
    assert told.expected == [400]


@pytest.mark.parametrize("seconds", [0, 0.4])
def test_every_step_of_a_scan_is_told_and_ends(
    seconds: float, clock: Clock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    builder = CacheBuilder(tmp_path / "cache")
    for number in range(70):
        builder.image(f"a:{number}", layers=[builder.blob(5)])
        builder.blob(7)
    told = Told()
    slowly(monkeypatch, clock, seconds)
    scan_cache(str(builder.root), lambda _: InlineExecutor(), ScanOptions(chunk=10), progress=told)
    measured = ["measuring blobs", "stop"] if seconds else []
    assert told.steps[-2 - len(measured) :] == ["scanning manifests", "stop", *measured]
    assert told.counts[-1 - len(measured) // 2] == 70
    assert ("listing manifests" in told.steps) == bool(seconds)


def slowly(monkeypatch: pytest.MonkeyPatch, clock: Clock, seconds: float) -> None:
    """Lets the disk take its time for each folder and each file that it is asked for."""

    def late(function: Callable[..., object]) -> Callable[..., object]:
        def wait(*arguments: object, **options: object) -> object:
            clock.now += 3 * seconds
            return function(*arguments, **options)

        return wait

    monkeypatch.setattr(os, "scandir", late(os.scandir))
    monkeypatch.setattr(os, "stat", late(os.stat))


def test_blobs_that_are_still_being_listed_are_a_step_of_their_own(
    tmp_path: Path,
) -> None:
    builder = CacheBuilder(tmp_path / "cache")
    for number in range(5):
        builder.image(f"a:{number}", layers=[builder.blob(5)])

    class BlobsLast(InlineExecutor):
        def map_unordered(self, function, items, *, ahead=1):  # type: ignore[no-untyped-def]
            items = list(items)
            return super().map_unordered(function, [*items[1:], *items[:1]])

    told = Told()
    index = scan_cache(str(builder.root), lambda _: BlobsLast(), ScanOptions(), progress=told)
    assert told.steps == ["scanning manifests", "stop", "listing blobs", "stop"]
    assert told.counts == [5, index.blobs_present]


@pytest.mark.parametrize("seconds", [0, 0.4])
def test_tune_tells_of_a_long_listing(
    seconds: float, clock: Clock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    builder = CacheBuilder(tmp_path / "cache")
    builder.image("a:1", layers=[builder.blob(5)])
    told = Told()
    slowly(monkeypatch, clock, seconds)
    names = list_names(str(builder.root), DEFAULT_LAYOUT, told)
    assert told.steps == (["listing files", "stop"] if seconds else [])
    assert sum(told.counts) == (names.manifest_count + names.blobs if seconds else 0)


@pytest.mark.parametrize("seconds", [0, 0.4])
def test_a_long_look_at_the_ages_of_blobs_is_told(
    seconds: float, clock: Clock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    builder = CacheBuilder(tmp_path / "cache")
    for size in range(1, 11):
        builder.blob(size)

    asked = times_of_files

    def slowly(task: StatTask) -> Iterator[FileTimes]:
        for part in asked(task):
            clock.now += seconds * len(part.times)
            yield part

    monkeypatch.setattr(drift, "times_of_files", slowly)
    told = Told()
    work_out(
        str(builder.root),
        Policy(patterns=("a",)),
        lambda _: InlineExecutor(),
        PlanOptions(grace=1),
        progress=told,
    )
    scanned, young = ["listing blobs", "stop"], ["checking ages blobs", "stop"]
    assert told.steps[2:] == [*scanned, *(young if seconds else [])]
    assert told.counts[1:] == [10, *([10] if seconds else [])]
