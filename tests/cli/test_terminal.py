"""On a terminal: the question before a prune, Ctrl-C, the table and the progress bar."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from tests.cli.program import on_terminal, run
from tests.support.cachebuilder import CacheBuilder, Corruption, files, snapshot
from tests.support.oracle import expected, load
from tests.support.realcaches import unpack

PRUNE = ("prune", "--pattern", "typha:v3.27.0")
QUESTION = "[y/N] "
CTRL_C, CTRL_D = "\x03", "\x04"


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return unpack("pulled", tmp_path)


def test_it_asks_once_with_the_totals_and_yes_removes(cache: Path) -> None:
    outcome = expected(load(cache), patterns=["typha:v3.27.0"])
    with on_terminal(*PRUNE, cache=cache) as terminal:
        terminal.wait_for(QUESTION)
        assert f"Remove 2 manifests and 2 blobs (10.8 kB) from {cache}? " in terminal.shown
        terminal.type("y\n")
        assert terminal.wait() == 0
        assert terminal.shown.count(QUESTION) == 1
    assert files(cache) == outcome.left


@pytest.mark.parametrize("answer", ["n\n", "\n", "yellow\n", CTRL_D])
def test_any_other_answer_removes_nothing(answer: str, cache: Path) -> None:
    before = snapshot(cache)
    with on_terminal(*PRUNE, cache=cache) as terminal:
        terminal.wait_for(QUESTION)
        terminal.type(answer)
        assert terminal.wait() == 1
        assert "nothing was removed" in terminal.shown
    assert snapshot(cache) == before


def test_ctrl_c_at_the_question_ends_it_at_once(cache: Path) -> None:
    before = snapshot(cache)
    with on_terminal(*PRUNE, cache=cache) as terminal:
        terminal.wait_for(QUESTION)
        terminal.type(CTRL_C)
        assert terminal.wait(seconds=5) == 130
        assert "Traceback" not in terminal.shown
    assert snapshot(cache) == before


def test_ctrl_c_during_the_scan_ends_it_and_its_workers(tmp_path: Path) -> None:
    builder = CacheBuilder(tmp_path / "cache")
    builder.image("typha:v3.27.0")
    builder.corrupt(Corruption.EMPTY)  # Read again and again, for almost half a second.
    before = snapshot(builder.root)
    options = ("--jobs", "2", "--skip-corrupt", "--yes")
    with on_terminal(*PRUNE, *options, cache=builder.root) as terminal:
        terminal.wait_for("scanning")
        terminal.type(CTRL_C)
        assert terminal.wait(seconds=5) == 130
        assert "Traceback" not in terminal.shown
    assert snapshot(builder.root) == before


@pytest.mark.parametrize(
    ("options", "redirections"),
    [
        (("--yes",), ""),
        (("--dry-run",), ""),
        (("--pattern", "no-such-image", "--exclude", "typha"), ""),
        # stderr is a terminal, but stdin is not: nobody can answer.
        ((), "</dev/null"),
    ],
    ids=["yes", "dry run", "nothing to do", "no terminal to answer on"],
)
def test_it_does_not_ask(options: tuple[str, ...], redirections: str, cache: Path) -> None:
    with on_terminal(*PRUNE, *options, cache=cache, redirections=redirections) as terminal:
        assert terminal.wait() == 0
        assert QUESTION not in terminal.shown
        assert "Manifests: " in terminal.shown


@pytest.mark.parametrize("name", ["-", "/dev/stdin", "/dev/fd/0"])
def test_when_stdin_is_a_list_it_asks_on_the_terminal(
    name: str, cache: Path, tmp_path: Path
) -> None:
    images, before = tmp_path / "images", snapshot(cache)
    images.write_text("calico/cni:v3.27.0\n")
    options = (*PRUNE, "--keep-from", name)
    for answer, code in (("n\n", 1), ("y\n", 0)):
        with on_terminal(*options, cache=cache, redirections=f"<{images}") as terminal:
            terminal.wait_for(QUESTION)
            assert snapshot(cache) == before
            terminal.type(answer)
            assert terminal.wait() == code
    assert snapshot(cache) != before


def test_when_stdin_is_a_plan_it_asks_on_the_terminal(cache: Path, tmp_path: Path) -> None:
    plan = tmp_path / "plan"
    run("plan", *PRUNE[1:], "-o", plan, cache=cache)
    before = snapshot(cache)
    with on_terminal("apply", "-", cache=cache, redirections=f"<{plan}") as terminal:
        terminal.wait_for(QUESTION)
        terminal.type("n\n")
        assert terminal.wait() == 1
    assert snapshot(cache) == before
    with on_terminal("apply", "-", "--yes", cache=cache, redirections=f"<{plan}") as terminal:
        assert terminal.wait() == 0
        assert QUESTION not in terminal.shown
    assert snapshot(cache) != before


def test_when_stdin_is_the_config_file_it_asks_on_the_terminal(cache: Path, tmp_path: Path) -> None:
    config, before = tmp_path / "config", snapshot(cache)
    config.write_text(f"imagePath: {cache}\npruneConfig: {{type: pattern, expr: typha}}\n")
    options = ("prune", "--allow-broken", "--config-file", "-")
    with on_terminal(*options, redirections=f"<{config}") as terminal:
        terminal.wait_for(QUESTION)
        assert f"from {cache}?" in terminal.shown
        terminal.type("n\n")
        assert terminal.wait() == 1
    assert snapshot(cache) == before


def test_without_a_terminal_it_never_asks(cache: Path) -> None:
    outcome = expected(load(cache), patterns=["typha:v3.27.0"])
    # Input that is not from a terminal does not count as an answer.
    result = run(*PRUNE, cache=cache, stdin="n\n")
    assert (result.code, result.err) == (0, "")
    assert files(cache) == outcome.left


def test_a_listing_on_a_terminal_is_a_table_and_shows_progress(cache: Path) -> None:
    with on_terminal("list", cache=cache) as terminal:
        assert terminal.wait() == 0
        assert re.search(r"REPOSITORY +TAG\|DIGEST +TYPE +CREATED", terminal.shown)
        assert "scanning" in terminal.shown
        assert "81/81" in terminal.shown


@pytest.mark.parametrize("option", ["--quiet", "--no-progress"])
def test_progress_can_be_switched_off(option: str, cache: Path) -> None:
    with on_terminal("list", option, "--format", "url", cache=cache) as terminal:
        assert terminal.wait() == 0
        assert "scanning" not in terminal.shown
        assert "\x1b" not in terminal.shown


def test_progress_is_left_out_of_what_a_pipe_gets(cache: Path, tmp_path: Path) -> None:
    listing = tmp_path / "listing"
    with on_terminal("list", cache=cache, redirections=f">{listing}") as terminal:
        assert terminal.wait() == 0
        assert "scanning" in terminal.shown
    assert listing.read_text(encoding="utf-8") == run("list", cache=cache).out
