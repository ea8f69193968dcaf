"""Holds a cache for one fastprune: no server may run on it, but one that is named.

Stage: rim. Input: the path of a cache. Output: a `Hold`, which lasts as long as the context.
I/O: looks at processes, and locks the folder of the cache. All that changes a cache begins here;
nothing else refuses servers or takes the lock.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fastprune.guard import servers
from fastprune.guard.lock import cache_lock
from fastprune.layouts.layout import Layout
from fastprune.reading.folders import check_root

if TYPE_CHECKING:
    from fastprune.guard.named_server import NamedServer
    from fastprune.guard.server_findings import LookForServers, ServerFinding


@dataclass(frozen=True, slots=True)
class Exclusion:
    """How others are kept away from a cache while it is changed.

    Attributes:
        wait: Seconds to wait for another fastprune to end.
        force: Go on although a server seems to run on the cache, or starts meanwhile.
        no_lock: Go on without a lock where the file system can't lock. A cache that another
            process has locked is refused all the same.
        trash_only: Only runs in the trash will be deleted, which no server uses: so servers
            are not looked for, and nothing else can be changed.
        named: The server of `--server`, which may run on the cache; every other is refused.
    """

    wait: float = 0
    force: bool = False
    no_lock: bool = False
    trash_only: bool = False
    named: NamedServer | None = None


@dataclass(frozen=True, slots=True)
class Hold:
    """A cache that is held.

    Attributes:
        root: Path of the cache.
        exclusion: How it is held.
        overridden: Servers that were found and that `force` overrides.
        unlocked: Why the cache is not locked; empty if it is.
    """

    root: str
    exclusion: Exclusion
    overridden: tuple[ServerFinding, ...]
    unlocked: str

    @property
    def look(self) -> LookForServers | None:
        """What looks for servers before each phase; None if they do not matter."""
        if self.exclusion.force or self.exclusion.trash_only:
            return None
        return lambda: servers.servers_in_the_way(self.root, self.exclusion.named)


@contextmanager
def hold(
    root: str,
    layout: Layout,
    exclusion: Exclusion,
    checkpoint: Callable[[], None] = lambda: None,
    *,
    overriding: Callable[[tuple[ServerFinding, ...]], None] = lambda found: None,
) -> Iterator[Hold]:
    """Refuses servers and takes the lock, in this order, before anything is read.

    `checkpoint` is called while it waits for the lock, and raises if the wait is to end. Before it
    waits, `overriding` is told which servers `force` overrides.

    Raises:
        NoCacheError: There is no cache at this path.
        ServerRunningError: A server seems to run on it, or that can't be ruled out.
        LockedError: Another fastprune works on it.
        CantLockError: The file system can't lock, and `no_lock` was not given.
    """
    check_root(root, layout)
    overridden: tuple[ServerFinding, ...] = ()
    if not exclusion.trash_only:
        overridden = servers.refuse_servers(root, force=exclusion.force, named=exclusion.named)
        overriding(overridden)
    with cache_lock(root, exclusion.wait, checkpoint, no_lock=exclusion.no_lock) as unlocked:
        yield Hold(root, exclusion, overridden, unlocked)
