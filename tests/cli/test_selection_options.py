"""From options to a policy: patterns, cutoffs and ages, on the server's clock."""

from __future__ import annotations

import sys
import time
import zoneinfo
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastprune import Policy, UsageError
from fastprune.cli.option_values import parse_number_or_auto
from fastprune.cli.options import GlobalOptions, merged
from fastprune.cli.plan_options import SelectionOptions
from fastprune.cli.request import overridden
from fastprune.cli.server_config import PruneSettings
from fastprune.layouts.default import DEFAULT_LAYOUT
from fastprune.policy.criteria import to_policy

NOW = datetime(2024, 7, 1, 12, 0, 0, 999_999, tzinfo=UTC)


def policy(now: datetime = NOW, **options: object) -> Policy:
    return to_policy(SelectionOptions(**options), now, layout=DEFAULT_LAYOUT, root="")  # type: ignore[arg-type]


def test_without_options_nothing_is_asked_for() -> None:
    assert policy() == Policy()
    nothing = SelectionOptions()
    assert to_policy(nothing, NOW, layout=DEFAULT_LAYOUT, root="", orphans_only=True) == Policy(
        orphans_only=True
    )


def test_patterns_are_split_and_keep_their_order() -> None:
    chosen = policy(pattern=["b,a", "c"], exclude=["x"])
    assert (chosen.patterns, chosen.exclude) == (("b", "a", "c"), ("x",))


@pytest.mark.parametrize(
    ("text", "cutoff"),
    [
        ("2024-03-01T22:17:31", "2024-03-01T22:17:31"),
        ("2024-03-01", "2024-03-01T00:00:00"),
        ("0001-01-01", "0001-01-01T00:00:00"),
        ("9999-12-31T23:59:59", "9999-12-31T23:59:59"),
        ("2024-02-29", "2024-02-29T00:00:00"),
    ],
)
def test_a_cutoff_is_a_date_with_or_without_a_time(text: str, cutoff: str) -> None:
    assert policy(date=text).created_before == cutoff
    assert policy(pulled_before=text).pulled_before == cutoff


@pytest.mark.parametrize(
    "text",
    [
        *("", "2023-02-29", "2024-13-01", "2024-3-1", "2024-03-01T24:00:00", "0000-01-01"),
        *("2024-03-01T22:17", "2024-03-01T22:17:31Z", "2024-03-01 22:17:31", "yesterday"),
        *("2024-03-01T22:17:60", " 2024-03-01", "2024-03-01\n", "20240301", "10000-01-01"),
        *("2024-03-01T22:17:31+01:00", "01.03.2024", "-024-03-01", "٢٠٢٤-03-01"),
    ],
)
def test_anything_else_is_a_usage_error_that_names_its_option(text: str) -> None:
    with pytest.raises(UsageError, match="^--date: "):
        policy(date=text)
    with pytest.raises(UsageError, match="^--pulled-before: "):
        policy(pulled_before=text)


@pytest.mark.parametrize(
    ("zone", "cutoff"),
    [
        ("UTC", "2024-07-01T11:00:00"),
        ("Europe/Berlin", "2024-07-01T13:00:00"),
        ("America/St_Johns", "2024-07-01T08:30:00"),
        ("Pacific/Kiritimati", "2024-07-02T01:00:00"),
    ],
)
def test_an_age_becomes_a_time_on_the_clock_of_the_zone(zone: str, cutoff: str) -> None:
    assert policy(older_than="1h", zone=zone).created_before == cutoff
    assert policy(not_pulled_for="1h", zone=zone).pulled_before == cutoff


@pytest.mark.parametrize(
    ("now", "cutoff"),
    [
        # In Berlin the clock goes from 2 to 3 on 31 March 2024: this day has 23 hours.
        ("2024-03-31T12:00:00", "2024-03-30T13:00:00"),
        # And from 3 back to 2 on 27 October: this one has 25.
        ("2024-10-27T12:00:00", "2024-10-26T14:00:00"),
    ],
)
def test_a_day_is_twenty_four_hours_even_when_the_clock_changes(now: str, cutoff: str) -> None:
    moment = datetime.fromisoformat(now).replace(tzinfo=UTC)
    chosen = policy(moment, older_than="1d", zone="Europe/Berlin")
    assert chosen.created_before == cutoff


