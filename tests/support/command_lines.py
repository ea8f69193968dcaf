"""Whether something is a command line of the program, without running it."""

from __future__ import annotations

from typing import Any

import typer
from tools.command_tree import typer_program


def parse(words: list[str]) -> str:
    """Parses a command line.

    Args:
        words: What stands after `fastprune`.

    Returns:
        The name of the command; empty for none.

    Raises:
        UsageError: Of typer's: it is no command line of the program.
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
