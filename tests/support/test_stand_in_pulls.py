"""The stand-in pulls as the server does, in its order of writing, with what can go wrong."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from .cachebuilder import digest_of, files
from .stand_in import Client, Point, Pulled, Settings, StandIn, Upstream
from .stand_in.holders import read_holder
from .test_stand_in import blob_counts, listed
from .test_stand_in_prunes import prune_exactly

X, Y = "a.example/x:1", "a.example/y:1"


@contextmanager
def pulling(server: StandIn, url: str) -> Iterator[list[Pulled]]:
    """Pulls an image meanwhile; what came of it is in the list afterwards."""
    results: list[Pulled] = []

    def pull() -> None:
        with Client(server.url) as client:
            results.append(client.pull(url))

    thread = threading.Thread(target=pull)
    thread.start()
    try:
        yield results
    finally:
        thread.join(60)


def halted(
    server: StandIn, point: Point, subject: str = ""
) -> tuple[threading.Event, Callable[[], None]]:
    """Halts the server at a point; an event that it is there, and what lets it go on."""
    there, go = threading.Event(), threading.Event()

    def halt() -> None:
        there.set()
        assert go.wait(60)

    server.hooks.once(point, halt, subject)
    return there, go.set


def test_a_pull_by_tag(tmp_path: Path) -> None:
    upstream = Upstream()
    digest = upstream.image(X, layers=[b"one", b"two"], config=b"config")
    blobs = [digest_of(one) for one in (b"one", b"two", b"config")]
    order: list[str] = []
    with StandIn(Settings(tmp_path, upstream)) as server, Client(server.url) as client:
        for point in (Point.PULLED_MANIFEST, Point.PULLED_BLOB, Point.BEFORE_ADDING):
            server.hooks.on(point, order.append)
        assert client.pull(X).is_whole
        assert order == [X, *blobs, X], "manifest, layers, config, memory"
        assert listed(client) == [X]
        assert blob_counts(client) == dict.fromkeys(blobs, 1)
        holder = read_holder((tmp_path / "img" / digest).read_bytes())
        assert (holder.url, holder.created, holder.digest) == (X, holder.pulled, digest)
        # The second time it comes from memory: also by its digest.
        order.clear()
        assert client.pull(X).is_whole
        assert client.pull(f"a.example/x@sha256:{digest}").is_whole
        assert (order, len(listed(client))) == ([], 1)
        server.restart()
        assert (listed(client), blob_counts(client)) == ([X], dict.fromkeys(blobs, 1))


def test_a_pull_of_a_list_and_a_child(tmp_path: Path) -> None:
    upstream = Upstream()
    children = [upstream.image(layers=[name]) for name in (b"amd64", b"arm64")]
    url = "a.example/x:latest"
    digest = upstream.index(url, children=children)
    with StandIn(Settings(tmp_path, upstream)) as server, Client(server.url) as client:
        assert client.pull(url, children=lambda child: child == children[0]).is_whole
        assert listed(client) == [url, f"a.example/x@sha256:{children[0][:10]}"]
        manifests = {one for one in files(tmp_path) if not one.startswith("blobs/")}
        assert manifests == {f"lts/{digest}", f"img/{children[0]}"}


def test_what_the_upstream_does_not_have(tmp_path: Path) -> None:
    upstream = Upstream()
    with StandIn(Settings(tmp_path, upstream)) as server, Client(server.url) as client:
        assert client.pull(X).status == 500
        upstream.image(X, layers=[b"layer"])
        assert client.pull(X).is_whole
        server.settings.air_gapped = True
        server.restart()
        assert client.pull(X).is_whole
        assert client.pull(Y).status == 404


def test_a_blob_of_the_right_size_is_not_fetched(tmp_path: Path) -> None:
    upstream = Upstream()
    upstream.image(X, layers=[b"right", b"short"], config=b"config")
    with StandIn(Settings(tmp_path, upstream)) as server, Client(server.url) as client:
        # As large as the right one, but with another content: nobody compares digests.
        (tmp_path / "blobs" / digest_of(b"right")).write_bytes(b"RIGHT")
        (tmp_path / "blobs" / digest_of(b"short")).write_bytes(b"sh")
        assert client.pull(X).status == -1
        assert (tmp_path / "blobs" / digest_of(b"right")).read_bytes() == b"RIGHT"
        assert (tmp_path / "blobs" / digest_of(b"short")).read_bytes() == b"short"


def test_whoever_asks_meanwhile_waits_for_the_first_one(tmp_path: Path) -> None:
    upstream = Upstream()
    upstream.image(X, layers=[b"layer"])
    pulls: list[str] = []
    with StandIn(Settings(tmp_path, upstream)) as server:
        server.hooks.on(Point.PULLED_MANIFEST, pulls.append)
        there, go = halted(server, Point.PULLED_MANIFEST)
        with pulling(server, X) as first:
            assert there.wait(60)
            with pulling(server, X) as second:
                go()
    assert first[0].is_whole
    assert second[0].is_whole
    assert pulls == [X]


def test_a_pull_that_is_cut_off(tmp_path: Path) -> None:
    """The manifest is there without its config: it is not loaded, and the next pull heals it."""
    upstream = Upstream()
    digest = upstream.image(X, layers=[b"layer"], config=b"config")
    with StandIn(Settings(tmp_path, upstream)) as server, Client(server.url) as client:
        server.hooks.once(Point.HALF_A_BLOB, server.kill_soon, digest_of(b"layer"))
        assert client.pull(X).status == 0
        server.start()
        assert files(tmp_path) == {f"img/{digest}", f"blobs/{digest_of(b'layer')}"}
        assert os.path.getsize(tmp_path / "blobs" / digest_of(b"layer")) == 2
        assert listed(client) == []
        assert client.pull(X).is_whole
        assert listed(client) == [X]


def test_a_prune_of_a_layer_that_a_pull_shares(tmp_path: Path) -> None:
    """Its pull ends in 500, and no later one is whole, until a restart."""
    upstream = Upstream()
    upstream.image(X, layers=[b"shared"], config=b"x")
    upstream.image(Y, layers=[b"shared"], config=b"y")
    with StandIn(Settings(tmp_path, upstream)) as server, Client(server.url) as client:
        assert client.pull(X).is_whole
        there, go = halted(server, Point.BEFORE_ADDING)
        with pulling(server, Y) as results:
            assert there.wait(60)
            prune_exactly(client, X)
            go()
        assert [step.status for step in results[0].steps] == [500]
        assert listed(client) == [Y], "the manifest is in memory all the same"
        assert blob_counts(client) == {digest_of(b"shared"): 1}, "the config was not counted"
        pulled = client.pull(Y)
        # The config was not counted, the layer is gone.
        assert [step.status for step in pulled.steps] == [200, 404]
        blob = f"/v2/a.example/y/blobs/sha256:{digest_of(b'shared')}"
        assert client.get(blob)[0] == 500
        # A prune of it counts the config down to -1. So no later pull makes it 1.
        prune_exactly(client, Y)
        assert [step.status for step in client.pull(Y).steps] == [200, 404]
        server.restart()
        assert client.pull(Y).is_whole


def test_what_was_not_counted_is_counted_down(tmp_path: Path) -> None:
    """A prune of an image whose pull ended in 500 takes a blob from an image that needs it."""
    upstream = Upstream()
    upstream.image(X, layers=[b"one"], config=b"x")
    upstream.image(Y, layers=[b"one", b"two"], config=b"y")
    upstream.image("a.example/z:1", layers=[b"two"], config=b"z")
    with StandIn(Settings(tmp_path, upstream)) as server, Client(server.url) as client:
        assert client.pull(X).is_whole
        assert client.pull("a.example/z:1").is_whole
        there, go = halted(server, Point.BEFORE_ADDING, Y)
        with pulling(server, Y) as results:
            assert there.wait(60)
            prune_exactly(client, X)
            go()
        assert results[0].status == 500
        prune_exactly(client, Y)
        assert client.pull("a.example/z:1").status == 404
        assert f"blobs/{digest_of(b'two')}" not in files(tmp_path)


def test_a_digest_that_was_pulled_before_its_tag_is_counted_for_ever(tmp_path: Path) -> None:
    upstream = Upstream()
    digest = upstream.image(X, layers=[b"layer"], config=b"config")
    with StandIn(Settings(tmp_path, upstream)) as server, Client(server.url) as client:
        assert client.pull(f"a.example/x@sha256:{digest}").is_whole
        assert client.pull(X).is_whole
        assert listed(client) == [X]
        prune_exactly(client, X)
        assert listed(client) == []
        assert set(blob_counts(client).values()) == {1}
        assert files(tmp_path) == {f"blobs/{digest_of(one)}" for one in (b"layer", b"config")}


def test_always_the_latest(tmp_path: Path) -> None:
    upstream = Upstream()
    url = "a.example/x:latest"
    old = upstream.image(url, layers=[b"both", b"old"])
    settings = Settings(tmp_path, upstream, always_latest=True)
    with StandIn(settings) as server, Client(server.url) as client:
        assert client.pull(url).is_whole
        assert client.pull(url).is_whole
        assert set(blob_counts(client).values()) == {1}
        new = upstream.image(url, layers=[b"both", b"new"])
        assert client.pull(url).is_whole
        assert listed(client) == [url]
        left = files(tmp_path)
        assert f"lts/{new}" in left
        assert f"lts/{old}" not in left
        assert len(left) == 4
        assert set(blob_counts(client).values()) == {1}


@pytest.mark.parametrize("name", ["img", "blobs"])
def test_nothing_is_written_aside(tmp_path: Path, name: str) -> None:
    """Files grow in place: whoever looks meanwhile sees them empty or cut off."""
    upstream = Upstream()
    digest = upstream.image(X, layers=[b"layer"])
    seen: list[int] = []
    with StandIn(Settings(tmp_path, upstream)) as server, Client(server.url) as client:
        path = tmp_path / name / (digest if name == "img" else digest_of(b"layer"))
        point = Point.REWRITE if name == "img" else Point.HALF_A_BLOB
        server.hooks.once(point, lambda: seen.append(path.stat().st_size))
        assert client.pull(X).is_whole
    assert seen == ([0] if name == "img" else [2])
