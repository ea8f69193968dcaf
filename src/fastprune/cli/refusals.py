"""How a command refuses: its message, and the JSON document of an error.

Also the message about a command line that can't be parsed, in the words of all other errors.
The document is described in docs/schemas/refusal.schema.json.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import Any, TypeVar

from fastprune.cli.messages import facts, log, say_error, set_up_messages
from fastprune.cli.options import STDOUT, Color, GlobalOptions, LogFormat
from fastprune.cli.session import give_up_stdout, image_path_of, write_json
from fastprune.errors import DeleteLimitError, FastpruneError, UnreadableManifestsError

JSON_VERSION = 1


def wants_json(groups: Iterable[Any]) -> bool:
    """Whether `--format json` is in one of the groups of options of a command."""
    # If the plan goes to stdout, nothing else may go there.
    return any(
        getattr(group, "form", None) == "json" and getattr(group, "output", None) != STDOUT
        for group in groups
    )


def say_refusal(error: FastpruneError, options: GlobalOptions, *, command: str | None) -> int:
    """Writes the message of an error, and returns the exit code.

    Prints a JSON document as well if the name of the command is given.
    """
    if command is not None:
        try:
            _print_document(error, options, command)
        except FastpruneError as unwritten:
            say_error(unwritten)
    say_error(error)
    return error.exit_code


def say_unwritten(error: OSError) -> int:
    """Writes the message that stdout can't be written to, and returns the exit code."""
    try:
        give_up_stdout(error)
    except FastpruneError as unwritten:
        say_error(unwritten)
        return unwritten.exit_code
    return 0


def _print_document(error: FastpruneError, options: GlobalOptions, command: str) -> None:
    """Prints the document of an error; nothing else was printed before it."""
    from fastprune.report.prune_rendering import exceeded_items

    corrupt = error.items if isinstance(error, UnreadableManifestsError) else []
    exceeded = error.exceeded if isinstance(error, DeleteLimitError) else ()
    write_json(
        {
            "version": JSON_VERSION,
            "command": command,
            "image_path": image_path_of(options),
            "error": str(error),
            "hint": error.hint or None,
            "exit_code": error.exit_code,
            "corrupt": corrupt,
            "exceeded": exceeded_items(exceeded),
        }
    )


Choice = TypeVar("Choice", bound=StrEnum)

# The words of the parser, and plain words for them.
_PARSER_WORDS = (
    (re.compile(r"is not a valid int(eger)?( range)?"), "is not a whole number"),
    (re.compile(r"is not a valid float( range)?"), "is not a number"),
    (re.compile(r"is not in the range (\S+)<=x<=(\S+)"), r"is not from \1 to \2"),
    (re.compile(r"is not in the range x>=(\S+)"), r"is less than \1"),
    (
        re.compile(r"unexpected extra argument(?:\(s\))? \((.*)\)"),
        r"arguments that do not belong there: \1",
    ),
)


def say_usage_error(error: Any) -> int:
    """Writes what is wrong with the command line, and returns the exit code.

    The error is a usage error of click, or of typer's own copy of it.
    """
    # The options were not parsed, but the message should have the format that they ask for.
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
        extra=facts(exit_code=code, hint=f"see '{path} --help'"),
    )
    return code


def in_our_words(message: str) -> str:
    """A message of the parser in our style: no capital, no full stop, plain words."""
    for pattern, words in _PARSER_WORDS:
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
