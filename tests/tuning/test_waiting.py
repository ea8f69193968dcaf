"""Measuring where workers wait for the file system: ever more of them, until more are no faster."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import cycle
from pathlib import Path
from typing import TypeVar

import pytest
from tests.support.cachebuilder import CacheBuilder, snapshot
from tests.tuning.test_tuning import at_rates, report_of

from fastprune.executors.executor import Executor
from fastprune.executors.inline import InlineExecutor
from fastprune.layouts.default import DEFAULT_LAYOUT
from fastprune.progress import NoProgress
from fastprune.tuning import trials
from fastprune.tuning.figures import Measurement, ScanFigures, is_faster, waiting_settings
from fastprune.tuning.report import as_document, text_lines
from fastprune.tuning.scanning import ScanMeter, list_names
from fastprune.tuning.trials import WaitingTrials, waiting_trials

T = TypeVar("T")
R = TypeVar("R")

MANIFESTS = 300
ALL = (1, 2, 4, 8, 16, 32, 64)


@dataclass
class Waits:
    """Time that passes while executors read, and the executors.

    Attributes:
        seconds_of: How long a manifest takes with so many workers.
        now: The time.
        busy: Processor time that this process took.
        started: The numbers of workers that were started, in order.
        open: Executors that were not closed.
    """

    seconds_of: Callable[[int], float] = lambda jobs: 0.002 / jobs
    now: float = 0.0
    busy: float = 0.0
    started: list[int] = field(default_factory=list)
    open: int = 0

    def clock(self) -> float:
        self.now += 1e-6
        return self.now

    def start(self, jobs: int) -> Executor:
        self.started.append(jobs)
        self.open += 1
        return Waiting(self, jobs)

    def trials(
        self, settings: tuple[int, ...] = ALL, *, known: bool = True, wanted: int | None = None
    ) -> WaitingTrials:
        return WaitingTrials(
            settings, self.start, known=known, wanted=wanted, processor_clock=self.clock
        )


class Waiting(InlineExecutor):
    """Reads here; the time goes on as if so many workers waited for a server."""

    def __init__(self, waits: Waits, jobs: int) -> None:
        self.jobs = jobs
        self._waits = waits

    def map_unordered(
        self, function: Callable[[T], Iterable[R]], items: Iterable[T], *, ahead: int = 1
    ) -> Iterator[R]:
        for result in super().map_unordered(function, items, ahead=ahead):
            manifests = len(result.file_sizes)  # type: ignore[attr-defined]
            self._waits.now += manifests * self._waits.seconds_of(self.jobs)
            yield result

    def close(self) -> None:
        self._waits.open -= 1


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    builder = CacheBuilder(tmp_path_factory.mktemp("waiting") / "cache")
    for number in range(MANIFESTS):
        builder.image(f"image:{number}")
    return builder.root


def measure(cache: Path, waits: Waits, waiting: WaitingTrials | None) -> ScanFigures:
    meter = ScanMeter(str(cache), DEFAULT_LAYOUT, clock=waits.clock, progress=NoProgress())
    prepared = [Waiting(waits, jobs) for jobs in (1, 2, 4)]
    return meter.measure(list_names(str(cache), DEFAULT_LAYOUT), prepared, 2, waiting)


def tried(figures: ScanFigures) -> list[int]:
    return [one.setting for one in figures.measurements]


def test_more_are_tried_until_the_last_as_long_as_they_are_faster(cache: Path) -> None:
    before = snapshot(cache)
    waits = Waits()
    figures = measure(cache, waits, waits.trials())
    assert tried(figures) == list(ALL)
    assert waits.started == [8, 16, 32, 64]
    assert waits.open == 0
    assert figures.waits
    assert not figures.too_small
    assert {len(one.seconds) for one in figures.measurements} == {3}
    assert snapshot(cache) == before


@pytest.mark.parametrize(
    ("enough", "last"),
    [(1, 2), (2, 4), (3, 8), (8, 16), (20, 64), (1000, 64)],
)
def test_it_ends_with_the_first_that_is_no_faster(enough: int, last: int, cache: Path) -> None:
    waits = Waits(lambda jobs: 0.002 / min(jobs, enough))
    figures = measure(cache, waits, waits.trials())
    assert tried(figures) == [jobs for jobs in ALL if jobs <= last]
    assert waits.open == 0


def test_each_worker_reads_as_much_as_with_other_settings_if_there_is_enough(cache: Path) -> None:
    waits = Waits()
    counts = {one.setting: one.count for one in measure(cache, waits, waits.trials()).measurements}
    assert counts[2] == 2 * counts[1]
    assert counts[4] == 4 * counts[1]
    assert max(counts.values()) == MANIFESTS


def test_what_is_wanted_is_tried_although_fewer_were_no_faster(cache: Path) -> None:
    waits = Waits(lambda jobs: 0.002)
    figures = measure(cache, waits, waits.trials((*ALL, 100), wanted=100))
    assert tried(figures) == [1, 2, 100]


def test_where_the_system_starts_no_more_it_ends(cache: Path) -> None:
    waits = Waits()
    limited = WaitingTrials(ALL, lambda jobs: waits.start(min(jobs, 8)), known=True)
    assert tried(measure(cache, waits, limited)) == [1, 2, 4, 8]
    assert waits.open == 0


def test_a_cache_with_next_to_nothing_in_it_is_too_small_there_too(tmp_path: Path) -> None:
    builder = CacheBuilder(tmp_path / "cache")
    for number in range(20):
        builder.image(f"image:{number}")
    waits = Waits()
    figures = measure(builder.root, waits, waits.trials())
    assert figures.too_small
    assert not figures.waits
    assert waits.started == []


@pytest.mark.parametrize(
    ("busy", "waits_for_it"),
    [
        ((0.005,), True),
        ((0.02,), True),
        ((0.03,), False),
        ((0.1,), False),
        ((0.001, 0.09), False),
        ((0.001,) * 7 + (0.09,), False),
    ],
    ids=["far below", "below", "above", "computing", "every second chunk", "one chunk of eight"],
)
def test_where_nobody_knows_it_is_found_out(
    busy: tuple[float, ...], waits_for_it: bool, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another program may take the processor for some of the chunks, but not for all of them."""
    waits = Waits()
    meter = ScanMeter(str(cache), DEFAULT_LAYOUT, clock=waits.clock, progress=NoProgress())
    sample = list_names(str(cache), DEFAULT_LAYOUT).manifests
    monkeypatch.setattr("fastprune.tuning.scanning.read_chunk", SlowReading(waits, 0.1, busy))
    assert meter._waits(sample, lambda: waits.busy) == waits_for_it


