"""How a command refuses: what is said, and the JSON document of an error.

The document is described in docs/schemas/refusal.schema.json.
"""

from __future__ import annotations

from typing import Any

from fastprune.cli.messages import say_error
from fastprune.cli.options import GlobalOptions
from fastprune.cli.session import give_up_stdout, image_path_of, write_json
from fastprune.errors import DeleteLimitError, FastpruneError, UnreadableManifestsError

JSON_VERSION = 1


def wants_json(*options: Any, **own: Any) -> bool:
    """Whether `--format json` was given.

    Args:
        options: The groups of options of a command.
        own: Its own options.
    """
    forms = [getattr(group, "form", None) for group in options]
    # A plan that goes to stdout is the only thing that goes there.
    return "json" in (*forms, own.get("form")) and own.get("output") != "-"


def say_refusal(error: FastpruneError, options: GlobalOptions, *, command: str | None) -> int:
    """Says what went wrong, and gives the exit code.

    Args:
        error: What went wrong.
        options: The global options.
        command: The name of the command, if it is to print a JSON document; None if not.
    """
    if command is not None:
        try:
            _print_document(error, options, command)
        except FastpruneError as unwritten:
            say_error(unwritten)
    say_error(error)
    return error.exit_code


def say_unwritten(error: OSError) -> int:
    """Says that stdout can't be written to, and gives the exit code."""
    try:
        give_up_stdout(error)
    except FastpruneError as unwritten:
        say_error(unwritten)
        return unwritten.exit_code
    return 0


def _print_document(error: FastpruneError, options: GlobalOptions, command: str) -> None:
    """Prints the document of an error, before which nothing was printed."""
    from fastprune.report import exceeded_items

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
