"""What is refused: the delete limits of a command, and the JSON document of an error.

The document is described in docs/schemas/refusal.schema.json.
"""

from __future__ import annotations

from typing import Any

from fastprune.cli.options import GlobalOptions
from fastprune.cli.prune_options import DeleteLimitOptions
from fastprune.cli.session import image_path_of, write_json
from fastprune.delete_limits import DeleteLimits
from fastprune.errors import DeleteLimitError, FastpruneError, UnreadableManifestsError
from fastprune.quantities import parse_size

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


def delete_limits_of(options: DeleteLimitOptions) -> DeleteLimits:
    """What may go at most, as the options say.

    Raises:
        UsageError: A value can't be used.
    """
    size = options.max_delete_size
    limits = DeleteLimits(
        count=options.max_delete_count,
        size=None if size is None else parse_size(size, "--max-delete-size"),
        percent=options.max_delete_percent,
        allow_remove_all=options.allow_remove_all,
    )
    limits.check()
    return limits


def refuse(command: str, options: GlobalOptions, error: FastpruneError) -> None:
    """Prints the document of an error, which nothing was printed before.

    Args:
        command: The name of the command.
        options: The global options.
        error: What went wrong.
    """
    from fastprune.report import exceeded_items

    faults = error.faults if isinstance(error, UnreadableManifestsError) else ()
    exceeded = error.exceeded if isinstance(error, DeleteLimitError) else ()
    write_json(
        {
            "version": JSON_VERSION,
            "command": command,
            "image_path": image_path_of(options),
            "error": str(error),
            "hint": error.hint or None,
            "exit_code": error.exit_code,
            "corrupt": [{"path": path, "reason": reason} for path, reason in faults],
            "exceeded": exceeded_items(exceeded),
        }
    )
