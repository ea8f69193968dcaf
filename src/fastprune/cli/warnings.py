"""What a scan found that the user should know of, though it stops nothing."""

from __future__ import annotations

from fastprune.cli.session import log
from fastprune.index import CacheIndex
from fastprune.quantities import format_count
from fastprune.times import BAD_TIME

_MOST_NAMED = 5


def warn_about(index: CacheIndex) -> None:
    """Writes warnings about a scanned cache to the messages."""
    for path, reason in index.faults:
        log.warning("%s can't be read: %s", path, reason)
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
