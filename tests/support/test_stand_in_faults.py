"""The stand-in's faults, its hooks, and its ways to end."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from fastprune.guard import servers

from .cachebuilder import CacheBuilder, files
from .stand_in import (
    Answer,
    Client,
    Fault,
    Kind,
    Point,
    Settings,
    StandIn,
    Upstream,
    server_process,
)
from .test_stand_in import listed
from .test_stand_in_prunes import ALL, prune, prune_exactly

X, Y = "a.example/x:1", "a.example/y:1"


@pytest.fixture
def server(builder: CacheBuilder) -> Iterator[StandIn]:
    """A server with two images that share nothing."""
    for url in (X, Y):
        builder.image(url)
    with StandIn(Settings(builder.root, air_gapped=True)) as running:
        yield running


@pytest.fixture
def client(server: StandIn) -> Iterator[Client]:
    with Client(server.url) as one:
        yield one


@pytest.mark.parametrize(
    ("kind", "status", "carried_out"),
    [
        (Kind.SLOW, 200, True),
        (Kind.CUT, 0, True),
        (Kind.SILENT, 0, True),
        (Kind.REFUSED, 0, False),
        (Kind.FAILED, 500, False),
        (Kind.FAILED_AFTER, 500, True),
        (Kind.OTHER, 302, False),
        (Kind.RESTART, 0, False),
        (Kind.RESTART_AFTER, 0, True),
    ],
)
def test_faults(
    server: StandIn, client: Client, kind: Kind, status: int, carried_out: bool
) -> None:
    elsewhere = Answer(302, b"", {"Location": "http://127.0.0.1:1/"})
    server.faults.add(Fault(kind, seconds=0.01, answer=elsewhere))
    query = f"{ALL}&expr=x:1"
    assert prune(client, query)[0] == status
    left = [Y] if carried_out else [X, Y]
    assert listed(client) == left
    assert prune(client, query) == (200, "")
    assert listed(client) == [Y]
    assert [one.split("?")[0] for one in server.requests][:2] == [
        "DELETE /cmd/prune",
        "GET /cmd/manifest/list",
    ]


def test_a_list_that_is_cut_off(server: StandIn, client: Client) -> None:
    server.faults.add(Fault(Kind.CUT, "/cmd/manifest", skip=1))
    assert len(listed(client)) == 2
    assert client.get("/cmd/manifest/list?count=-1") == (0, "")
    assert len(listed(client)) == 2
    server.faults.add(Fault(Kind.FAILED, "/", times=-1))
    assert client.get("/")[0] == client.get("/v2/")[0] == 500
    server.faults.clear()
    assert client.get("/")[0] == 200


def test_between_the_manifest_and_its_blobs(server: StandIn, client: Client) -> None:
    root = server.settings.root
    before = files(root)
    seen: list[set[str]] = []
    server.hooks.once(Point.BETWEEN, lambda: seen.append(before - files(root)))
    prune_exactly(client, X)
    assert [len(one) for one in seen] == [1]
    assert len(before - files(root)) == 2


def test_killed_between_the_manifest_and_its_blobs(server: StandIn, client: Client) -> None:
    root = server.settings.root
    before = files(root)
    server.hooks.once(Point.BETWEEN, server.kill_soon, X)
    assert prune(client, f"{ALL}&expr=x:1") == (0, "")
    server.start()
    gone = before - files(root)
    assert [one.split("/")[0] for one in gone] == ["img"], "its config is left"
    assert listed(client) == [Y]
    assert client.pull(Y).is_whole


def test_stopped_by_a_request(server: StandIn, client: Client) -> None:
    assert client.get("/cmd/stop") == (200, "")
    assert server.stopped.wait(60)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", server.settings.port))
    server.start()
    assert len(listed(client)) == 2


def test_a_stop_lets_a_pull_end(tmp_path: Path) -> None:
    upstream = Upstream()
    upstream.image(X, layers=[b"layer"])
    results = []
    with StandIn(Settings(tmp_path, upstream)) as server:

        def stop() -> None:
            threading.Thread(target=server.stop).start()

        server.hooks.once(Point.PULLED_MANIFEST, stop)
        with Client(server.url) as client:
            results.append(client.request("GET", "/v2/a.example/x/manifests/1")[0])
        server.stopped.wait(60)
    assert results == [200]


def test_as_a_process_it_looks_like_a_server(tmp_path: Path) -> None:
    upstream = Upstream()
    upstream.image(X, layers=[b"layer"])
    root = tmp_path / "cache"
    folder = upstream.save(tmp_path / "upstream")
    with server_process(root, "--upstream", folder) as running:
        with Client(running.url) as client:
            assert client.pull(X).is_whole
            assert listed(client) == [X]
        found = servers.find_servers(str(root))
        assert [(one.pid, one.is_sure) for one in found] == [(running.process.pid, True)]
        running.process.terminate()
        assert running.process.wait(60) == 0
    with server_process(root, "--air-gapped", port=running.port) as again:
        assert again.url == running.url
        with Client(again.url) as client:
            assert client.pull(X).is_whole
            assert client.get("/cmd/stop")[0] == 200
            assert again.process.wait(60) == 0
