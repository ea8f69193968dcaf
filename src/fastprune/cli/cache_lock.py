"""The lock on the cache, as commands take it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from fastprune.cli.messages import facts, log


@contextmanager
def locked(root: str, wait: float, *, no_lock: bool) -> Iterator[str]:
    """Holds the lock on a cache; warns if it goes on without a lock.

    Args:
        root: Path of the cache.
        wait: Seconds to wait for another fastprune to end.
        no_lock: The value of --no-lock.

    Yields:
        Why the cache is not locked, for the report; empty if it is.

    Raises:
        FastpruneError: See `fastprune.guard.lock.cache_lock`.
    """
    from fastprune.guard.lock import cache_lock

    with cache_lock(root, wait, no_lock=no_lock) as unlocked:
        if unlocked:
            log.warning(
                "%s is not locked: %s; no other fastprune may work on it now",
                root,
                unlocked,
                extra=facts(path=root, reason=unlocked),
            )
        yield unlocked
