"""What is refused as unsafe: the delete limits of a command, and what it says of a refusal."""

from __future__ import annotations

from fastprune.cli.prune_options import DeleteLimitOptions
from fastprune.cli.session import Session
from fastprune.delete_limits import DeleteLimits
from fastprune.errors import DeleteLimitError, FastpruneError, UnreadableManifestsError
from fastprune.quantities import parse_size

REFUSALS = (UnreadableManifestsError, DeleteLimitError)


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


def refusal(session: Session, command: str, error: FastpruneError) -> dict[str, object]:
    """The JSON document of a command that was refused as unsafe."""
    from fastprune.report import exceeded_items

    faults = error.faults if isinstance(error, UnreadableManifestsError) else ()
    exceeded = error.exceeded if isinstance(error, DeleteLimitError) else ()
    return {
        "version": 1,
        "command": command,
        "image_path": session.image_path,
        "error": str(error),
        "exit_code": error.exit_code,
        "corrupt": [{"path": path, "reason": reason} for path, reason in faults],
        "exceeded": exceeded_items(exceeded),
    }