REPEATED = [
    # In Berlin the clock goes from 3 back to 2 at 01:00 UTC. The first time, and the second.
    ("2024-10-27T00:40:00", "0s", "Europe/Berlin", "2024-10-27T02:00:00"),
    ("2024-10-27T01:40:00", "0s", "Europe/Berlin", "2024-10-27T02:40:00"),
    # At 02:40 the second time: an hour ago it was 02:40 for the first time.
    ("2024-10-27T01:40:00", "1h", "Europe/Berlin", "2024-10-27T02:00:00"),
    ("2024-10-27T01:40:00", "40m", "Europe/Berlin", "2024-10-27T02:00:00"),
    ("2024-10-27T01:40:00", "39m", "Europe/Berlin", "2024-10-27T02:01:00"),
    ("2024-10-27T01:40:00", "100m", "Europe/Berlin", "2024-10-27T02:00:00"),
    ("2024-10-27T01:40:00", "101m", "Europe/Berlin", "2024-10-27T01:59:00"),
    # The cutoff falls into the hour, long afterwards.
    ("2024-11-06T00:30:00", "10d", "Europe/Berlin", "2024-10-27T02:00:00"),
    ("2024-11-06T01:30:00", "10d", "Europe/Berlin", "2024-10-27T02:30:00"),
    # Half an hour is repeated there, at 15:00 UTC.
    ("2024-04-06T14:45:00", "0s", "Australia/Lord_Howe", "2024-04-07T01:30:00"),
    ("2024-04-06T14:29:00", "0s", "Australia/Lord_Howe", "2024-04-07T01:29:00"),
    # Nearly a whole day came twice there, at 13:00 UTC.
    ("1969-09-29T20:00:00", "0s", "Pacific/Kwajalein", "1969-09-30T01:00:00"),
    ("1969-09-30T20:00:00", "0s", "Pacific/Kwajalein", "1969-09-30T08:00:00"),
    # An hour that never was does no harm: from 2 to 3, at 01:00 UTC.
    ("2024-03-31T01:40:00", "1h", "Europe/Berlin", "2024-03-31T01:40:00"),
    ("2024-03-31T01:40:00", "40m", "Europe/Berlin", "2024-03-31T03:00:00"),
    ("2024-03-31T01:40:00", "41m", "Europe/Berlin", "2024-03-31T01:59:00"),
]


@pytest.mark.parametrize(("now", "age", "zone", "cutoff"), REPEATED)
def test_a_time_that_can_mean_two_moments_means_the_later(
    now: str, age: str, zone: str, cutoff: str
) -> None:
    moment = datetime.fromisoformat(now).replace(tzinfo=UTC)
    chosen = policy(moment, older_than=age, not_pulled_for=age, keep_within=age, zone=zone)
    assert chosen.created_before == chosen.pulled_before == chosen.keep_since == cutoff


