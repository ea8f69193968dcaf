"""From when on a blob must have been verified if its content is not to be read again.

Stage: rim. Input: what is asked for, a folder for state. Output: a `KeptFile`. I/O: asks about the
cache and the file system. Without numpy: it is asked before workers are started.
"""

from __future__ import annotations

import logging
import math
from datetime import datetime
from typing import TYPE_CHECKING, Literal

from fastprune.errors import UsageError
from fastprune.layouts.layout import Layout
from fastprune.scanning.kept_file import KeptFile, why_not_kept
from fastprune.scanning.store import VERIFIED

if TYPE_CHECKING:
    from fastprune.scanning.memory import StateFolder

LAST: Literal["last"] = "last"
Since = datetime | Literal["last"] | None
"""From when on a blob must have been verified if it is not to be read again: a time (without a
zone, that of this machine); `last` for the beginning of the series that the last run belongs to;
None if all are to be read."""

_log = logging.getLogger("fastprune")


def check_since(since: Since, folder: StateFolder | None, now: float) -> None:
    """Checks that what is asked for makes sense.

    Blobs are remembered in the folder, if there is one. `now` is in seconds since the epoch.

    Raises:
        UsageError: It makes none.
    """
    if since is None:
        return
    if folder is None:
        raise UsageError(
            "--content-since: there is no folder that remembers what was verified; name one with "
            "--state-dir"
        )
    if folder.rescan:
        raise UsageError("--rescan reads every blob, --content-since does not: give one of them")
    if isinstance(since, datetime) and seconds_of(since) > now:
        raise UsageError(f"--content-since {since.isoformat()}: this is in the future")


def seconds_of(moment: datetime) -> int:
    """Whole seconds from the epoch to a moment, or to right after it.

    Raises:
        UsageError: The system can't tell.
    """
    try:
        return math.ceil(moment.timestamp())
    except (ValueError, OverflowError):
        raise UsageError(f"--content-since {moment.isoformat()}: this is too long ago") from None


def say_why_not(reason: str, *, wanted: bool) -> None:
    """Says why nothing is remembered: as a warning if something was wanted from before."""
    if wanted:
        _log.warning("--content-since: every blob is read: %s", reason)
    else:
        _log.debug("what was verified is not remembered: %s", reason)


def file_of_checks(
    root: str, layout: Layout, folder: StateFolder | None, *, wanted: bool
) -> KeptFile | None:
    """Where to remember which blobs of a cache were found sound; None if it can't be.

    `wanted` says whether something is to be remembered from before.

    Raises:
        UsageError: The folder for state lies in the cache.
    """
    if folder is None:
        return None
    if reason := why_not_kept(root, layout, folder.path):
        say_why_not(reason, wanted=wanted)
        return None
    try:
        return KeptFile(root, layout, folder.path, VERIFIED)
    except OSError as error:
        say_why_not(f"{root}: {error.strerror}", wanted=wanted)
        return None
