"""Usage errors: exit code 2, and nothing is deleted."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from tests.cli.inside import run_inside
from tests.cli.program import run
from tests.support.cachebuilder import Stamp, snapshot
from tests.support.realcaches import unpack

# Options, each with what the message must say.
SELECTION = {
    "no criterion": ((), "--pattern"),
    "an empty pattern": (("--pattern", ""), "empty"),
    "an empty element": (("--pattern", "nginx,"), "empty"),
    "an option as a pattern": (("--pattern", "--dry-run"), "'--dry-run'"),
    "an option as an element": (("--pattern", "nginx,--yes"), "option"),
    "an invalid expression": (("--pattern", "nginx,typ[ha"), "[ha\n"),
    "what only RE2 in C++ knows": (("--pattern", r"nginx\C"), r"\C"),
    "an invalid date": (("--date", "2024-02-30"), "--date"),
    "a date in other words": (("--date", "yesterday"), "--date"),
    "an option as a date": (("--date", "--dry-run"), "--date"),
    "a duration without a unit": (("--older-than", "30"), "--older-than"),
    "a negative duration": (("--older-than", "-1d"), "--older-than"),
    "a negative count": (("--count", "-1"), "--count"),
    "an unknown zone": (("--pattern", "nginx", "--zone", "Moon/Sea"), "--zone"),
    "a number that no plan can hold": (("--keep-last", "9" * 26), "--keep-last"),
    "a pattern that is not UTF-8": (("--pattern", os.fsdecode(b"\xff")), "UTF-8"),
    "a criterion beside orphans only": (("--orphans-only", "--pattern", "a"), "--orphans-only"),
}
OTHERS = {
    "an unknown format": (("--pattern", "nginx", "--format", "csv"), "--format"),
    "no threads": (("--pattern", "nginx", "--concurrency", "0"), "--concurrency"),
    "half a worker": (("--pattern", "nginx", "--jobs", "1.5"), "--jobs"),
    "a size without a unit": (
        ("--pattern", "a", "--max-manifest-size", "5"),
        "--max-manifest-size",
    ),
    "a wait without a unit": (("--pattern", "nginx", "--lock-wait", "5"), "--lock-wait"),
    "an unknown option": (("--pattern", "nginx", "--dryrun"), "--dryrun"),
    "a log file that can't be": (("--pattern", "a", "--log-file", "/missing/log"), "--log-file"),
    "an empty path of the cache": (("--pattern", "a", "--image-path", ""), "--image-path is empty"),
    "an empty configuration file": (("--pattern", "a", "--config-file", ""), "--config-file is"),
    "an unknown level": (("--pattern", "nginx", "--log-level", "loud"), "--log-level"),
}
LIST = {
    "an unknown format": (("--format", "xml"), "--format"),
    "an unknown order": (("--sort", "colour"), "--sort"),
    "a negative limit": (("--limit", "-1"), "--limit"),
}


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = unpack("loaded", tmp_path_factory.mktemp("usage"))
    (root / "blobs" / ("ab" * 32)).write_bytes(b"any prune would remove this")
    return root


@pytest.fixture(scope="module")
def before(cache: Path) -> dict[str, Stamp]:
    return snapshot(cache)


@pytest.mark.parametrize(("options", "hint"), (SELECTION | OTHERS).values(), ids=SELECTION | OTHERS)
def test_prune_refuses(
    options: tuple[str, ...], hint: str, cache: Path, before: dict[str, Stamp]
) -> None:
    result = run("prune", *options, cache=cache)
    assert (result.code, result.out) == (2, "")
    assert hint in result.err
    assert "Traceback" not in result.err
    assert snapshot(cache) == before


@pytest.mark.parametrize(("options", "hint"), LIST.values(), ids=LIST)
def test_list_refuses(options: tuple[str, ...], hint: str, cache: Path) -> None:
    result = run("list", *options, cache=cache)
    assert (result.code, result.out) == (2, "")
    assert hint in result.err


def test_the_message_points_at_what_is_wrong_with_an_expression(cache: Path) -> None:
    lines = run("prune", "--pattern", "typha:v(3|4", cache=cache).err.splitlines()
    pattern, marks = lines[-2:]
    assert pattern.strip() == "typha:v(3|4"
    assert set(marks.strip()) == {"^"}


@pytest.mark.parametrize("swallowed", ["--dry-run", "-n"])
@pytest.mark.parametrize("option", ["--exclude", "--image-path", "--log-file", "--format"])
def test_an_option_that_another_one_swallowed_never_deletes(
    option: str, swallowed: str, tmp_path: Path
) -> None:
    # As in `prune --pattern --dry-run` of the original, which deleted for real.
    root = unpack("loaded", tmp_path)
    before = snapshot(root)
    result = run_inside("prune", "--pattern", "nginx", option, swallowed, cache=root)
    assert result.code == 2
    assert f"'{swallowed}' looks like an option; the value of {option} is missing" in result.err
    assert snapshot(root) == before


def test_an_unknown_command_is_refused() -> None:
    result = run("purge")
    assert (result.code, result.out) == (2, "")
    assert "purge" in result.err


def test_a_mistake_is_told_as_every_error_with_what_to_do(cache: Path) -> None:
    result = run("prune", "--dryrun", "--color", "always", cache=cache)
    error, hint = result.err.splitlines()
    assert error.startswith("fastprune: \x1b[1;31merror:\x1b[0m no such option: --dryrun")
    assert hint.endswith("see 'python -m fastprune prune --help'")


def test_a_mistake_is_a_line_of_json_if_messages_are() -> None:
    result = run("lst", "--log-format=json")
    assert (result.code, result.out) == (2, "")
    (line,) = result.err.splitlines()
    message = json.loads(line)
    assert (message["level"], message["exit_code"]) == ("error", 2)
    assert "Did you mean 'list'?" in message["message"]
