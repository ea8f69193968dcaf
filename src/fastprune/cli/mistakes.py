"""What is said of a command line that can't be parsed: in the words of all other errors."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from enum import StrEnum
from typing import Any, TypeVar

from fastprune.cli.messages import facts, log, set_up_messages
from fastprune.cli.options import Color, GlobalOptions, LogFormat

Choice = TypeVar("Choice", bound=StrEnum)

# What the parser calls types, and what people call them.
_TYPES = (
    (re.compile(r"is not a valid int(eger)?( range)?"), "is not a whole number"),
    (re.compile(r"is not a valid float( range)?"), "is not a number"),
    (re.compile(r"is not in the range (\S+)<=x<=(\S+)"), r"is not from \1 to \2"),
    (re.compile(r"is not in the range x>=(\S+)"), r"is less than \1"),
    (
        re.compile(r"unexpected extra argument(?:\(s\))? \((.*)\)"),
        r"what does not belong there: \1",
    ),
)


def say_mistake(error: Any) -> int:
    """Says what is wrong with the command line, and gives the exit code.

    Args:
        error: What the parser raised: a usage error of click, or of typer's own copy of it.
    """
    # Nothing is known of the options, but what is said should look as it was asked for.
    set_up_messages(
        GlobalOptions(
            log_format=_asked_for("--log-format", LogFormat, sys.argv),
            color=_asked_for("--color", Color, sys.argv),
        )
    )
    code = int(error.exit_code)
    context = getattr(error, "ctx", None)
    path = context.command_path if context else "fastprune"
    log.error(
        "%s",
        in_our_words(error.format_message()),
        extra=facts(exit_code=code, hint=f"'{path} --help' shows what there is"),
    )
    return code


def in_our_words(message: str) -> str:
    """A message of the parser as the others are: no capital, no full stop, plain words."""
    for pattern, words in _TYPES:
        message = pattern.sub(words, message)
    return message[:1].lower() + message[1:].removesuffix(".")


def _asked_for(option: str, choices: type[Choice], arguments: Sequence[str]) -> Choice | None:
    """The last value that an option seems to be given."""
    found = None
    for argument, following in zip(arguments, [*arguments[1:], ""], strict=True):
        name, equals, value = argument.partition("=")
        value = value if equals else following
        if name == option and value in list(choices):
            found = choices(value)
    return found
