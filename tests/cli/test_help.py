"""What the program says of itself."""

from __future__ import annotations

import re
import shlex

import pytest
from tests.cli.golden import check_golden
from tests.cli.program import run
from tests.support.command_lines import parse
from tools.command_tree import Command, read_program

import fastprune
from fastprune.cli.app import COMMANDS
from fastprune.cli.headings import GLOBAL, HEADINGS

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
    assert f" {COMMANDS[command]} " in text
    assert f" {command} {COMMANDS[command]}" in " ".join(run("--help").out.split())


def test_a_value_that_is_the_name_of_a_command_is_no_command() -> None:
    result = run("--image-path", "/no/such/prune", "--config-file", "tune", "list")
    assert (result.code, "tune" in result.err) == (2, True)


PROGRAM = read_program()
LEAVES = [*PROGRAM.leaves(), *(one for one in PROGRAM.commands if one.commands)]


def headings_of(help_text: str) -> list[str]:
    """The lines that stand at the margin and end with a colon, without it."""
    lines = help_text.splitlines()
    return [line[:-1] for line in lines if line.endswith(":") and not line.startswith(" ")]


@pytest.mark.parametrize("command", LEAVES, ids=lambda command: command.name)
def test_every_option_has_a_heading_and_the_help_shows_it_there(command: Command) -> None:
    options = [one for one in command.options if one.names[0] != "--help"]
    assert [one.names[0] for one in options if one.panel not in HEADINGS] == []
    text = run(*command.path, "--help", env={"COLUMNS": "80"}).out
    assert max(map(len, text.splitlines())) <= 80
    shown = headings_of(text)
    expected = [heading for heading in HEADINGS if any(one.panel == heading for one in options)]
    around = ("Commands", "Arguments", "Examples")
    assert [heading.partition(" ('")[0] for heading in shown if heading not in around] == expected
    for heading in expected:
        _, _, below = text.partition(f"\n{heading}")
        section = below.partition("\n\n")[0]
        # At the beginning of a line, or in brackets: not where a text speaks of another option.
        named = re.findall(
            r"--[a-z-]+", " ".join(re.findall(r"^  -.*?(?:  |$)|\[-.*?\]", section, re.MULTILINE))
        )
        for option in options:
            assert (option.names[0] in named) == (option.panel == heading)


@pytest.mark.parametrize("command", LEAVES, ids=lambda command: command.name)
def test_the_own_options_come_first_then_the_global_ones_in_short_then_examples(
    command: Command,
) -> None:
    text = run(*command.path, "--help").out
    *_, last = headings_of(text)
    assert last == "Examples"
    assert headings_of(text)[-2].startswith(GLOBAL)
    in_short = text.partition(f"\n{GLOBAL}")[2].partition("\n\n")[0]
    assert len(in_short.splitlines()) <= 6
    assert "[--log-level LEVEL]" in in_short
    examples = text.partition("\nExamples:\n")[2].splitlines()
    assert 1 <= len(examples) <= 2
    assert all(one.startswith(f"  fastprune {command.path[0]}") for one in examples)


def test_the_program_says_what_the_global_options_do() -> None:
    text = run("--help").out
    assert headings_of(text) == ["Commands", GLOBAL, "Examples"]
    assert "Nothing on stderr but errors." in text


@pytest.mark.parametrize("command", LEAVES, ids=lambda command: command.name)
def test_the_examples_of_the_help_are_command_lines(command: Command) -> None:
    for example in command.examples:
        for line in example.split(" | "):
            program, *words = shlex.split(line)
            assert program == "fastprune"
            assert parse(words)
