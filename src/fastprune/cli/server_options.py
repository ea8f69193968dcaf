"""The server that runs on the cache: options and environment to a client, and what it lists.

What speaks HTTP is imported only if a server is named.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeVar

from fastprune.cli.headings import RUNNING_SERVER
from fastprune.cli.option_values import seconds_of
from fastprune.cli.options import option
from fastprune.cli.signals import run_unless_ended
from fastprune.errors import UsageError

if TYPE_CHECKING:
    from fastprune.cli.session import Session
    from fastprune.index.cache_index import CacheIndex
    from fastprune.scanning.scanner import ScanOptions
    from fastprune.server.client import ServerClient
    from fastprune.server.listing import ServerListing

T = TypeVar("T")

SERVER_VARIABLE = "FASTPRUNE_SERVER"

GRACE_BESIDE_A_SERVER = 86_400.0
"""Seconds that a blob that nothing refers to is spared beside a running server, by default."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ServerOptions:
    """Which server runs on the cache, and how it is asked."""

    # Not typer's envvar: messages say which of the two is wrong.
    server: str | None = option(
        "--server URL",
        RUNNING_SERVER,
        "The server that runs on this cache, as in http://127.0.0.1:8080. It is asked which tags "
        "it knows; a prune is carried out by asking it, so that it need not be stopped. Else "
        f"${SERVER_VARIABLE}.",
    )
    server_ca: str | None = option(
        "--server-ca FILE",
        RUNNING_SERVER,
        "Trust the certificates in this PEM file, for https. Default: those of the system.",
    )
    server_timeout: str | None = option(
        "--server-timeout DUR",
        RUNNING_SERVER,
        "How long an answer of the server may take. Default: 5m.",
    )


def server_of(options: ServerOptions) -> ServerClient | None:
    """The server that the options or the environment name; None for none. Connects to nothing."""
    named_by, url = "--server", options.server
    if url is None:
        named_by, url = f"${SERVER_VARIABLE}", os.environ.get(SERVER_VARIABLE) or None
    seconds = seconds_of(options.server_timeout, "--server-timeout")
    if url is None:
        for name, value in (
            ("--server-ca", options.server_ca),
            ("--server-timeout", options.server_timeout),
        ):
            if value is not None:
                raise UsageError(f"{name}: has no effect without --server; give both")
        return None
    if seconds == 0:
        raise UsageError("--server-timeout: no answer comes in no time; give more")
    from fastprune.server.address import parse_address

    address = parse_address(url, named_by)
    from fastprune.server.client import DEFAULT_TIMEOUT, ServerClient

    timeout = DEFAULT_TIMEOUT if seconds is None else seconds
    return ServerClient(address, ca_file=options.server_ca, timeout=timeout)


def scan_options_of(session: Session, server: ServerClient | None) -> ScanOptions:
    """How the scans of a command are done: with what a server knows now, if there is one.

    Raises:
        NoCacheError: There is no cache: the server is not asked.
        ServerError: The server gives no answer, or one that is not as it should be.
    """
    if server is None:
        return session.scan_options
    session.check_cache()

    async def fetch() -> ServerListing:
        await server.check()
        return await server.listing()

    return dataclasses.replace(session.scan_options, listing=ask(server, fetch))


def check_agreement(index: CacheIndex, server: ServerClient | None) -> None:
    """Makes sure that a server may serve a cache of which nothing is removed now.

    The cache was scanned with what the server lists. Before something is removed, the deletion
    makes sure of it.

    Raises:
        WrongServerError: Its list and the files differ.
        ServerError: The server gives no answer, or one that is not as it should be.
    """
    if server is not None:
        from fastprune.guard.agreement import agree

        ask(server, lambda: agree(server, index))


def ask(server: ServerClient, work: Callable[[], Awaitable[T]]) -> T:
    """Connects to the server, and asks it. Blocking; a signal ends the wait for an answer."""

    async def connected() -> T:
        async with server:
            return await work()

    return run_unless_ended(connected)


def grace_of(
    given: float | None,
    server: ServerClient | None,
    *,
    given_by: str = "--grace",
    otherwise: float = 0,
) -> float:
    """How long blobs that nothing refers to are spared, in seconds.

    Args:
        given: What the options or the policy file say, or None.
        server: The server that runs on the cache; None for none.
        given_by: Which of them says it, for the message.
        otherwise: What counts without a server if no option says anything; beside a server it
            counts as well if it is long enough.

    Raises:
        UsageError: It is too short for a server at work.
    """
    if server is None:
        return otherwise if given is None else given
    from fastprune.deletion.held_cache import LEAST_GRACE

    if given is None:
        return otherwise if otherwise >= LEAST_GRACE else GRACE_BESIDE_A_SERVER
    if given < LEAST_GRACE:
        raise UsageError(
            f"{given_by}: must be at least 1h with --server: a blob that a client is pulling may "
            "look like one that nothing refers to until the pull is complete"
        )
    return given
