"""What a scan found that the user should know of, though it stops nothing."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

from fastprune.cli.messages import facts, log
from fastprune.quantities import format_bytes, format_count

if TYPE_CHECKING:
    from fastprune.index import CacheIndex
    from fastprune.report import PruneReport

_MOST_NAMED = 5


def warn_about(index: CacheIndex) -> None:
    """Writes warnings about a scanned cache to the messages."""
    from fastprune.times import BAD_TIME

    for path, reason in index.faults:
        log.warning("%s can't be read: %s", path, reason, extra=facts(path=path, reason=reason))
    if index.foreign:
        named = ", ".join(index.foreign[:_MOST_NAMED])
        more = ", ..." if len(index.foreign) > _MOST_NAMED else ""
        log.warning(
            "%s in the cache that do not belong to it, left alone: %s%s",
            format_count(len(index.foreign), "file or folder", "files or folders"),
            named,
            more,
        )
    malformed = int((index.created == BAD_TIME).sum())
    if malformed:
        log.warning(
            "%s a malformed created time; no date selects them",
            format_count(malformed, "manifest has", "manifests have"),
        )
    missing = len(index.blob_digests) - index.blobs_present
    if missing:
        log.warning(
            "%s by manifests but missing",
            format_count(missing, "blob is needed", "blobs are needed"),
        )
    if index.vanished:
        log.warning(
            "%s while the cache was read",
            format_count(index.vanished, "manifest vanished", "manifests vanished"),
        )


def warn_of_shortfall(report: PruneReport) -> None:
    """Warns of a size target that is missed although everything that may go went."""
    if report.shortfall and not report.exit_code:
        log.warning(
            "the size target is missed by %s: nothing else may go by these options",
            format_bytes(report.shortfall),
        )


def warn_of_undurable(root: str, folders: Sequence[str]) -> None:
    """Warns of folders whose file system can't make anything durable."""
    if folders:
        log.warning(
            "the file system of %s can't make changes durable (fsync) in: %s; after a power cut, "
            "run 'fastprune verify' on this cache",
            root,
            ", ".join(folders),
            extra=facts(path=root, not_durable=list(folders)),
        )


def warn_of_servers(root: str) -> None:
    """Warns of servers that run on the cache: what was read may be old by now."""
    if not _anything_serves():
        return
    from fastprune.guard import running_servers

    for server in running_servers(root):
        log.warning("a server seems to run on this cache: process %s: %s", *server)


def _anything_serves() -> bool:
    """Whether any process has `serve` among its arguments; far cheaper than to ask for all."""
    try:
        pids = [name for name in os.listdir("/proc") if name.isdigit()]
    except OSError:
        return True
    for pid in pids:
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as file:
                if b"serve" in file.read().split(b"\0"):
                    return True
        except OSError:
            continue
    return False