class SlowReading:
    """Reads nothing; each chunk takes some time, and some processor time."""

    def __init__(self, waits: Waits, seconds: float, busy: tuple[float, ...]) -> None:
        self._waits, self._seconds, self._busy = waits, seconds, cycle(busy)

    def __call__(self, task: object) -> Iterator[object]:
        self._waits.now += self._seconds
        self._waits.busy += next(self._busy)
        return iter(())


def test_nothing_else_is_tried_if_nobody_asks_or_nobody_waits(cache: Path) -> None:
    for asked in (False, True):
        waits = Waits()
        figures = measure(cache, waits, waits.trials(known=False) if asked else None)
        assert not figures.waits
        assert figures.too_small
        assert waits.started == []


# The settings


@pytest.mark.parametrize(
    ("auto", "wanted", "most", "settings"),
    [
        (16, None, 1000, ALL),
        (24, None, 1000, (1, 2, 4, 8, 16, 24, 32, 64)),
        (16, 100, 1000, (*ALL, 100)),
        (16, 16, 20, (1, 2, 4, 8, 16)),
        (8, 48, 8, (1, 2, 4, 8, 48)),
        (1, None, 1, (1,)),
        (4, None, 0, (1,)),
    ],
)
def test_they_are_twice_as_many_each_time_as_far_as_memory_allows(
    auto: int, wanted: int | None, most: int, settings: tuple[int, ...]
) -> None:
    assert waiting_settings(auto, wanted, most=most) == settings


def test_faster_means_by_more_than_the_tolerance() -> None:
    others = [Measurement(1, 100, (1.0,)), Measurement(2, 100, (2.0,))]
    assert is_faster(1, [])
    assert is_faster(106, others)
    assert not is_faster(104, others)


@pytest.mark.parametrize("kind", ["", "nfs4"])
def test_what_is_tried_for_a_cache_follows_its_file_system(
    kind: str, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fastprune.scanning.jobs.where_it_waits", lambda folders: kind)
    monkeypatch.setattr(trials, "jobs_by_memory", lambda: 64)
    found = waiting_trials(str(cache), DEFAULT_LAYOUT, 5)
    assert found.known == bool(kind)
    assert {1, 2, 4, 5, 8, 16, 32, 64} <= set(found.settings)


def test_the_report_says_so() -> None:
    rates = at_rates({1: 500, 2: 1_000, 4: 2_000, 8: 2_010})
    report = report_of(ScanFigures(256, too_small=False, measurements=rates, waits=True))
    lines = list(text_lines(report, width=80))
    assert "Workers wait for the file system: more were tried, until more were no faster." in lines
    assert "Reading up to 256 manifests, 1 round" in lines
    assert report.recommendation.jobs == 4
    assert as_document(report, saved=None)["scan"]["waits"] is True
    assert as_document(report_of(), saved=None)["scan"]["waits"] is False
    assert not any("wait for" in line for line in text_lines(report_of(), width=80))
