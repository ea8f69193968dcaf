"""Writes the reference pages from the program: commands, options, errors, exit codes.

    python -m tools.reference            # rewrite them: make reference
    python -m tools.reference --check    # only compare; exit code 1 if they differ

Input: the command tree and `fastprune.errors`. Output: the files of `pages()`. A test of
`make test` compares them, so that the committed pages are up to date.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path

from fastprune.cli.headings import HEADINGS
from fastprune.errors import EXIT_CODES
from tools.command_tree import GLOBAL_PANEL, Command, Option, read_program
from tools.error_tree import ErrorClass, read_errors
from tools.manpage import man_page
from tools.public_names import stub

ROOT = Path(__file__).resolve().parents[1]
_GENERATED = (
    "<!-- Made from the program by 'make reference': change the program, not this file. -->"
)


def pages() -> dict[str, str]:
    """The text of every generated page, by path below the root of the repository."""
    return {
        "docs/reference/commands.md": commands_page(read_program()),
        "docs/reference/errors.md": errors_page(read_errors()),
        "docs/man/fastprune.1": man_page(read_program()),
        "src/fastprune/__init__.pyi": stub(),
    }


def commands_page(program: Command) -> str:
    """The command-line reference.

    Options that several commands share are described once, under their title.
    """
    leaves = tuple(program.leaves())
    shared = _shared_panels(leaves)
    lines = [
        "# Command line",
        "",
        _GENERATED,
        "",
        "    fastprune [GLOBAL OPTIONS] COMMAND [OPTIONS]",
        "",
        *_paragraphs(program.paragraphs),
        "| command | does |",
        "| --- | --- |",
        *(
            f"| [`{leaf.name}`](#{_anchor(leaf)}) | {_cell(leaf.paragraphs[0])} |"
            for leaf in leaves
        ),
        "",
        "What every option does is also shown by `fastprune COMMAND --help` (`-h`).",
        "Exit codes are on the page [Errors and exit codes](errors.md).",
        "",
        f"## {GLOBAL_PANEL}",
        "",
        "They work before and after the command; after it wins.",
        "",
        *_table(leaves[0].options, GLOBAL_PANEL),
        "",
        "These work before the command only:",
        "",
        *_option_table(_only_before_the_command(program, leaves)),
        "",
    ]
    for panel, options in shared.items():
        lines += [f"## {panel}", "", *_option_table(options), ""]
    for leaf in leaves:
        lines += _command_section(leaf, shared)
    return "\n".join(lines).rstrip() + "\n"


def errors_page(errors: Iterable[ErrorClass]) -> str:
    """The exit codes, and each class of errors with its exit code and its hint."""
    lines = [
        "# Errors and exit codes",
        "",
        _GENERATED,
        "",
        "## Exit codes",
        "",
        "| code | meaning |",
        "| --- | --- |",
        *(f"| {code} | {_cell(meaning)} |" for code, meaning in EXIT_CODES.items()),
        "",
        "## Errors",
        "",
        "The command line prints the message and, where there is one, the hint on stderr. The",
        "[library](../library.md) raises the class; all are subclasses of `FastpruneError`.",
        "What to do about a message is on the page [Troubleshooting](../troubleshooting.md).",
        "",
        "| class | exit code | meaning | hint |",
        "| --- | --- | --- | --- |",
        *(
            f"| `{error.name}` | {error.exit_code} | {_cell(error.meaning)} | {_cell(error.hint)} |"
            for error in errors
        ),
    ]
    return "\n".join(lines) + "\n"


def _shared_panels(leaves: Iterable[Command]) -> dict[str, tuple[Option, ...]]:
    """Options that more than one command has, by heading."""
    panels: dict[str, dict[Option, int]] = {heading: {} for heading in HEADINGS}
    for leaf in leaves:
        for option in leaf.own_options():
            if option.panel:
                counts = panels[option.panel]
                counts[option] = counts.get(option, 0) + 1
    shared: dict[str, tuple[Option, ...]] = {}
    for panel, counts in panels.items():
        # Of options with the same name but another meaning, the first is described here.
        by_name: dict[str, Option] = {}
        for option, count in counts.items():
            if count > 1:
                by_name.setdefault(option.names[0], option)
        if by_name:
            shared[panel] = tuple(by_name.values())
    return shared


def _only_before_the_command(program: Command, leaves: Iterable[Command]) -> list[Option]:
    everywhere = {option.names for leaf in leaves for option in leaf.options}
    return [option for option in program.options if option.names not in everywhere]


def _command_section(leaf: Command, shared: dict[str, tuple[Option, ...]]) -> list[str]:
    arguments = "".join(f" {argument.metavar}" for argument in leaf.arguments)
    lines = [
        f"## fastprune {leaf.name}",
        "",
        f"    fastprune {leaf.name} [OPTIONS]{arguments}",
        "",
        *_paragraphs(leaf.paragraphs),
    ]
    if leaf.arguments:
        lines += ["| argument | meaning |", "| --- | --- |"]
        lines += [f"| {_code(one.metavar)} | {_cell(one.text)} |" for one in leaf.arguments]
        lines.append("")
    for heading, options in leaf.own_headings().items():
        described = shared.get(heading, ())
        names = [option.names[0] for option in options if option in described]
        if names:
            listed = ", ".join(f"`{name}`" for name in names)
            lines += [f"[{heading}](#{_slug(heading)}): {listed}.", ""]
        own = [option for option in options if option not in described]
        if own:
            lines += [*([] if names else [f"{heading}:", ""]), *_option_table(own), ""]
    if leaf.examples:
        lines += ["Examples:", "", *(f"    {example}" for example in leaf.examples), ""]
    return lines


def _table(options: Iterable[Option], panel: str) -> list[str]:
    return _option_table(option for option in options if option.panel == panel)


def _option_table(options: Iterable[Option]) -> list[str]:
    lines = ["| option | meaning |", "| --- | --- |"]
    for option in options:
        *first, last = option.names
        names = ", ".join(map(_code, (*first, f"{last} {option.metavar}".rstrip())))
        default = f" Default: {_code(option.default)}." if option.default else ""
        lines.append(f"| {names} | {_cell(option.text)}{default} |")
    return lines


def _paragraphs(paragraphs: Iterable[str]) -> list[str]:
    return [line for paragraph in paragraphs for line in (_text(paragraph), "")]


def _text(text: str) -> str:
    """Text that Markdown shows as it is."""
    for character in "\\`*_<[":
        text = text.replace(character, f"\\{character}")
    return text


def _cell(text: str) -> str:
    return _text(text).replace("|", "\\|")


def _code(text: str) -> str:
    """Text as code. Vertical lines are escaped: on GitHub they would end the cell of a table."""
    if "|" in text:
        return f"<code>{text.replace('|', '&#124;')}</code>"
    return f"`{text}`"


def _anchor(leaf: Command) -> str:
    return _slug(f"fastprune {leaf.name}")


def _slug(title: str) -> str:
    """The anchor that mkdocs and GitHub give a title of plain words."""
    kept = "".join(one for one in title.lower() if one.isalnum() or one in " -")
    return kept.replace(" ", "-")


def outdated() -> list[str]:
    """Paths of pages that differ from the program."""
    return [
        path
        for path, text in pages().items()
        if not (ROOT / path).exists() or (ROOT / path).read_text(encoding="utf-8") != text
    ]


def main() -> int:
    """Writes the pages, or compares them."""
    if sys.argv[1:] == ["--check"]:
        for path in (different := outdated()):
            print(f"{path} differs from the program: run make reference", file=sys.stderr)
        return bool(different)
    for path, text in pages().items():
        (ROOT / path).parent.mkdir(parents=True, exist_ok=True)
        (ROOT / path).write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
