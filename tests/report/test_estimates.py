"""How long the real run will take, and what the estimate is based on."""

from __future__ import annotations

import pytest

from fastprune.report.estimates import ASSUMED_FILES_PER_SECOND, BYTES_PER_SECOND, estimate


def test_without_a_measurement_a_rate_is_assumed_and_it_says_so() -> None:
    guess = estimate(50_000, 20 * BYTES_PER_SECOND, scan_seconds=2)
    assert guess.delete_seconds == 50_000 / ASSUMED_FILES_PER_SECOND + 20
    assert guess.seconds == 27
    (line,) = guess.lines
    assert line == "Estimated time of the real run: about 27 s (10,000 files/s assumed: see tune)"
    assert guess.document["basis"] == "assumed"


@pytest.mark.parametrize(
    ("measured", "pace", "rate", "basis"),
    [
        (25_000, None, 25_000, " measured"),
        (25_000, 30_000, 25_000, " measured"),
        (25_000, 500, 500, " asked for"),
        (None, 500, 500, " asked for"),
    ],
)
def test_what_is_known_is_used(
    measured: float | None, pace: float | None, rate: float, basis: str
) -> None:
    guess = estimate(100_000, 0, scan_seconds=0, measured=measured, pace=pace)
    assert guess.files_per_second == rate
    assert guess.seconds == 100_000 / rate
    assert guess.lines[0].endswith(f"({rate:,} files/s{basis})")


def test_two_operations_take_twice_as_long() -> None:
    once = estimate(1_000, 0, scan_seconds=0, measured=100)
    assert estimate(1_000, 0, scan_seconds=0, measured=100, operations=2).seconds == (
        2 * once.seconds
    )


def test_what_is_over_at_once_takes_about_a_second() -> None:
    assert "about 1 s (" in estimate(1, 0, scan_seconds=0.01).lines[0]


def test_nothing_to_do_is_not_worth_a_line() -> None:
    assert estimate(0, 0, scan_seconds=500, most_seconds=60).lines == []


def test_a_run_that_is_stopped_before_its_end_is_told_so() -> None:
    line, more = estimate(1_000_000, 0, scan_seconds=0, most_seconds=60).lines
    assert "about 2 min (" in line
    assert more == "--max-duration stops it after 60 s"
    assert len(estimate(10, 0, scan_seconds=0, most_seconds=60).lines) == 1


def test_it_fits_80_columns() -> None:
    for seconds in (0, 59.5, 99.4, 99.6, 5_940, 86_400 * 3):
        for measured in (None, 123_456.0):
            (line,) = estimate(1, 0, scan_seconds=seconds, measured=measured).lines
            assert len(line) <= 80