@pytest.mark.parametrize(("now", "age", "zone", "cutoff"), REPEATED)
def test_so_it_is_with_the_zone_of_this_machine(
    now: str, age: str, zone: str, cutoff: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        moment = datetime.fromisoformat(now).replace(tzinfo=UTC)
        assert policy(moment, older_than=age).created_before == cutoff
    finally:
        monkeypatch.undo()
        time.tzset()


@given(
    minutes=st.integers(0, 6 * 60),
    age=st.integers(0, 300),
    pulled=st.integers(0, 300),
    zone=st.sampled_from(["Europe/Berlin", "Australia/Lord_Howe", "America/New_York"]),
    day=st.sampled_from(["2024-10-26T23:00", "2024-04-06T13:00", "2024-11-03T04:00"]),
)
def test_nothing_younger_than_an_age_counts_as_older(
    minutes: int, age: int, pulled: int, zone: str, day: str
) -> None:
    now = datetime.fromisoformat(day).replace(tzinfo=UTC) + timedelta(minutes=minutes)
    cutoff = policy(now, older_than=f"{age}m", zone=zone).created_before
    written = (now - timedelta(minutes=pulled)).astimezone(ZoneInfo(zone)).replace(tzinfo=None)
    assert cutoff is not None
    assert pulled > age or written.isoformat() >= cutoff


@pytest.mark.parametrize("zone", ["Europe/Berlin", "Moon/Sea"])
def test_without_time_zone_data_the_message_says_which_package_brings_it(
    zone: str, no_zones: None
) -> None:
    with pytest.raises(UsageError, match="^--zone .*: this system has no time zone data; .*tzdata"):
        policy(older_than="1h", zone=zone)


def test_without_time_zone_data_utc_and_this_machine_s_zone_still_work(no_zones: None) -> None:
    assert policy(older_than="1h", zone="UTC").created_before == "2024-07-01T11:00:00"
    assert policy(older_than="1h").created_before is not None


@pytest.fixture
def no_zones(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A system without time zone data, and without the package of PyPI."""
    monkeypatch.setitem(sys.modules, "tzdata", None)
    monkeypatch.setitem(sys.modules, "tzdata.zoneinfo", None)
    zoneinfo.reset_tzpath(to=())
    ZoneInfo.clear_cache()
    yield
    zoneinfo.reset_tzpath()
    ZoneInfo.clear_cache()


def test_without_a_zone_it_is_that_of_this_machine() -> None:
    local = (NOW - timedelta(hours=2)).astimezone().replace(tzinfo=None, microsecond=0)
    assert policy(older_than="2h").created_before == local.isoformat()


@pytest.mark.parametrize("zone", ["", "Europe", "Nowhere/Land", "../../etc/passwd", "/etc", "a\0b"])
def test_an_unknown_zone_is_a_usage_error(zone: str) -> None:
    with pytest.raises(UsageError, match="^--zone: "):
        policy(older_than="1h", zone=zone)


def test_two_cutoffs_for_one_thing_both_hold() -> None:
    early, late = "2024-01-01T00:00:00", "2024-06-30T12:00:00"
    assert policy(date=early, older_than="1d", zone="UTC").created_before == early
    assert policy(date="2025-01-01", older_than="1d", zone="UTC").created_before == late
    chosen = policy(pulled_before=early, not_pulled_for="1d", zone="UTC")
    assert (chosen.created_before, chosen.pulled_before) == (None, early)


@given(
    days=st.integers(0, 3_650_000),
    zone=st.sampled_from(["UTC", "America/Los_Angeles", "Asia/Tokyo", "Pacific/Kiritimati", None]),
    now=st.datetimes(timezones=st.just(UTC)),
)
def test_no_age_is_too_long_for_the_calendar(days: int, zone: str | None, now: datetime) -> None:
    chosen = policy(now, older_than=f"{days}d", zone=zone)
    chosen.check()
    assert chosen.created_before is not None
    assert len(chosen.created_before) == len("0001-01-01T00:00:00")


@pytest.mark.parametrize("text", ["10001y", "-1d", "30", ""])
def test_an_age_that_can_t_be_used_is_a_usage_error(text: str) -> None:
    with pytest.raises(UsageError, match="^--older-than: "):
        policy(older_than=text)


def test_a_negative_count_is_a_usage_error_and_zero_is_none() -> None:
    assert policy(count=0).count == 0
    with pytest.raises(UsageError, match="--count -1"):
        policy(count=-1)


@pytest.mark.parametrize(
    "wrong",
    [
        Policy(),
        Policy(exclude=("a",)),
        Policy(orphans_only=True, patterns=("a",)),
        Policy(orphans_only=True, count=1),
        Policy(count=-1),
        Policy(created_before="2024-01-01"),
        Policy(patterns=("a",), pulled_before="yesterday"),
    ],
)
def test_a_prune_may_not_follow_every_policy(wrong: Policy) -> None:
    with pytest.raises(UsageError):
        wrong.check()


def test_what_the_command_line_does_not_say_comes_from_the_config_file_key_by_key() -> None:
    settings = PruneSettings(pattern=["a"], older_than="1d", count=3)
    filled = overridden(SelectionOptions(pattern=["b"], exclude=["c"], count=0), settings)
    assert filled == SelectionOptions(pattern=["b"], exclude=["c"], older_than="1d", count=0)
    assert overridden(SelectionOptions(), PruneSettings()) == SelectionOptions()


def test_global_options_after_the_command_win_over_those_before_it() -> None:
    before = GlobalOptions(image_path="/a", jobs="2", quiet=True)
    after = GlobalOptions(image_path="/b", progress=False)
    assert merged(before, after) == GlobalOptions(
        image_path="/b", jobs="2", quiet=True, progress=False
    )


@pytest.mark.parametrize(
    ("text", "number"), [(None, None), ("auto", None), ("1", 1), ("1024", 1024), ("007", 7)]
)
def test_a_number_or_auto(text: str | None, number: int | None) -> None:
    assert parse_number_or_auto(text, "--jobs") == number


@pytest.mark.parametrize(
    "text", ["", "0", "-1", "1025", "1.5", "two", "AUTO", " 1", "٣", "²", "1_0", "9" * 5000]
)
def test_no_other_text_is_a_number_or_auto(text: str) -> None:
    with pytest.raises(UsageError, match="^--jobs: "):
        parse_number_or_auto(text, "--jobs")
