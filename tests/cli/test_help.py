"""What the program says of itself."""

from __future__ import annotations

import pytest
from tests.cli.golden import check_golden
from tests.cli.program import run

import fastprune
from fastprune.cli.commands import COMMANDS

TRASH = [("trash",), ("trash", "list"), ("trash", "restore"), ("trash", "empty")]


@pytest.mark.parametrize("command", [(), ("list",), ("prune",), ("tune",), *TRASH], ids=" ".join)
def test_help_is_as_the_golden_file_has_it(command: tuple[str, ...]) -> None:
    result = run(*command, "--help")
    assert (result.code, result.err) == (0, "")
    check_golden("-".join(["help", *command]) + ".txt", result.out)


def test_the_short_option_gives_the_same_help() -> None:
    assert run("prune", "-h") == run("prune", "--help")


def test_no_line_of_help_is_wider_than_the_terminal() -> None:
    result = run("prune", "--help", env={"COLUMNS": "72"})
    assert max(map(len, result.out.splitlines())) <= 72


def test_the_version_is_that_of_the_library() -> None:
    expected = (0, f"fastprune {fastprune.__version__}\n", "")
    assert run("--version") == expected
    # With anything beside it another path leads there.
    assert run("--quiet", "--version") == expected


def test_without_a_command_it_shows_the_help_and_fails() -> None:
    result = run()
    assert result.code == 2
    assert "Commands:" in result.out + result.err


@pytest.mark.parametrize("command", COMMANDS)
def test_the_summary_of_a_command_is_the_first_sentence_of_its_help(command: str) -> None:
    text = " ".join(run(command, "--help").out.split())
    assert f" {COMMANDS[command].summary} " in text
    assert f" {command} {COMMANDS[command].summary}" in " ".join(run("--help").out.split())


def test_a_value_that_is_the_name_of_a_command_is_no_command() -> None:
    result = run("--image-path", "/no/such/prune", "--config-file", "tune", "list")
    assert (result.code, "tune" in result.err) == (2, True)
