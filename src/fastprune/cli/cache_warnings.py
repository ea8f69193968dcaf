"""Warnings about a cache: they don't stop a command."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from fastprune.cli.messages import facts, log
from fastprune.text.quantities import format_bytes, format_count

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from fastprune.cli.server_config import ServerConfig
    from fastprune.guard.server_findings import ServerFinding
    from fastprune.index.cache_index import CacheIndex
    from fastprune.report.prune_report import PruneReport
    from fastprune.server.client import ServerClient

_MOST_NAMED = 5


def warn_about(index: CacheIndex) -> None:
    """Writes warnings about a scanned cache to the messages."""
    from fastprune.index.times import BAD_TIME

    for path, reason in index.faults:
        log.warning("%s can't be read: %s", path, reason, extra=facts(path=path, reason=reason))
    foreign = [path for path in index.foreign if path not in index.unknown]
    if foreign:
        named = ", ".join(foreign[:_MOST_NAMED])
        more = ", ..." if len(foreign) > _MOST_NAMED else ""
        log.warning(
            "%s to the cache, left alone: %s%s",
            format_count(
                len(foreign), "file or folder does not belong", "files or folders do not belong"
            ),
            named,
            more,
        )
    malformed = int((index.created == BAD_TIME).sum())
    if malformed:
        log.warning(
            "%s a malformed created time; no date selects them",
            format_count(malformed, "manifest has", "manifests have"),
        )
    missing = len(index.missing_blobs)
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
    """Warns of a size target that is missed although everything went that may go."""
    if report.shortfall and not report.exit_code:
        links = "; files with other hard links free nothing" if report.plan.index.has_links else ""
        log.warning(
            "the size target is missed by %s: nothing else may go by these options%s",
            format_bytes(report.shortfall),
            links,
        )


def warn_of_links(index: CacheIndex, blob_bytes: NDArray[np.int64]) -> None:
    """Warns of blobs with other hard links: removing them frees nothing."""
    linked = index.linked_blobs
    if len(linked):
        its, it = ("its", "it") if len(linked) == 1 else ("their", "them")
        log.warning(
            "%s other hard links: %s %s are counted, and removing %s frees nothing",
            format_count(len(linked), "blob has", "blobs have"),
            its,
            format_bytes(int(blob_bytes[linked].sum())),
            it,
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


def warn_of_servers(root: str, expected: ServerClient | None) -> tuple[ServerFinding, ...]:
    """Warns of servers that run on the cache: they may have changed it since it was read."""
    from fastprune.guard.server_findings import in_words
    from fastprune.guard.servers import servers_in_the_way

    found = servers_in_the_way(root, None if expected is None else expected.address)
    for server in found:
        log.warning("%s", in_words([server], "this cache"))
    return found


def warn_of_own_pruning(root: str, config: ServerConfig | None) -> None:
    """Says once that the server prunes as well, if its configuration file says so."""
    from fastprune.guard.servers import pruning_servers

    file = config.source if config is not None and config.prunes_by_itself else ""
    found = () if file else pruning_servers(root)
    if file or found:
        log.warning(
            "the server prunes by itself as well: %s has pruneConfig with enabled: true",
            file or found[0][1],
            extra=facts(path=root),
        )
