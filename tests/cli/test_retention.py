"""The options that keep images: what they refuse, and their messages."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.cli.inside import run_inside
from tests.cli.program import run
from tests.support.cachebuilder import snapshot
from tests.support.documents import Json
from tests.support.realcaches import unpack

from fastprune.selection.selecting import Keep

SOME = "calico/typha:v3.27.0\n"


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return unpack("pulled", tmp_path)


def rehearsed(cache: Path, *options: str | Path) -> Json:
    result = run_inside("prune", "--dry-run", "--format", "json", *options, cache=cache)
    assert result.code == 0, result.err
    document: Json = json.loads(result.out)
    return document


def urls(document: Json) -> set[str]:
    return {one["url"] for one in document["manifests"]}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--keep-within", "30d"), "give a criterion as well"),
        (("--exclude", "nginx"), "give a criterion as well"),
        (("--keep-last", "0"), "--keep-last 0: must be at least 1"),
        (("--keep-last", "-1"), "--keep-last -1: must be at least 1"),
        (("--pattern", ".", "--keep-within", "5"), "--keep-within: not a duration"),
        (("--max-size", "500"), "--max-size: not a size"),
        (("--max-size", "-1GB"), "--max-size: not a size"),
        (("--free", "9999999PB"), "--free: too large a size"),
        (("--min-free-space", "120%"), "--min-free-space: not a percentage"),
        (("--min-free-space", "some"), "--min-free-space: not a size"),
        (("--orphans-only", "--dangling"), "--orphans-only can't be combined"),
        (("--orphans-only", "--keep-last", "3"), "--orphans-only can't be combined"),
    ],
)
def test_what_can_not_be_meant_is_refused(
    options: tuple[str, ...], message: str, cache: Path
) -> None:
    before = snapshot(cache)
    for command in ("prune", "explain"):
        words = ("nginx",) if command == "explain" else ()
        result = run_inside(command, *words, *options, cache=cache)
        assert (result.code, result.out) == (2, "")
        assert message in result.err
    assert snapshot(cache) == before


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "names no image"),
        ("# kubectl failed\n", "names no image"),
        ("nginx\nError from server: no\n", "line 2: not an image reference: 'Error'"),
        ("nginx redis:7:8\n", "line 1: not an image reference: 'redis:7:8'"),
    ],
)
def test_a_list_that_may_be_that_of_a_failed_command_stops_a_prune(
    content: str, message: str, cache: Path, tmp_path: Path
) -> None:
    images, before = tmp_path / "images", snapshot(cache)
    images.write_text(content)
    result = run_inside("prune", "--pattern", ".", "--keep-from", images, cache=cache)
    assert (result.code, result.out) == (2, "")
    assert f"--keep-from {images}" in result.err
    assert message in result.err
    assert snapshot(cache) == before


def test_a_list_comes_through_a_pipe_and_keeps_the_children_of_what_it_names(cache: Path) -> None:
    options = ("--pattern", "calico/typha", "--keep-from", "-", "--allow-remove-all")
    result = run("prune", "--dry-run", "--format", "json", *options, cache=cache, stdin=SOME)
    document = json.loads(result.out)
    assert document["kept_by"] == {"keep-from": 1}
    assert [one["url"] for one in document["kept"]] == ["docker.io/calico/typha:v3.27.0"]
    assert not any("typha:v3.27.0" in url for url in urls(document))
    assert [one["kept_by"] for one in document["protected"]] == ["docker.io/calico/typha:v3.27.0"]


def test_a_listing_shows_what_a_prune_would_select(cache: Path, tmp_path: Path) -> None:
    images = tmp_path / "images"
    images.write_text(SOME)
    for options in (
        ("--keep-last", "1"),
        ("--dangling",),
        ("--pattern", ".", "--keep-from", str(images)),
        ("--free", "20kB"),
        ("--pattern", ".", "--keep-last", "1", "--keep-within", "1h"),
    ):
        listed = run_inside("list", "--format", "url", *options, cache=cache)
        assert listed.code == 0
        selected = {
            one["url"]
            for one in rehearsed(cache, *options, "--allow-broken")["manifests"]
            if one["reason"] == "selected"
        }
        assert set(listed.out.split()) == selected


def test_a_target_out_of_reach_is_a_warning_and_says_by_how_much(cache: Path) -> None:
    options = ("--pattern", "typha:v3.27.0", "--free", "1GB")
    result = run_inside("prune", "--dry-run", "--summary", *options, cache=cache)
    assert result.code == 0
    assert "the size target is missed by 1.0 GB: nothing else may go" in result.err
    assert "Size target: missed by 9999" in result.out
    document = rehearsed(cache, *options)
    assert document["criteria"] == ["pattern", "free"]
    assert document["size_target"]["need"] == 10**9
    assert document["size_target"]["short"] == 10**9 - document["totals"]["bytes"]


def test_enough_free_space_means_that_nothing_goes(cache: Path) -> None:
    document = rehearsed(cache, "--min-free-space", "1B")
    assert (document["totals"]["manifests"], document["size_target"]["short"]) == (0, 0)
    needed = rehearsed(cache, "--min-free-space", "100%", "--allow-remove-all")
    assert needed["totals"]["manifests"] == needed["cache"]["manifests"]


def test_a_plan_that_was_saved_goes_on_to_keep(cache: Path, tmp_path: Path) -> None:
    plan = tmp_path / "plan"
    made = run_inside("plan", "--keep-last", "1", "-o", plan, cache=cache)
    assert made.code == 0
    header = json.loads(plan.read_text().splitlines()[0])
    assert header["policy"]["keep_last"] == 1
    assert header["totals"]["kept"] > 0
    planned = urls(rehearsed(cache, "--keep-last", "1"))
    applied = run_inside("apply", plan, "--yes", "--force", cache=cache)
    assert applied.code == 0
    left = set(run_inside("list", "--format", "url", cache=cache).out.split())
    assert not left & planned


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (("--pattern", ".", "--exclude", "typha"), Keep.EXCLUDED.text),
        (("--keep-last", "5"), Keep.LAST_TAGS.text),
        (("--pattern", ".", "--keep-within", "1000y"), Keep.RECENT.text),
        (("--free", "1B"), "older-ones-are-enough"),
    ],
)
def test_explain_says_in_words_why_an_image_would_stay(
    options: tuple[str, ...], reason: str, cache: Path
) -> None:
    words = ("explain", "calico/typha:v3.27.0", *options)
    verdict = json.loads(run_inside(*words, "--format", "json", cache=cache).out)["verdict"]
    assert (verdict["goes"], verdict["reason"]) == (False, reason)
    last = run_inside(*words, cache=cache).out.splitlines()[-1]
    assert last.startswith("This prune: it would stay: ")
    if reason == Keep.LAST_TAGS.text:
        assert last.endswith(
            "--keep-last keeps it (its tag is the newest of docker.io/calico/typha, and 5 are kept)"
        )
