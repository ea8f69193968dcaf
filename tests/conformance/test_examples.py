"""The pages show what the program prints.

A `console` block that follows the comment `<!-- cache: pulled -->` (or `loaded`) is run: every
command of fastprune in it, on a copy of that real cache. All blocks of a page share one copy.
The output must be the lines that the page shows. `...` stands for any lines. Any time,
duration or run matches any other. The output of other commands is not compared.
A block that follows `<!-- file: NAME -->` is the content of that file, in the folder in which
the commands run.
A block of Python is run as well. Its output must be the block of text that follows it.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer
from tests.support.examples import assert_shows
from tests.support.realcaches import REAL_CACHES, RealCache, unpack
from tools.command_tree import typer_program
from tools.reference import ROOT

from fastprune.cli.refusals import say_usage_error

_BLOCK = re.compile(r"^<!-- cache: (\w+) -->\n\n?```console\n(.*?)^```", re.MULTILINE | re.DOTALL)
_PYTHON = re.compile(
    r"^<!-- cache: (\w+) -->\n\n?```python\n(.*?)^```\n\n```text\n(.*?)^```",
    re.MULTILINE | re.DOTALL,
)
_FILE = re.compile(r"^<!-- file: ([\w.-]+) -->\n\n?```\w+\n(.*?)^```", re.MULTILINE | re.DOTALL)
# Where the examples pretend that the cache is.
_SHOWN = "/var/lib/ociregistry"


def examples(kind: re.Pattern[str]) -> dict[str, list[tuple[str, ...]]]:
    """The blocks of a kind of every page that has some: the cache, and what is shown."""
    pages = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
    found = {
        str(page.relative_to(ROOT)): kind.findall(page.read_text(encoding="utf-8"))
        for page in pages
    }
    return {page: blocks for page, blocks in found.items() if blocks}


EXAMPLES = examples(_BLOCK)
FILES = examples(_FILE)
PROGRAMS = [(page, *block) for page, blocks in examples(_PYTHON).items() for block in blocks]


def commands(block: str) -> Iterator[tuple[str, list[str]]]:
    """The commands of a block, each with the lines that it should print."""
    for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
        command, *lines = part.rstrip("\n").split("\n")
        while command.endswith("\\"):
            command, lines = command[:-1] + lines[0], lines[1:]
        yield command, lines


def test_there_are_examples() -> None:
    assert len(EXAMPLES) > 3
    assert len(PROGRAMS) > 1


@pytest.mark.parametrize("page", EXAMPLES)
def test_the_examples_of_a_page_print_what_it_shows(
    page: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TZ", "UTC")
    # Tests that run side by side are told of a terminal that they don't have.
    monkeypatch.delenv("COLUMNS", raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    caches = {name: unpack(name, tmp_path) for name in REAL_CACHES}
    for name, content in FILES.get(page, []):
        (tmp_path / name).write_text(content, encoding="utf-8")
    for name, block in EXAMPLES[page]:
        (cache,) = [root for known, root in caches.items() if known == name]
        monkeypatch.setenv("FASTPRUNE_IMAGE_PATH", str(cache))
        for command, lines in commands(block):
            words = shlex.split(command.replace(_SHOWN, str(cache)), comments=True)
            if words[0] != "fastprune":
                continue
            run(words[1:])
            printed = capsys.readouterr()
            output = (printed.err + printed.out).replace(str(cache), _SHOWN)
            assert_shows(lines, output.splitlines(), f"{page}: {command}")


def run(words: list[str]) -> None:
    """Runs the program in this process, which is quicker; as `fastprune.cli.app.run` does."""
    try:
        # Without workers it prints the same.
        typer_program().main(["--jobs", "1", *words], prog_name="fastprune", standalone_mode=False)
    except typer.BadParameter as error:
        say_usage_error(error)


@pytest.mark.parametrize(("page", "name", "program", "shown"), PROGRAMS)
def test_a_program_in_a_page_prints_what_it_shows(
    page: str,
    name: RealCache,
    program: str,
    shown: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    cache = str(unpack(name, tmp_path))
    monkeypatch.chdir(tmp_path)
    exec(compile(program.replace(_SHOWN, cache), page, "exec"), {})
    assert_shows(shown.splitlines(), capsys.readouterr().out.splitlines(), page)
