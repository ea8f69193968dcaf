"""Durations and sizes as people write them."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import fastprune
from fastprune.errors import UsageError
from fastprune.text.quantities import (
    format_bytes,
    format_count,
    format_seconds,
    parse_duration,
    parse_percentage,
    parse_size,
)

DAY = 86_400


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90m", 5_400),
        ("36h", 129_600),
        ("30d", 30 * DAY),
        ("2w", 14 * DAY),
        ("1y", 365 * DAY),
        ("1d12h", 1.5 * DAY),
        ("1.5h", 5_400),
        ("0s", 0),
        ("1h1h", 7_200),
        ("500ms", 0.5),
        ("10us", 1e-5),
        ("10µs", 1e-5),
        ("10ns", 1e-8),
        ("1m1ms", 60.001),
        ("10000y", 10_000 * 365 * DAY),
    ],
)
def test_durations(text: str, seconds: float) -> None:
    assert parse_duration(text, "--older-than") == pytest.approx(seconds)


@pytest.mark.parametrize(
    "text",
    ["", "30", "d", "-1d", "+1d", "1 d", "1d ", "1d,2h", "1D", "1mo", "1e3d", ".5h", "1.h", "1d-2h"]
    + ["٣d", "10001y", "9" * 400 + "d", "nan", "inf", "infd", "1d\n"],
)
def test_a_duration_that_can_t_be_used_is_a_usage_error_that_names_the_option(text: str) -> None:
    with pytest.raises(UsageError, match="^--older-than: "):
        parse_duration(text, "--older-than")


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0B", 0),
        ("1B", 1),
        ("500GB", 500 * 10**9),
        ("1.5TiB", 3 * 2**39),
        ("1kB", 1000),
        ("1KB", 1000),
        ("1KiB", 1024),
        ("64MiB", 2**26),
        ("64 MiB", 2**26),
        ("1PB", 10**15),
    ],
)
def test_sizes(text: str, size: int) -> None:
    assert parse_size(text, "--max-size") == size


@pytest.mark.parametrize(
    "text",
    ["", "5", "5G", "GB", "-1B", "+1B", "1  B", "1b", "1GiBs", "1e3B", "1,5GB", "5000PB", "1B\n"]
    + ["9" * 400 + "B", "nanB", "1iB", "٣GB"],
)
def test_a_size_that_can_t_be_used_is_a_usage_error_that_names_the_option(text: str) -> None:
    with pytest.raises(UsageError, match="^--max-size: "):
        parse_size(text, "--max-size")


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (999_949, "999.9 kB"),
        (999_950, "1.0 MB"),
        (12_345_678, "12.3 MB"),
        (10**12, "1.0 TB"),
        (2**62, "4.6 EB"),
        (10**21, "1000.0 EB"),
    ],
)
def test_bytes_for_people(count: int, text: str) -> None:
    assert format_bytes(count) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0.00 s"),
        (0.424, "0.42 s"),
        (12.4, "12 s"),
        (100, "1 min 40 s"),
        (200.4, "3 min 20 s"),
        (99 * 60 + 59, "99 min 59 s"),
        (125 * 60, "2 h 5 min"),
    ],
)
def test_spans_of_time_for_people(seconds: float, text: str) -> None:
    assert format_seconds(seconds) == text


@pytest.mark.parametrize(
    ("count", "plural", "text"),
    [(1, "", "1 blob"), (0, "", "0 blobs"), (12345, "", "12,345 blobs"), (2, "b's", "2 b's")],
)
def test_a_number_and_its_noun(count: int, plural: str, text: str) -> None:
    assert format_count(count, "blob", plural) == text


def test_a_plural_is_all_of_the_noun() -> None:
    """Not only what changes in it: that once printed "3 that lie"."""
    root = Path(fastprune.__file__).parent
    calls = [
        (f"{path.name}:{call.lineno}", [ast.literal_eval(arg) for arg in call.args[1:3]])
        for path in root.rglob("*.py")
        for call in ast.walk(ast.parse(path.read_text()))
        if isinstance(call, ast.Call)
        and isinstance(call.func, ast.Name)
        and call.func.id == "format_count"
        and len(call.args) == 3
        and all(isinstance(arg, ast.Constant) for arg in call.args[1:])
    ]
    assert len(calls) > 5
    for where, (singular, plural) in calls:
        words = singular.split()
        assert len(words) == len(plural.split()), where
        assert plural.startswith(words[0][:-1]), where


@pytest.mark.parametrize("text", ["", "5", "%", "-1%", "0%", "0.0%", "100.1%", "1e1%", "٥%", "5 %"])
def test_what_is_no_percentage(text: str) -> None:
    with pytest.raises(UsageError, match="--sample"):
        parse_percentage(text, "--sample")


@pytest.mark.parametrize(("text", "share"), [("100%", 1), ("5%", 0.05), ("0.1%", 0.001)])
def test_percentages(text: str, share: float) -> None:
    assert parse_percentage(text, "--sample") == pytest.approx(share)
