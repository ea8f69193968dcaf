"""Measuring and recommending: the arithmetic, and the folder that is always removed."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from types import SimpleNamespace

import pytest
from tests.support.cachebuilder import CacheBuilder, digest_of, snapshot

from fastprune.errors import FastpruneError, NoCacheError
from fastprune.executors.inline import InlineExecutor
from fastprune.layouts.default import DEFAULT_LAYOUT
from fastprune.progress import NoProgress
from fastprune.tuning import scratch
from fastprune.tuning.deleting import DeleteMeter, StoppedError
from fastprune.tuning.figures import (
    CONCURRENCY_SETTINGS,
    DeleteFigures,
    Machine,
    Measurement,
    Mount,
    ScanFigures,
    TuneReport,
    evenly,
    in_turn,
    job_settings,
    median,
    rounds_that_fit,
    smallest_good,
)
from fastprune.tuning.machine import describe, mount_of
from fastprune.tuning.measuring import tune
from fastprune.tuning.report import as_document, text_lines
from fastprune.tuning.scanning import ScanMeter, list_names

# Statistics and recommendations


def at_rates(rates: dict[int, float]) -> tuple[Measurement, ...]:
    """One round each."""
    return tuple(Measurement(setting, 1000, (1000 / rate,)) for setting, rate in rates.items())


@pytest.mark.parametrize(
    ("values", "middle"), [((3,), 3), ((1, 9), 5), ((9, 1, 2), 2), ((4, 1, 3, 2), 2.5)]
)
def test_the_median_is_the_middle_or_the_mean_of_the_two(
    values: tuple[float, ...], middle: float
) -> None:
    assert median(values) == middle


def test_a_clock_that_stood_still_gives_no_division_by_zero() -> None:
    assert Measurement(1, 100, (0.0, 0.0)).rate > 0


def test_rate_and_spread_are_those_of_the_median_round() -> None:
    measurement = Measurement(4, 600, (2.0, 3.0, 10.0))
    assert measurement.rate == 200
    assert measurement.spread == pytest.approx(4 / 3)


@pytest.mark.parametrize(
    ("rates", "best"),
    [
        ({1: 100, 2: 200, 4: 300}, 4),
        ({1: 100, 2: 300, 4: 200}, 2),
        ({1: 96, 2: 100, 4: 100}, 1),
        ({1: 94, 2: 96, 4: 100}, 2),
        ({1: 50}, 1),
    ],
)
def test_the_smallest_setting_within_five_percent_of_the_best_wins(
    rates: dict[int, float], best: int
) -> None:
    assert smallest_good(at_rates(rates)) == best


@pytest.mark.parametrize(
    ("auto", "wanted", "settings"),
    [
        (1, None, (1, 2)),
        (2, None, (1, 2, 4)),
        (3, None, (1, 2, 3, 4)),
        (8, None, (1, 2, 4, 8)),
        (8, 16, (1, 2, 4, 8, 16)),
        (2, 2, (1, 2, 4)),
    ],
)
def test_up_to_twice_as_many_jobs_as_processors_are_tried(
    auto: int, wanted: int | None, settings: tuple[int, ...]
) -> None:
    assert job_settings(auto, wanted) == settings


@pytest.mark.parametrize(
    ("round_seconds", "seconds", "rounds"), [(1, 6.5, 6), (1, 0.5, 3), (1, -4, 3), (0, 9, 10)]
)
def test_rounds_fit_into_the_time_between_two_limits(
    round_seconds: float, seconds: float, rounds: int
) -> None:
    assert rounds_that_fit(round_seconds, seconds, least=3, most=10) == rounds


def test_each_round_begins_with_another_setting() -> None:
    orders = [in_turn((1, 4, 8), number) for number in range(4)]
    assert orders == [[1, 4, 8], [4, 8, 1], [8, 1, 4], [1, 4, 8]]


@pytest.mark.parametrize(
    ("total", "most", "positions"),
    [(0, 5, []), (3, 5, [0, 1, 2]), (10, 5, [0, 2, 4, 6, 8]), (7, 3, [0, 2, 4])],
)
def test_a_sample_is_taken_evenly(total: int, most: int, positions: list[int]) -> None:
    assert evenly(total, most) == positions


# Reports


def report_of(scan: ScanFigures | None = None, deletion: DeleteFigures | None = None) -> TuneReport:
    return TuneReport(
        image_path="/var/lib/ociregistry",
        machine=Machine(64, 8, "Linux 6.8.0 x86_64", "3.12.1", Mount("/", "ext4", "rw")),
        manifests=1_000_000,
        blobs=2_000_000,
        scan=scan or ScanFigures(20_000, False, at_rates({1: 50_000, 8: 200_000})),
        deletion=deletion or DeleteFigures(1_000, at_rates({1: 10_000, 4: 30_000, 16: 30_500})),
        seconds=5.25,
    )


def test_a_report_recommends_and_estimates() -> None:
    report = report_of()
    assert (report.recommendation.jobs, report.recommendation.concurrency) == (8, 4)
    assert report.estimate.scan_seconds == pytest.approx(5)
    assert report.estimate.delete_seconds == pytest.approx(3_000_000 / 30_500)
    assert not report.is_noisy


def test_a_cache_that_is_too_small_gets_auto() -> None:
    report = report_of(ScanFigures(90, True, at_rates({1: 50_000})))
    assert report.recommendation.jobs is None
    assert as_document(report, saved=None)["recommendation"]["jobs"] == "auto"
    text = "\n".join(text_lines(report, width=80))
    assert "too small to tell" in text
    assert "Recommended: --jobs auto --concurrency 4" in text


def test_rounds_that_differ_much_are_pointed_out() -> None:
    noisy = (Measurement(1, 100, (1.0, 2.0, 1.1)), Measurement(4, 100, (1.0, 1.0, 1.0)))
    report = report_of(deletion=DeleteFigures(300, noisy))
    assert report.is_noisy
    assert "The rounds differ much" in "\n".join(text_lines(report, width=80))
    assert as_document(report, saved=None)["noisy"] is True


def test_too_few_files_are_pointed_out() -> None:
    report = report_of(deletion=DeleteFigures(5_000, at_rates({1: 10_000})))
    assert "There was time or room for 1,000 of 5,000 files only." in text_lines(report, width=80)


@pytest.mark.parametrize("width", [80, 120, 40])
def test_the_longest_bar_fits(width: int) -> None:
    lines = list(text_lines(report_of(), width=width))
    bars = [line for line in lines if "#" in line]
    assert len(bars) == 5
    assert max(map(len, lines)) <= max(width, 80)
    assert all(line.isascii() for line in lines)
    assert bars[1].count("#") / bars[0].count("#") == pytest.approx(4, rel=0.25)


def test_text_from_outside_is_made_safe() -> None:
    report = report_of()
    unsafe = TuneReport(
        image_path="/caches/\x1b[2J",
        machine=report.machine,
        manifests=1,
        blobs=1,
        scan=report.scan,
        deletion=report.deletion,
        seconds=1,
    )
    assert "\x1b" not in "\n".join(text_lines(unsafe, width=80))


# The machine


MOUNTS = [
    Mount("/", "ext4", "rw"),
    Mount("/var/lib", "xfs", "rw"),
    Mount("/var/lib", "btrfs", "rw"),
    Mount("/var/lib/oci", "zfs", "rw"),
]


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/", "ext4"),
        ("/var", "ext4"),
        ("/var/lib", "btrfs"),
        ("/var/lib/ociregistry", "btrfs"),
        ("/var/lib/oci/cache", "zfs"),
    ],
)
def test_a_path_is_on_the_nearest_mount_and_of_two_on_the_later(path: str, kind: str) -> None:
    assert mount_of(path, MOUNTS).kind == kind


def test_without_mounts_the_file_system_is_unknown() -> None:
    assert mount_of("/x", []).kind == "unknown"


def test_where_proc_is_not_mounted_all_else_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("psutil.disk_partitions", no_such_file)
    machine = describe("/")
    assert (machine.cpus, machine.mount.kind) == (os.cpu_count(), "unknown")


def no_such_file(*_: object, **__: object) -> None:
    raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), "/proc/self/mounts")


# Scanning


def ticking() -> Callable[[], float]:
    """A clock that advances by a hundredth of a second whenever it is read."""
    numbers = count()
    return lambda: next(numbers) / 100


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    builder = CacheBuilder(tmp_path / "registry" / "cache")
    for number in range(40):
        builder.image(f"image:{number}", layers=[builder.blob(10)])
        builder.image(f"latest-{number}:latest")
    return builder.root


def test_names_are_those_of_all_folders(cache: Path) -> None:
    names = list_names(str(cache), DEFAULT_LAYOUT)
    assert [len(raw) for raw in names.manifests] == [40 * 32, 40 * 32]
    assert names.blobs == len(list((cache / "blobs").iterdir()))


def test_a_cache_without_manifests_is_refused(tmp_path: Path) -> None:
    builder = CacheBuilder(tmp_path / "cache")
    builder.blob(10)
    with pytest.raises(NoCacheError, match="is empty"):
        list_names(str(builder.root), DEFAULT_LAYOUT)


def test_a_small_cache_is_read_with_one_job_only(cache: Path) -> None:
    before = snapshot(cache)
    meter = ScanMeter(str(cache), DEFAULT_LAYOUT, clock=ticking(), progress=NoProgress())
    executors = [InlineExecutor(), Four()]
    figures = meter.measure(list_names(str(cache), DEFAULT_LAYOUT), executors, 2)
    assert figures.too_small
    assert figures.sample == 80
    assert [one.setting for one in figures.measurements] == [1]
    assert figures.measurements[0].count == 80
    assert snapshot(cache) == before


class Four(InlineExecutor):
    """Says that it runs four jobs."""

    jobs = 4


def test_every_executor_is_timed_in_every_round(cache: Path) -> None:
    meter = ScanMeter(str(cache), DEFAULT_LAYOUT, clock=ticking(), progress=NoProgress(), small=10)
    figures = meter.measure(list_names(str(cache), DEFAULT_LAYOUT), [InlineExecutor(), Four()], 2)
    assert not figures.too_small
    assert [one.setting for one in figures.measurements] == [1, 4]
    assert {len(one.seconds) for one in figures.measurements} == {25}
    assert {one.count for one in figures.measurements} == {80}


def test_the_sample_of_a_large_cache_is_bounded_and_from_both_folders(cache: Path) -> None:
    meter = ScanMeter(str(cache), DEFAULT_LAYOUT, clock=ticking(), progress=NoProgress(), most=50)
    figures = meter.measure(list_names(str(cache), DEFAULT_LAYOUT), [InlineExecutor()], 2)
    assert figures.sample == 50


def test_what_there_is_no_time_to_read_is_left_out(cache: Path) -> None:
    meter = ScanMeter(str(cache), DEFAULT_LAYOUT, clock=ticking(), progress=NoProgress(), least=1)
    # Three readings of the clock are more than this budget has for warming up.
    figures = meter.measure(list_names(str(cache), DEFAULT_LAYOUT), [InlineExecutor()], 0.1)
    assert 0 < figures.sample < 80


def test_unreadable_manifests_do_not_matter(tmp_path: Path) -> None:
    builder = CacheBuilder(tmp_path / "cache")
    builder.image("a:1")
    builder.raw("img", digest_of("not a manifest"), b"{")
    meter = ScanMeter(str(builder.root), DEFAULT_LAYOUT, clock=ticking(), progress=NoProgress())
    figures = meter.measure(list_names(str(builder.root), DEFAULT_LAYOUT), [InlineExecutor()], 1)
    assert figures.sample == 2


# The folder for temporary files


@pytest.fixture
def parent(tmp_path: Path) -> Path:
    return tmp_path


def scratch_folders(folder: Path) -> list[Path]:
    return [*folder.rglob(scratch.SCRATCH_PREFIX + "*")]


def test_it_is_beside_the_image_path(cache: Path) -> None:
    assert scratch.scratch_parent(str(cache)) == str(cache.parent.resolve())


def test_beside_means_beside_what_a_link_leads_to(cache: Path, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(cache)
    assert scratch.scratch_parent(str(link)) == str(cache.parent.resolve())


def test_it_is_in_the_image_path_if_its_parent_is_read_only(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: path != str(cache.parent))
    assert scratch.scratch_parent(str(cache)) == str(cache)


def test_it_is_nowhere_if_nothing_can_be_written_to(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(FastpruneError, match="can't be written to"):
        scratch.scratch_parent(str(cache))


def test_it_goes_with_all_that_is_in_it(parent: Path) -> None:
    with scratch.scratch_cache(str(parent), DEFAULT_LAYOUT) as path:
        for number in range(600):
            (Path(path) / "blobs" / digest_of(str(number))).touch()
        assert scratch_folders(parent) == [Path(path)]
    assert list(parent.iterdir()) == []


def test_it_goes_when_something_fails(parent: Path) -> None:
    def fail(blobs: Path) -> None:
        (blobs / digest_of("1")).touch()
        raise KeyboardInterrupt

    with (
        pytest.raises(KeyboardInterrupt),
        scratch.scratch_cache(str(parent), DEFAULT_LAYOUT) as path,
    ):
        fail(Path(path) / "blobs")
    assert list(parent.iterdir()) == []


def test_what_is_not_its_own_is_not_removed(parent: Path) -> None:
    with (
        pytest.raises(FastpruneError, match=r"can't be removed: Directory not empty"),
        scratch.scratch_cache(str(parent), DEFAULT_LAYOUT) as path,
    ):
        (Path(path) / "blobs" / "somebody's file").touch()
    assert len(list(parent.rglob("somebody's file"))) == 1


def test_it_says_where_it_could_not_be_made(tmp_path: Path) -> None:
    with (
        pytest.raises(FastpruneError, match=r"no temporary files can be made in .*gone"),
        scratch.scratch_cache(str(tmp_path / "gone"), DEFAULT_LAYOUT),
    ):
        pass


# Deleting


@pytest.fixture
def folder(parent: Path) -> Iterator[str]:
    with scratch.scratch_cache(str(parent), DEFAULT_LAYOUT) as path:
        yield path


def meter_in(folder: str, stopped: Callable[[], str] = lambda: "") -> DeleteMeter:
    return DeleteMeter(
        folder, DEFAULT_LAYOUT, clock=ticking(), progress=NoProgress(), stopped=stopped
    )


def blobs_in(folder: str) -> list[str]:
    return os.listdir(Path(folder) / "blobs")


def test_every_concurrency_deletes_as_many_files(folder: str) -> None:
    figures = meter_in(folder).measure(100, 60)
    assert [one.setting for one in figures.measurements] == list(CONCURRENCY_SETTINGS)
    assert {(one.count, len(one.seconds)) for one in figures.measurements} == {(33, 3)}
    assert figures.files == 99
    assert not figures.too_few
    assert blobs_in(folder) == []


def test_files_take_the_space_that_they_say(folder: str) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    scratch.create_file("file", descriptor)
    os.close(descriptor)
    status = (Path(folder) / "file").stat()
    (Path(folder) / "file").unlink()
    assert status.st_size == 4096
    assert status.st_blocks > 0


def test_files_are_written_where_space_cannot_be_allocated(
    folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: int) -> None:
        raise OSError(errno.EOPNOTSUPP, "not here")

    monkeypatch.setattr(os, "posix_fallocate", refuse, raising=False)
    test_files_take_the_space_that_they_say(folder)


def test_slow_files_are_fewer_files(folder: str) -> None:
    figures = meter_in(folder).measure(100_000, 0.05)
    # After the first round the time is over as well.
    assert {(one.count, len(one.seconds)) for one in figures.measurements} == {(34, 1)}
    assert figures.too_few


@pytest.mark.parametrize("when", [0, 2, 12, 40])
def test_it_stops_when_it_is_told_to(when: int, folder: str) -> None:
    asked = count()
    with pytest.raises(StoppedError, match="SIGINT"):
        meter_in(folder, lambda: "SIGINT" if next(asked) >= when else "").measure(300, 60)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_disk_that_fills_up_is_named(
    number: int, parent: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fill_up(*arguments: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "posix_fallocate", fill_up, raising=False)
    with (
        pytest.raises(FastpruneError, match="no room for temporary files in "),
        scratch.scratch_cache(str(parent), DEFAULT_LAYOUT) as folder,
    ):
        meter_in(folder).measure(100, 60)
    assert list(parent.iterdir()) == []


def test_little_free_space_is_left_alone(folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # A tenth of it is one file short of what is needed at least.
    space = SimpleNamespace(f_bavail=4_799, f_frsize=4096, f_files=0, f_favail=0)
    monkeypatch.setattr(os, "statvfs", lambda path: space)
    with pytest.raises(FastpruneError, match="too little free space"):
        meter_in(folder).measure(100, 60)
    assert blobs_in(folder) == []


def test_files_that_cannot_be_deleted_are_an_error(
    folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: object, **options: object) -> None:
        raise PermissionError(errno.EPERM, "not you")

    with monkeypatch.context() as patch:
        patch.setattr(os, "unlink", refuse)
        with pytest.raises(FastpruneError, match="can't be deleted: Operation not permitted"):
            meter_in(folder).measure(100, 60)


# All of it


def test_a_cache_is_measured_and_not_changed(cache: Path) -> None:
    before = snapshot(cache)
    report = tune(
        str(cache), [InlineExecutor()], layout=DEFAULT_LAYOUT, clock=ticking(), seconds=1, files=100
    )
    assert snapshot(cache) == before
    assert [path.name for path in cache.parent.iterdir()] == ["cache"]
    assert (report.manifests, report.scan.sample) == (80, 80)
    assert report.machine.cpus == os.cpu_count()
    assert report.machine.mount.kind != "unknown"
    assert report.estimate.seconds > 0


def test_nothing_is_written_if_reading_fails(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: object) -> None:
        raise FastpruneError("a worker died")

    monkeypatch.setattr(ScanMeter, "measure", fail)
    with pytest.raises(FastpruneError, match="a worker died"):
        tune(
            str(cache),
            [InlineExecutor()],
            layout=DEFAULT_LAYOUT,
            clock=ticking(),
            seconds=1,
            files=100,
        )
    assert [path.name for path in cache.parent.iterdir()] == ["cache"]
