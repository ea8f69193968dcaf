"""Run ids: the time in them, and which run the beginning of one means."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from fastprune import UsageError, make_run_id
from fastprune.trash.run_ids import find_run, is_live, live_run_id, run_time

NOON = datetime(2026, 11, 23, 12, 0, 1, tzinfo=UTC)
RUNS = ("20261123T120001Z-00ff01", "20261123T120001Z-00ff02", "20261201T000000Z-aaaaaa")


def test_an_id_is_the_time_in_utc_and_random_digits() -> None:
    assert make_run_id(NOON, b"\x00\xff\x01") == RUNS[0]
    elsewhere = NOON.astimezone(timezone(timedelta(hours=9)))
    assert make_run_id(elsewhere, b"\x00\xff\x01") == RUNS[0]


def test_an_id_says_when_it_was() -> None:
    assert run_time(RUNS[0]) == NOON


@pytest.mark.parametrize(
    "text",
    [
        "",
        "20261123T120001Z",
        "20261123T120001Z-00FF01",
        "20261123T120001Z-00ff01 ",
        "20261123T120001Z-00ff011",
        "20261323T120001Z-00ff01",
        "٢٠٢٦1123T120001Z-00ff01",
        "../../img",
        "lost+found",
    ],
)
def test_anything_else_is_no_id(text: str) -> None:
    assert run_time(text) is None


def test_a_beginning_that_only_one_run_has_names_it() -> None:
    assert find_run(RUNS, "202612") == RUNS[2]
    assert find_run(RUNS, RUNS[1]) == RUNS[1]


@pytest.mark.parametrize("prefix", ["", "2027", "aaaaaa"])
def test_an_unknown_run_is_an_error_that_names_all_runs(prefix: str) -> None:
    with pytest.raises(UsageError) as refusal:
        find_run(RUNS, prefix)
    assert all(run in str(refusal.value) for run in RUNS)


def test_in_an_empty_trash_there_is_nothing_to_name() -> None:
    with pytest.raises(UsageError, match="it is empty"):
        find_run((), "2026")


def test_a_beginning_of_several_runs_names_just_those() -> None:
    with pytest.raises(UsageError) as refusal:
        find_run(RUNS, "20261123")
    assert RUNS[0] in str(refusal.value)
    assert RUNS[1] in str(refusal.value)
    assert RUNS[2] not in str(refusal.value)


def test_the_id_of_a_live_run_tells_itself_from_others() -> None:
    live = live_run_id(RUNS[0])
    assert live == f"{RUNS[0]}-live"
    assert live_run_id(live) == live
    assert run_time(live) == NOON
    assert is_live(live)
    assert not any(is_live(one) for one in (*RUNS, "x-live", f"{RUNS[0]}-live-live"))


def test_a_whole_id_names_its_run_although_another_begins_so() -> None:
    live = live_run_id(RUNS[0])
    assert find_run((live, *RUNS), RUNS[0]) == RUNS[0]
    assert find_run((live, *RUNS), live) == live
