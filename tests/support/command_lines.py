"""Checks whether the program accepts a command line, without running it."""

from __future__ import annotations

from typing import Any

import typer
from tools.command_tree import typer_program


def parse(words: list[str]) -> str:
    """Parses a command line.

    Args:
        words: The words after `fastprune`.

    Returns:
        The name of the command; empty for none.

    Raises:
        UsageError: typer's error: the program does not accept it.
    """
    command: Any = typer_program()
    context = typer.Context(command, info_name="fastprune")
    path: list[str] = []
    while isinstance(command, typer.core.TyperGroup):
        _, words, _ = command.make_parser(context).parse_args(words)
        if not words:
            return " ".join(path)
        name, command, words = command.resolve_command(context, words)
        path.append(name or "")
        context = typer.Context(command, info_name=name, parent=context)
    command.parse_args(context, words)
    return " ".join(path)
