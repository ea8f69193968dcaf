"""Documents say what the program says: the reference, and every command line in a page."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.command_lines import parse
from tools.command_tree import Command, read_program
from tools.reference import ROOT, commands_page, outdated, pages

from fastprune.cli.app import COMMANDS
from fastprune.errors import EXIT_CODES

PROGRAM = read_program()
LEAVES = tuple(PROGRAM.leaves())
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])

_BLOCK = re.compile(r"^(?P<fence>```+)\w*\n(?P<text>.*?)^(?P=fence)", re.MULTILINE | re.DOTALL)
_INLINE = re.compile(r"`(?:\w+=\S+ )?(fastprune [^`]+)`")


def test_the_reference_is_what_the_program_says() -> None:
    assert outdated() == [], "run 'make reference' and commit what it writes"


def test_the_reference_names_every_command_and_option() -> None:
    text = pages()["docs/reference/commands.md"]
    assert {leaf.path[0] for leaf in LEAVES} == set(COMMANDS)
    for leaf in LEAVES:
        assert f"## fastprune {leaf.name}\n" in text
        for option in leaf.options:
            assert all(re.search(f"(`|<code>){name}[` ]", text) for name in option.names)


def test_another_help_text_makes_another_page() -> None:
    altered = Command(("list",), ("Something else.",), (), PROGRAM.options, ())
    program = Command((), PROGRAM.paragraphs, (), PROGRAM.options, (altered,))
    assert commands_page(program) != commands_page(PROGRAM)


def test_the_reference_has_every_exit_code() -> None:
    text = pages()["docs/reference/errors.md"]
    assert all(f"\n| {code} | " in text for code in EXIT_CODES)


def test_a_page_that_is_generated_is_in_the_navigation() -> None:
    navigation = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    for path in pages():
        if path.endswith(".md"):
            assert str(Path(path).relative_to("docs")) in navigation


def test_a_warning_about_the_site_ends_make_test() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    (line,) = [line for line in makefile.splitlines() if "mkdocs build" in line]
    assert "--strict" in line
    # Then mkdocs does not count warnings, and nothing is strict.
    assert "--quiet" not in line
    assert "-q" not in line.split()


@pytest.mark.parametrize(
    "page",
    [*sorted(ROOT.glob("*.md")), ROOT / "benchmarks" / "README.md"],
    ids=str,
)
def test_what_a_page_beside_the_site_links_to_is_there(page: Path) -> None:
    # mkdocs checks those of the site.
    links = re.findall(r"\]\((?!https?:|#)([^)#]+)[^)]*\)", page.read_text(encoding="utf-8"))
    assert [link for link in links if not (page.parent / link).exists()] == []


def command_lines() -> Iterator[tuple[str, str]]:
    """Every command line of fastprune in a page: those in blocks, and those in the text."""
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        lines = [line for block in _BLOCK.finditer(text) for line in _commands(block["text"])]
        lines += _INLINE.findall(_BLOCK.sub("", text))
        yield from ((str(page.relative_to(ROOT)), line) for line in lines)


def _commands(block: str) -> Iterator[str]:
    for line in block.replace("\\\n", " ").splitlines():
        found = re.match(r"(?:\$ |sudo |ExecStart=|\w+=\S+ |/\S+/)*(fastprune .*)", line.strip())
        if found:
            yield re.split(r" [|>] | && |; |  +#", found[1])[0]


LINES = sorted({line for line in command_lines() if "COMMAND" not in line[1]})


def test_there_are_command_lines_in_the_pages() -> None:
    assert len(LINES) > 20
    assert "README.md" in {page for page, _ in LINES}


@pytest.mark.parametrize(("page", "line"), LINES)
def test_a_command_line_in_a_page_is_one_of_the_program(page: str, line: str) -> None:
    parse(shlex.split(line, comments=True)[1:])


@pytest.mark.parametrize(
    "line", ["lost", "list --lost", "list --limit", "list --limit many", "trash lost", "list lost"]
)
def test_what_is_no_command_line_of_the_program_is_seen(line: str) -> None:
    with pytest.raises(Exception, match="[Nn]o such|requires|not a valid|[Uu]nexpected"):
        parse(line.split())
