"""One server with an upstream: the stand-in, or a real one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.support.stand_in import Client, Settings, StandIn, Upstream
from tests.support.stand_in.real import PROGRAM, REASON, RealServer
from tests.support.stand_in.registry import Registry

STAND_IN, REAL = "stand-in", "real"
KINDS = (
    STAND_IN,
    pytest.param(REAL, marks=pytest.mark.skipif(not PROGRAM, reason=REASON)),
)
"""The kinds of servers, as values of a parameter; the real one is skipped if there is none."""


@dataclass(frozen=True, slots=True)
class Scene:
    """A server that runs.

    Attributes:
        root: Its cache.
        server: The server.
        upstream: What it pulls from.
        client: A client of it.
        host: The registry of all URLs.
    """

    root: Path
    server: StandIn | RealServer
    upstream: Upstream
    client: Client
    host: str

    def url(self, name: str) -> str:
        """The URL of a name in the upstream."""
        return f"{self.host}/{name}"

    def new_client(self) -> Client:
        """One more client."""
        return Client(self.server.url)


@contextmanager
def scene_of(kind: str, folder: Path) -> Iterator[Scene]:
    """Starts a server of this kind on an empty cache in a folder."""
    root = folder / "cache"
    with ExitStack() as stack:
        server: StandIn | RealServer
        if kind == REAL:
            registry = stack.enter_context(Registry())
            upstream, host = registry.upstream, registry.host
            server = stack.enter_context(RealServer(root, host))
        else:
            upstream, host = Upstream(), "registry.example"
            server = stack.enter_context(StandIn(Settings(root, upstream)))
        client = stack.enter_context(Client(server.url))
        yield Scene(root, server, upstream, client, host)
