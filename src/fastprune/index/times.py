"""Wall-clock times as ociregistry writes them, as numbers, many at once.

Stage: index, select. Input and output: numpy arrays and text. Pure, no I/O.

A time is `YYYY-MM-DDTHH:MM:SS` without a zone. As a number it is the seconds from
1970-01-01T00:00:00 on the same clock, so numbers sort and differ as the texts do.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fastprune.reading.shards import EMPTY_TIME, TIME_CHARS

Times = NDArray[np.int64]
"""Times as int64 seconds, or `NO_TIME` (empty) or `BAD_TIME` (malformed)."""

NO_TIME = -(2**63)
BAD_TIME = NO_TIME + 1

_FORM = np.frombuffer(b"dddd-dd-ddTdd:dd:dd", dtype=np.uint8)
_DIGIT = _FORM == ord("d")
_MARKS = _FORM[~_DIGIT].reshape(-1, 1)
_MONTH_DAYS = np.array([0, 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31], dtype=np.int32)


def parse_times(text: bytes) -> Times:
    """Parses many times at once, strictly: real dates and times of day only.

    Each is `TIME_CHARS` ASCII characters. It becomes seconds, `NO_TIME` for `EMPTY_TIME`, or
    `BAD_TIME`: int64 (n,).
    """
    chars = np.frombuffer(text, dtype=np.uint8).reshape(-1, TIME_CHARS)
    if not len(chars):
        return np.empty(0, dtype=np.int64)
    # A row per column of text, so that each step runs over bytes that lie together.
    columns = np.ascontiguousarray(chars.T)
    # What comes before "0" wraps around to a number above 9.
    digits = columns - np.uint8(ord("0"))
    good = (digits[_DIGIT] <= 9).all(axis=0) & (columns[~_DIGIT] == _MARKS).all(axis=0)
    year = _number(digits[0:4])
    month, day = _number(digits[5:7]), _number(digits[8:10])
    hour, minute, second = (_number(digits[at : at + 2]) for at in (11, 14, 17))
    leap = (year % 4 == 0) & ((year % 100 != 0) | (year % 400 == 0))
    last = _MONTH_DAYS[np.clip(month, 0, 12)] + (leap & (month == 2))
    good &= (year > 0) & (month >= 1) & (month <= 12) & (day >= 1) & (day <= last)
    good &= (hour < 24) & (minute < 60) & (second < 60)
    days = _days_from_civil(year, month, day)
    seconds = days.astype(np.int64) * 86_400
    seconds += hour * 3_600 + minute * 60 + second
    if not good.all():
        seconds[~good] = BAD_TIME
        seconds[(columns == EMPTY_TIME[0]).all(axis=0)] = NO_TIME
    return seconds


def format_times(times: Times) -> list[str]:
    """The texts of times; empty for `NO_TIME` and `BAD_TIME`."""
    known = times > BAD_TIME
    texts: list[str] = np.where(known, times, 0).astype("datetime64[s]").astype(str).tolist()
    if not known.all():
        for row in np.flatnonzero(~known).tolist():
            texts[row] = ""
    return texts


def _number(digits: NDArray[np.uint8]) -> NDArray[np.int32]:
    """The numbers that some rows of digits make, the first row being the highest."""
    value: NDArray[np.int32] = digits[0].astype(np.int32)
    for row in digits[1:]:
        value *= 10
        value += row
    return value


def _days_from_civil(
    year: NDArray[np.int32], month: NDArray[np.int32], day: NDArray[np.int32]
) -> NDArray[np.int32]:
    """Days since 1970-01-01 in the proleptic Gregorian calendar.

    Counted in years that begin in March, so that the leap day is a year's last; an era
    is 400 years of 146,097 days.
    """
    year = year - (month <= 2)
    era = year // 400
    year_of_era = year - era * 400
    day_of_year = (153 * ((month + 9) % 12) + 2) // 5 + day - 1
    day_of_era = year_of_era * 365 + year_of_era // 4 - year_of_era // 100 + day_of_year
    days: NDArray[np.int32] = era * 146_097 + day_of_era - 719_468
    return days
