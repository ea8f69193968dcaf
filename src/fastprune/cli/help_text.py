"""The layout of `--help`: options under their headings, the global ones last, then examples.

typer shows headings only with rich, whose import takes longer than all of `--help`.
"""

from __future__ import annotations

import textwrap
from typing import Any

import typer.core

from fastprune.cli.headings import GLOBAL, HEADINGS

_WIDEST_NAMES = 30
"""As in click: the help of an option with longer names begins on the next line."""


class _WithExamples:
    """Ends the help with examples: the lines of the epilog."""

    epilog: Any

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        """Writes the examples."""
        if self.epilog:
            with formatter.section("Examples"):
                indent = " " * formatter.current_indent
                for example in self.epilog.splitlines():
                    formatter.write(f"{indent}{example}\n")


class HelpfulCommand(_WithExamples, typer.core.TyperCommand):
    """A command whose help only names the global options; the help of the program explains them."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Writes arguments and options."""
        arguments = [
            record
            for parameter in self.get_params(ctx)
            if parameter.param_type_name == "argument"
            if (record := parameter.get_help_record(ctx)) is not None
        ]
        sections = {"Arguments": arguments} if arguments else {}
        sections |= _rows(self, ctx)
        del sections[GLOBAL]
        _write_rows(formatter, sections)
        _write_names(self, ctx, formatter)


class HelpfulGroup(_WithExamples, typer.core.TyperGroup):
    """The program, or a group of commands: the commands come first."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Writes commands and options; the program explains the global options."""
        self.format_commands(ctx, formatter)
        if ctx.parent is None:
            _write_rows(formatter, {GLOBAL: _rows(self, ctx)[GLOBAL]})
        else:
            _write_names(self, ctx, formatter)


def _rows(command: Any, context: Any) -> dict[str, list[tuple[str, str]]]:
    """The options of a command with their texts, by heading, in the order of the headings."""
    found: dict[str, list[tuple[str, str]]] = {heading: [] for heading in HEADINGS}
    for parameter in command.get_params(context):
        record = parameter.get_help_record(context)
        if record is not None and parameter.param_type_name == "option":
            # Options that typer adds, such as --help, have no heading.
            found[getattr(parameter, "rich_help_panel", None) or GLOBAL].append(record)
    return {heading: rows for heading, rows in found.items() if rows}


def _write_rows(formatter: Any, sections: dict[str, list[tuple[str, str]]]) -> None:
    # The texts of all sections begin in the same column.
    longest = max((len(name) for rows in sections.values() for name, _ in rows), default=0)
    width = min(longest, _WIDEST_NAMES)
    for heading, rows in sections.items():
        with formatter.section(heading):
            formatter.write_dl(
                [(name.ljust(width), text) for name, text in rows], col_max=_WIDEST_NAMES
            )


def _write_names(command: Any, context: Any, formatter: Any) -> None:
    """Writes the global options as git does: names only."""
    names = [_short(name) for name, _ in _rows(command, context)[GLOBAL]]
    with formatter.section(f"{GLOBAL} ('fastprune --help' says what they do)"):
        indent = " " * formatter.current_indent
        # Non-breaking blanks: no line ends between an option and its value.
        text = " ".join(f"[{name}]".replace(" ", "\xa0") for name in names)
        lines = textwrap.wrap(
            text,
            formatter.width,
            initial_indent=indent,
            subsequent_indent=indent,
            break_on_hyphens=False,
            break_long_words=False,
        )
        formatter.write("\n".join(lines).replace("\xa0", " ") + "\n")


def _short(name: str) -> str:
    """The names of an option as in a line of usage."""
    name, choices, _ = name.partition(" <")
    # The description of the option lists its choices.
    value = f" {name.rpartition('-')[2].upper()}" if choices else ""
    return name.replace(", ", "|").replace(" / ", "|") + value
