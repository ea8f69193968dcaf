"""Delete limits on the command line: exit code 4, the numbers, and nothing is removed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.cli.program import on_terminal, run
from tests.support.cachebuilder import files, snapshot
from tests.support.inprocess import invoke
from tests.support.realcaches import unpack

CALICO = ("--pattern", "calico")  # 12 of the 81 manifests, 49864 bytes


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return unpack("pulled", tmp_path)


@pytest.mark.parametrize(
    ("limit", "says"),
    [
        (("--max-delete-count", "11"), "12 manifests would go, max-delete-count allows 11"),
        (
            ("--max-delete-size", "49863B"),
            "49864 bytes (49.9 kB) would come free, max-delete-size allows 49863 bytes (49.9 kB)",
        ),
        (
            ("--max-delete-percent", "14.8"),
            "12 of 81 manifests (14.81 %) would go, max-delete-percent allows 14.8 %",
        ),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else "",
)
def test_a_prune_beyond_a_limit_is_refused_and_its_dry_run_says_so(
    limit: tuple[str, str], says: str, cache: Path
) -> None:
    before = snapshot(cache)
    refused = invoke("prune", *CALICO, *limit, cache=cache)
    assert (refused.code, refused.out) == (4, "")
    assert f"error: the plan goes beyond the delete limits: {says}\n" in refused.err
    assert "hint: nothing was deleted; narrow the selection or raise the limit\n" in refused.err
    rehearsed = invoke("prune", *CALICO, *limit, "--dry-run", "--summary", cache=cache)
    assert (rehearsed.code, rehearsed.err) == (4, refused.err)
    assert f"\nWould be refused: {says}\n" in rehearsed.out
    assert rehearsed.out.startswith("Manifests: 12 (6 lists, 6 images)\n")
    assert snapshot(cache) == before


def test_a_prune_within_its_limits_goes_on(cache: Path) -> None:
    limits = ("--max-delete-count", "12", "--max-delete-size", "49864B")
    result = invoke("prune", *CALICO, *limits, "--max-delete-percent", "15", cache=cache)
    assert (result.code, result.err) == (0, "")
    assert len(files(cache)) == 81 + 93 - 24


def test_a_refusal_in_json_has_the_numbers(cache: Path) -> None:
    limits = ("--max-delete-count", "3", "--max-delete-percent", "1", "--format", "json")
    refused = invoke("prune", *CALICO, *limits, cache=cache)
    document = json.loads(refused.out)
    assert (refused.code, document["exit_code"], document["command"]) == (4, 4, "prune")
    assert document["exceeded"] == [
        {"limit": "max-delete-count", "most": 3, "planned": 12},
        {"limit": "max-delete-percent", "most": 1.0, "planned": pytest.approx(14.81, abs=0.01)},
    ]
    assert document["error"] in refused.err
    rehearsed = invoke("prune", *CALICO, *limits, "-n", "--summary", cache=cache)
    assert rehearsed.code == 4
    assert json.loads(rehearsed.out)["exceeded"] == document["exceeded"]
    assert json.loads(rehearsed.out)["totals"]["manifests"] == 12


def test_no_command_empties_a_cache_unless_that_is_allowed(cache: Path, tmp_path: Path) -> None:
    file = tmp_path / "plan"
    before = snapshot(cache)
    for command in (("prune",), ("prune", "-n"), ("plan", "-o", file), ("plan", "-o", "-")):
        result = invoke(*command, "--pattern", ".", cache=cache)
        assert result.code == 4
        assert "81 manifests of 81 would go, none would be left" in result.err
        assert "if the cache is to be emptied, give --allow-remove-all" in result.err
        assert '"record"' not in result.out
    assert not file.exists()
    allowed = ("--pattern", ".", "--allow-remove-all")
    assert invoke("plan", *allowed, "-o", file, cache=cache).code == 0
    # The limits of `plan` are not those of `apply`.
    assert invoke("apply", file, cache=cache).code == 4
    assert invoke("apply", file, "-n", "--summary", cache=cache).code == 4
    assert snapshot(cache) == before
    assert invoke("apply", file, "--allow-remove-all", cache=cache).code == 0
    assert files(cache) == set()


def test_a_plan_beyond_a_limit_is_not_written(cache: Path, tmp_path: Path) -> None:
    file = tmp_path / "plan"
    result = invoke("plan", *CALICO, "--max-delete-count", "11", "-o", file, cache=cache)
    assert result.code == 4
    assert "Would be refused: 12 manifests would go, max-delete-count allows 11\n" in result.out
    assert "hint: no plan was written, and nothing was deleted; " in result.err
    assert not file.exists()


def test_the_limits_of_apply_are_its_own(cache: Path, tmp_path: Path) -> None:
    file = tmp_path / "plan"
    assert invoke("plan", *CALICO, "-o", file, cache=cache).code == 0
    before = snapshot(cache)
    refused = invoke("apply", file, "--max-delete-size", "1kB", "--format", "json", cache=cache)
    assert refused.code == 4
    assert json.loads(refused.out)["exceeded"] == [
        {"limit": "max-delete-size", "most": 1000, "planned": 49864}
    ]
    assert snapshot(cache) == before
    assert invoke("apply", file, "--max-delete-size", "1MB", cache=cache).code == 0


def test_nobody_is_asked_about_what_is_refused(cache: Path) -> None:
    with on_terminal("prune", *CALICO, "--max-delete-count", "1", cache=cache) as terminal:
        assert terminal.wait() == 4
        assert "[y/N]" not in terminal.shown


@pytest.mark.parametrize(
    "limit",
    [
        *(("count", "-1"), ("count", "1.5"), ("size", "100"), ("size", "-1GB")),
        *(("percent", "101"), ("percent", "-1"), ("percent", "nan"), ("percent", "5%")),
    ],
    ids="-".join,
)
def test_a_limit_that_makes_no_sense_is_a_usage_error(limit: tuple[str, str], cache: Path) -> None:
    name, value = limit
    # In a process of its own: what typer refuses, the program turns into a message.
    result = run("prune", *CALICO, f"--max-delete-{name}={value}", cache=cache)
    assert (result.code, result.out) == (2, "")
    assert f"--max-delete-{name}" in result.err
