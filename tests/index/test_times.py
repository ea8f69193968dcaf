"""Wall-clock times, parsed many at once."""

from __future__ import annotations

import numpy as np
import pytest

from fastprune.index.times import BAD_TIME, NO_TIME, format_times, parse_times
from fastprune.model import parse_time
from fastprune.reading.shards import EMPTY_TIME


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1970-01-01T00:00:00", 0),
        ("1969-12-31T23:59:59", -1),
        ("2024-03-01T22:17:31", 1_709_331_451),
        ("2000-02-29T12:00:00", 951_825_600),
        ("0001-01-01T00:00:00", -62_135_596_800),
        ("9999-12-31T23:59:59", 253_402_300_799),
    ],
)
def test_a_time_is_seconds_on_the_same_clock(text: str, seconds: int) -> None:
    assert parse_times(text.encode()).tolist() == [seconds]
    assert parse_time(text) == seconds
    assert format_times(np.array([seconds])) == [text]


@pytest.mark.parametrize(
    "text",
    [
        "1900-02-29T00:00:00",
        "2023-02-29T00:00:00",
        "2024-04-31T00:00:00",
        "2024-00-10T00:00:00",
        "2024-13-10T00:00:00",
        "2024-01-00T00:00:00",
        "2024-01-32T00:00:00",
        "2024-01-01T24:00:00",
        "2024-01-01T23:60:00",
        "2024-01-01T23:59:60",
        "0000-01-01T00:00:00",
        "2024-01-01t00:00:00",
        "2024/01/01T00:00:00",
        "-024-01-01T00:00:00",
        "2024-01-01T00:00:0 ",
        "2024-01-01T00:00:\x00\x01",
        "0" * 19,
    ],
)
def test_no_other_text_is_a_time(text: str) -> None:
    assert parse_times(text.encode()).tolist() == [BAD_TIME]
    assert parse_time(text) is None


def test_good_bad_and_empty_times_stand_side_by_side() -> None:
    times = parse_times(b"2024-01-01T00:00:00" + EMPTY_TIME + b"2024-01-01T00:00:99")
    assert times.tolist() == [1_704_067_200, NO_TIME, BAD_TIME]
    assert times.dtype == np.int64
    assert format_times(times) == ["2024-01-01T00:00:00", "", ""]
    assert format_times(times[:0]) == []
