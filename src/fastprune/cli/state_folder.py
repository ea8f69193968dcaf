"""Where scans are remembered: options and environment to a `StateFolder`."""

from __future__ import annotations

import dataclasses
import os
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from fastprune.cli.headings import REMEMBERED
from fastprune.cli.options import NOWHERE, flag, leads_nowhere, option
from fastprune.cli.user_folders import user_folder
from fastprune.errors import UsageError

if TYPE_CHECKING:
    from fastprune.scanning.memory import StateFolder

STATE_VARIABLE = "FASTPRUNE_STATE_DIR"
ROOTS_FOLDER = "/var/cache/fastprune"


def _state_dir_option(text: str) -> Any:
    """--state-dir, with what is remembered there."""
    # Not typer's envvar: a variable that is set but empty means nowhere.
    return option(
        "--state-dir DIR",
        REMEMBERED,
        f"{text}; '' for nowhere. Else ${STATE_VARIABLE}, else fastprune/ in the user's cache "
        f"folder; as root {ROOTS_FOLDER}.",
        may_be_empty=True,
    )


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class StateOptions:
    """Where a command that scans remembers what it read."""

    state_dir: str | None = _state_dir_option(
        "Remember here what was read, so that the next scan reads only what changed"
    )
    rescan: bool = flag("--rescan", REMEMBERED, "Read every manifest again, and remember it anew.")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class VerifiedOptions:
    """Where a command that reads blobs remembers which are sound."""

    state_dir: str | None = _state_dir_option(
        "With --content: remember here which blobs were found sound, for --content-since"
    )
    rescan: bool = flag(
        "--rescan", REMEMBERED, "Read every blob that is asked for: not with --content-since."
    )


def state_folder(options: StateOptions | VerifiedOptions, image_path: str) -> StateFolder | None:
    """The folder for state that the options or the environment name; None for none.

    Raises:
        UsageError: The path is relative, and the working folder was deleted.
    """
    from fastprune.scanning.memory import StateFolder

    path, named_by = options.state_dir, "--state-dir"
    if path is None:
        path, named_by = os.environ.get(STATE_VARIABLE), f"${STATE_VARIABLE}"
    if path is None:
        path = _usual_folder(image_path)
    elif path and leads_nowhere(path):
        raise UsageError(f"{named_by} {path}: {NOWHERE}; give an absolute path")
    return StateFolder(path, rescan=options.rescan) if path else None


def _usual_folder(image_path: str) -> str:
    """The folder if nobody names one; empty if there is none, or if it would be in the cache."""
    from fastprune.cli.messages import log
    from fastprune.whole_files import lies_in

    path = ROOTS_FOLDER if os.geteuid() == 0 else user_folder("XDG_CACHE_HOME", ".cache")
    # A folder that somebody named is refused there. Nobody named this one.
    with suppress(OSError):
        if path and lies_in(path, image_path):
            log.debug("the scan is not remembered: %s is in the cache", path)
            return ""
    return path
