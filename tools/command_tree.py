"""The commands and options of the program, as plain values.

Input: the typer program, with all its commands registered. Output: `Program`. The
reference, the man page and the tests that hold documents to the program start here.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

import typer
import typer.core
import typer.main

from fastprune.cli.app import COMMANDS, app
from fastprune.cli.headings import GLOBAL, HEADINGS

GLOBAL_PANEL = GLOBAL


@dataclass(frozen=True, slots=True)
class Option:
    """An option of a command.

    Attributes:
        names: All its names, the one that turns it off included, in the order of `--help`.
        metavar: The placeholder of its value; empty for a flag.
        text: Its help.
        default: The value if it isn't given; empty if the help names it or there is none.
        panel: The heading above it in `--help`.
    """

    names: tuple[str, ...]
    metavar: str
    text: str
    default: str
    panel: str


@dataclass(frozen=True, slots=True)
class Argument:
    """An argument of a command: how it is written, and its help."""

    metavar: str
    text: str


@dataclass(frozen=True, slots=True)
class Command:
    """A command, or a group of commands.

    Attributes:
        path: Its name, after those of the groups that it is in; empty for the program.
        paragraphs: Its help.
        arguments: In their order.
        options: In the order of `--help`, without `--help`.
        commands: The commands of a group.
        examples: Command lines that its help ends with.
    """

    path: tuple[str, ...]
    paragraphs: tuple[str, ...]
    arguments: tuple[Argument, ...]
    options: tuple[Option, ...]
    commands: tuple[Command, ...]
    examples: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The words that are typed for it, without the name of the program."""
        return " ".join(self.path)

    def own_options(self) -> tuple[Option, ...]:
        """The options that it has besides the global ones."""
        return tuple(option for option in self.options if option.panel != GLOBAL_PANEL)

    def own_headings(self) -> dict[str, tuple[Option, ...]]:
        """The same, by heading, in the order of `--help`."""
        return {
            heading: found
            for heading in HEADINGS
            if (found := tuple(one for one in self.own_options() if one.panel == heading))
        }

    def leaves(self) -> Iterator[Command]:
        """The commands that do something, itself or those of the group."""
        if not self.commands:
            yield self
        for command in self.commands:
            yield from command.leaves()


@cache
def typer_program() -> typer.core.TyperGroup:
    """The program with all its commands, as typer parses it."""
    for name in COMMANDS:
        importlib.import_module(f"fastprune.cli.{name}")
    program = typer.main.get_command(app)
    assert isinstance(program, typer.core.TyperGroup)
    # In the order of `--help`, whichever module was imported first.
    program.commands = {name: program.commands[name] for name in COMMANDS}
    return program


def read_program() -> Command:
    """Reads all commands of the program."""
    return _command(typer_program(), ())


def _command(
    command: typer.core.TyperCommand | typer.core.TyperGroup, path: tuple[str, ...]
) -> Command:
    context = typer.Context(command, info_name=path[-1] if path else "fastprune")
    return Command(
        path=path,
        paragraphs=_paragraphs(command.help or ""),
        arguments=tuple(
            Argument(parameter.make_metavar(context), getattr(parameter, "help", None) or "")
            for parameter in command.params
            if isinstance(parameter, typer.core.TyperArgument)
        ),
        options=tuple(
            _option(parameter, context)
            for parameter in command.params
            if isinstance(parameter, typer.core.TyperOption) and not parameter.hidden
        ),
        commands=tuple(
            _command(child, (*path, name))
            for name, child in getattr(command, "commands", {}).items()
        ),
        examples=tuple((command.epilog or "").splitlines()),
    )


def _paragraphs(text: str) -> tuple[str, ...]:
    return tuple(" ".join(paragraph.split()) for paragraph in inspect.cleandoc(text).split("\n\n"))


def _option(option: typer.core.TyperOption, context: typer.Context) -> Option:
    return Option(
        names=(*option.opts, *option.secondary_opts),
        # click puts the names of a choice in angle brackets.
        metavar="" if option.is_flag else option.make_metavar(context).strip("<>"),
        text=" ".join((option.help or "").split()),
        default=_default(option),
        panel=getattr(option, "rich_help_panel", None) or "",
    )


def _default(option: typer.core.TyperOption) -> str:
    value: Any = option.default
    # A flag that is off says nothing.
    if value is None or value is False or value == "" or option.is_flag:
        return ""
    return str(value)
