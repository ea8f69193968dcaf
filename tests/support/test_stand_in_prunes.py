"""The stand-in prunes as the server does: only what matches, by digest, blobs by its counts."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote

import pytest

from .cachebuilder import CacheBuilder, digest_of, files, snapshot
from .stand_in import Client, Point, Settings, StandIn, Upstream
from .stand_in.http import MOST_HEADER_BYTES
from .stand_in.references import of_url
from .test_stand_in import blob_counts, listed

ALL = "type=pattern&count=-1&dryRun=false"


def prune(client: Client, query: str) -> tuple[int, str]:
    status, body, _ = client.request("DELETE", f"/cmd/prune?{query}")
    return status, body.decode()


def prune_exactly(client: Client, *urls: str) -> None:
    """Prunes these URLs, as the requests of a careful client do."""
    expressions = ",".join(f"^{url.replace('.', '[.]')}$" for url in urls)
    assert prune(client, f"{ALL}&expr={quote(expressions, safe='')}") == (200, "")


def test_a_prune(builder: CacheBuilder) -> None:
    shared = builder.blob(10)
    gone = builder.image("a.example/x:1", layers=[shared, builder.blob(20)])
    builder.image("a.example/x:12", layers=[shared])
    builder.blob(30)
    before = files(builder.root)
    with StandIn(Settings(builder.root, air_gapped=True)) as server, Client(server.url) as client:
        counts = blob_counts(client)
        prune_exactly(client, "a.example/x:1")
        assert listed(client) == ["a.example/x:12"]
        after = blob_counts(client)
        assert client.pull("a.example/x:1").status == 404
        assert client.pull(f"a.example/x@sha256:{gone}").status == 404
        assert client.pull("a.example/x:12").is_whole
    unneeded = {digest for digest in counts if digest not in after}
    # An orphan is not known to it.
    assert before - files(builder.root) == {f"img/{gone}"} | {f"blobs/{one}" for one in unneeded}
    assert len(unneeded) == 2
    assert (counts[shared], after[shared]) == (2, 1)


def test_defaults(builder: CacheBuilder) -> None:
    for number in range(60):
        builder.image(f"a.example/x:{number}")
    before = snapshot(builder.root)
    with StandIn(Settings(builder.root)) as server, Client(server.url) as client:
        # `type` is required; nothing goes without `dryRun=false`; the count is 50.
        assert prune(client, "expr=.&dryRun=false")[0] == 400
        assert prune(client, "type=pattern&expr=.") == (200, "")
        assert prune(client, "type=pattern&expr=.&count=-1&dryRun=true") == (200, "")
        assert snapshot(builder.root) == before
        assert prune(client, "type=pattern&expr=x:&dryRun=False") == (200, "")
        assert len(listed(client)) == 10
        assert prune(client, "type=PATTERN&expr=x:&count=3&dryRun=0") == (200, "")
        assert len(listed(client)) == 7
        # An empty expression matches everything, and so does none.
        assert prune(client, f"{ALL}&count=1") == (200, "")
        assert prune(client, "type=pattern&count=-1&dryRun=false&expr=") == (200, "")
        assert listed(client) == []
    assert files(builder.root) == set()


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("type=size&expr=.", "unable to parse prune params"),
        ("type=pattern&expr=%5B", "unable to parse prune params"),
        ("type=created", "unable to parse prune params"),
        ("type=created&dur=soon", "unable to parse prune params"),
        ("type=pattern&expr=.&dryRun=no", "invalid dry run param: no"),
    ],
)
def test_refused(builder: CacheBuilder, query: str, message: str) -> None:
    builder.image("a.example/x:1")
    before = snapshot(builder.root)
    with StandIn(Settings(builder.root)) as server, Client(server.url) as client:
        dry = "" if "dryRun" in query else "&dryRun=false"
        assert prune(client, f"{query}&count=-1{dry}") == (400, message)
        assert client.request("GET", f"/cmd/prune?{ALL}&expr=.")[0] == 405
        assert client.request("POST", f"/cmd/prune?{ALL}&expr=.")[0] == 405
        assert prune(client, "type=pattern&expr=.&count=x&dryRun=false")[0] == 400
    assert snapshot(builder.root) == before


def test_by_age(builder: CacheBuilder) -> None:
    builder.image("a.example/old:1", created="2024-01-01T00:00:00", pulled="9999-01-01T00:00:00")
    builder.image("a.example/new:1", created="9999-01-01T00:00:00", pulled="2024-01-01T00:00:00")
    builder.image("a.example/none:1", created="", pulled="")
    with StandIn(Settings(builder.root)) as server, Client(server.url) as client:
        assert prune(client, "type=created&dur=30d&count=-1&dryRun=false") == (200, "")
        assert listed(client) == ["a.example/new:1", "a.example/none:1"]
        assert prune(client, "type=accessed&dur=1h30m&count=-1&dryRun=false") == (200, "")
        assert listed(client) == ["a.example/none:1"]


def test_no_expansion(builder: CacheBuilder) -> None:
    child = builder.image(f"a.example/x@sha256:{digest_of('x')}", media="oci")
    builder.index("a.example/x:1", children=[child])
    with StandIn(Settings(builder.root)) as server, Client(server.url) as client:
        prune_exactly(client, "a.example/x:1")
        assert len(listed(client)) == 1
    assert f"img/{child}" in files(builder.root)


def test_one_of_two_tags_takes_the_file(tmp_path: Path) -> None:
    """The other tag lives on in memory, and the next one who asks for it writes the file."""
    upstream = Upstream()
    digest = upstream.image("a.example/x:1", "a.example/x:2", layers=[b"layer"])
    with StandIn(Settings(tmp_path, upstream)) as server, Client(server.url) as client:
        assert client.pull("a.example/x:1").is_whole
        assert client.pull("a.example/x:2").is_whole
        assert set(blob_counts(client).values()) == {2}
        prune_exactly(client, "a.example/x:1")
        assert listed(client) == ["a.example/x:2"]
        assert f"img/{digest}" not in files(tmp_path)
        assert set(blob_counts(client).values()) == {1}
        by_digest = f"a.example/x@sha256:{digest}"
        assert not server.memory.has(of_url(by_digest)), "forgotten as well"
        assert client.pull("a.example/x:2").is_whole
        assert f"img/{digest}" in files(tmp_path)
        server.restart()
        assert listed(client) == ["a.example/x:2"]


def test_latest_goes_from_its_own_folder(builder: CacheBuilder) -> None:
    digest = builder.image("a.example/x:latest")
    builder.tag(digest, "a.example/x:1")
    with StandIn(Settings(builder.root, air_gapped=True)) as server, Client(server.url) as client:
        prune_exactly(client, "a.example/x:latest")
        assert f"lts/{digest}" not in files(builder.root)
        assert f"img/{digest}" in files(builder.root)
        assert client.pull("a.example/x:1").is_whole


def test_latest_that_was_asked_for_by_digest_is_never_forgotten(builder: CacheBuilder) -> None:
    """The entry by digest went to the other map, where a prune does not look for it."""
    layer = builder.blob(10)
    digest = builder.image("a.example/x:latest", layers=[layer])
    with StandIn(Settings(builder.root, air_gapped=True)) as server, Client(server.url) as client:
        by_digest = f"a.example/x@sha256:{digest}"
        assert client.pull(by_digest).is_whole
        prune_exactly(client, "a.example/x:latest")
        assert listed(client) == []
        assert files(builder.root) == set()
        pulled = client.pull(by_digest)
        assert [step.status for step in pulled.steps] == [200, 404]
        assert files(builder.root) == {f"lts/{digest}"}, "a manifest without its blobs"


def test_twins_of_one_url(builder: CacheBuilder) -> None:
    """A list and its child, as `load` writes them: one of them stays, and is back at the start."""
    layer = builder.blob(10)
    child = builder.image("a.example/x:1", layers=[layer])
    parent = builder.index("a.example/x:1", children=[child])
    with StandIn(Settings(builder.root, air_gapped=True)) as server, Client(server.url) as client:
        prune_exactly(client, "a.example/x:1")
        assert listed(client) == []
        last = max(child, parent)
        assert {f"img/{child}", f"img/{parent}"} - files(builder.root) == {f"img/{last}"}
        server.restart()
        assert listed(client) == ["a.example/x:1"]
        prune_exactly(client, "a.example/x:1")
        server.restart()
        assert listed(client) == []


def test_a_prune_twice_at_once_counts_twice(builder: CacheBuilder) -> None:
    """What two prunes have matched is counted down by both, and a shared blob is lost."""
    shared = builder.blob(10)
    builder.image("a.example/x:1", layers=[shared])
    builder.image("a.example/y:1", layers=[shared])
    with StandIn(Settings(builder.root, air_gapped=True)) as server:
        with Client(server.url) as client, Client(server.url) as other:
            server.hooks.once(Point.MATCHED, lambda: prune_exactly(other, "a.example/x:1"))
            prune_exactly(client, "a.example/x:1")
            assert listed(client) == ["a.example/y:1"]
            assert client.pull("a.example/y:1").status == 404
    assert f"blobs/{shared}" not in files(builder.root)


def test_the_size_of_a_request(builder: CacheBuilder) -> None:
    builder.image("a.example/x:1")
    with StandIn(Settings(builder.root)) as server, Client(server.url) as client:
        start = f"/cmd/manifest/list?pattern=^{'a' * 64},"
        expression = "%5Ea%24,"
        fits = (MOST_HEADER_BYTES - len(start) - 400) // len(expression)
        assert client.get(start + expression * fits + "x")[0] == 200
        assert client.get(start + expression * (fits + 400) + "x")[0] == 431
        assert client.get("/")[0] == 200
