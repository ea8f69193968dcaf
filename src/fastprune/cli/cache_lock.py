"""The cache as commands hold it while they change it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from fastprune.cli.messages import facts, log

if TYPE_CHECKING:
    from fastprune.cli.session import Session
    from fastprune.deletion.held_cache import HeldCache
    from fastprune.guard.exclusive import Exclusion
    from fastprune.guard.server_findings import ServerFinding
    from fastprune.server.client import ServerClient


def exclusion_of(
    lock_wait: str | None,
    *,
    no_lock: bool,
    force: bool = False,
    trash_only: bool = False,
    server: ServerClient | None = None,
) -> Exclusion:
    """How others are kept away, as the options say; see `Exclusion`."""
    from fastprune.cli.option_values import seconds_of
    from fastprune.guard.exclusive import Exclusion

    wait = seconds_of(lock_wait, "--lock-wait") or 0
    named = None if server is None else server.address
    return Exclusion(wait=wait, force=force, no_lock=no_lock, trash_only=trash_only, named=named)


@contextmanager
def held(session: Session, exclusion: Exclusion) -> Iterator[HeldCache]:
    """Holds the cache, as `fastprune.guard.exclusive.hold` does.

    Says what --force overrides, and if it has to do without the lock.
    """
    from fastprune.deletion.held_cache import held_cache

    with held_cache(session.reader(), exclusion, overriding=_say_overridden) as cache:
        if cache.unlocked:
            log.warning(
                "%s is not locked: %s; no other fastprune may work on it now",
                session.image_path,
                cache.unlocked,
                extra=facts(path=session.image_path, reason=cache.unlocked),
            )
        yield cache


def _say_overridden(servers: tuple[ServerFinding, ...]) -> None:
    from fastprune.guard.server_findings import in_words

    for server in servers:
        log.warning("--force goes on although %s", in_words([server], "this cache"))
