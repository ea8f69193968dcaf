"""The stand-in loads and lists a cache as the server does."""

from __future__ import annotations

import os
import time
from pathlib import Path
from urllib.parse import quote

import pytest

from .cachebuilder import CacheBuilder, digest_of, files, snapshot
from .corruption import Corruption
from .realcaches import REAL_CACHES, RealCache, unpack
from .stand_in import Client, Settings, StandIn
from .stand_in.holders import read_holder
from .stand_in.references import BadReferenceError

LIST = "/cmd/manifest/list"
HEADER = "URL DIGEST CREATED PULLED\n"


def listed(client: Client, query: str = "count=-1", path: str = LIST) -> list[str]:
    """The URLs of a list, as they are shown."""
    status, text = client.get(f"{path}?{query}")
    assert status == 200
    if text == "no manifests found\n":
        return []
    assert text.startswith(HEADER)
    return [line.split()[0] for line in text.splitlines()[1:]]


def blob_counts(client: Client) -> dict[str, int]:
    status, text = client.get("/cmd/blob/list?count=-1")
    assert status == 200
    lines = text.splitlines()[1:]
    return {digest: int(count) for digest, count in (line.split() for line in lines)}


def test_what_it_says_of_itself(builder: CacheBuilder) -> None:
    with StandIn(Settings(builder.root)) as server, Client(server.url) as client:
        assert client.get("/") == (200, "null\n")
        assert client.get("/v2/") == (200, '"true"\n')
        status, body, headers = client.request("HEAD", "/v2/")
        assert (status, body, headers["content-type"]) == (200, b"", "application/json")
        assert client.get("/v2/a.example/x/tags/list")[0] == 404
        assert client.get("/nothing")[0] == 404


def test_a_list(builder: CacheBuilder) -> None:
    tag = builder.image("a.example/x:1", created="2024-01-01T00:00:00", pulled="")
    url = f"a.example/w@sha256:{digest_of('w')}"
    child = builder.image(url, pulled="2024-02-02T00:00:00")
    with StandIn(Settings(builder.root)) as server, Client(server.url) as client:
        status, body, headers = client.request("GET", f"{LIST}?count=-1")
        assert (status, headers["content-type"]) == (200, "text/plain")
        # Sorted; two blanks; a digest in a URL is cut to 10 digits, the other one is whole.
        cut = f"a.example/w@sha256:{digest_of('w')[:10]}"
        assert body.decode() == (
            f"{HEADER}{cut} {child}  2024-01-01T00:00:00 2024-02-02T00:00:00\n"
            f"a.example/x:1 {tag}  2024-01-01T00:00:00 \n"
        )
        assert client.get(f"{LIST}?pattern=nothing") == (200, "no manifests found\n")
        assert client.get(f"{LIST}?count=0") == (200, "no manifests found\n")
        assert client.get(f"{LIST}?pattern=%5B") == (400, "invalid parameters\n")
        assert client.get(f"{LIST}?count=few")[0] == 400
        assert client.request("DELETE", LIST)[0] == 405


def test_patterns_are_searched_and_split_at_commas(builder: CacheBuilder) -> None:
    for name in ("a.example/x:1", "a.example/x:12", "b.example/x:1", "b.example/y:1"):
        builder.image(name)
    with StandIn(Settings(builder.root)) as server, Client(server.url) as client:

        def matching(pattern: str) -> list[str]:
            return listed(client, f"count=-1&pattern={quote(pattern, safe='')}")

        assert matching("x:1") == ["a.example/x:1", "a.example/x:12", "b.example/x:1"]
        assert matching(r"^a\.example/x:1$,^b\.example/y:1$") == ["a.example/x:1", "b.example/y:1"]
        assert matching("A.EXAMPLE") == []
        assert matching("(?i)A.EXAMPLE") == ["a.example/x:1", "a.example/x:12"]
        # An empty part is found in every URL, and so is an empty pattern.
        assert len(matching("nothing,")) == len(matching("")) == 4


def test_counts(builder: CacheBuilder) -> None:
    for number in range(60):
        builder.image(f"a.example/x:{number}")
    with StandIn(Settings(builder.root)) as server, Client(server.url) as client:
        assert len(listed(client, "count=-1")) == 60
        some = [tuple(listed(client, "")) for _ in range(5)]
        assert {len(one) for one in some} == {50}
        assert len(set(some)) > 1, "always the same ones"
        assert len(listed(client, "count=7")) == 7
        assert len(client.get("/cmd/blob/list")[1].splitlines()) == 51


def test_images_and_blobs(builder: CacheBuilder) -> None:
    shared, own = builder.blob(20), builder.blob(10)
    one = builder.image("a.example/one:1", layers=[shared, own], config=own)
    two = builder.image("a.example/two:1", layers=[shared])
    builder.index("a.example/list:1", children=[one, two])
    with StandIn(Settings(builder.root)) as server, Client(server.url) as client:
        counts = blob_counts(client)
        # A blob that a manifest names twice counts twice; the config counts.
        assert (counts[shared], counts[own], len(counts)) == (2, 2, 3)
        text = client.get("/cmd/image/list?count=-1")[1]
        assert f"- sha256:{shared}\n- sha256:{own}\n- sha256:{own}\na.example/two:1 " in text
        assert text.startswith(f"{HEADER}a.example/list:1 ")
        found = client.get(f"/cmd/image/list?digest={own[:12]}")[1].splitlines()
        assert [line.split()[0] for line in found[1:2]] == ["a.example/one:1"]
        assert client.get(f"/cmd/blob/list?substr={own}") == (200, f"URL REFCNT\n{own} 2\n")
        assert client.get("/cmd/blob/list?substr=x") == (200, "no manifests found\n")


@pytest.mark.parametrize("name", REAL_CACHES)
def test_real_caches(name: RealCache, tmp_path: Path) -> None:
    root = unpack(name, tmp_path)
    before = snapshot(root)
    with StandIn(Settings(root, air_gapped=True)) as server, Client(server.url) as client:
        text = client.get(f"{LIST}?count=-1")[1]
        # What shares a URL is known once: a list that was loaded, and its child.
        assert len(text.splitlines()) - 1 == {"pulled": 81, "loaded": 6}[name]
        assert snapshot(root) == before
        for line in text.splitlines()[1:]:
            url, digest = line.split()[:2]
            url = f"{url.partition('@')[0]}@sha256:{digest}" if "@" in url else url
            assert client.pull(url, children=lambda child: child in text).is_whole


def test_every_real_file_is_written_as_it_was(tmp_path: Path) -> None:
    for name in REAL_CACHES:
        root = unpack(name, tmp_path)
        for path in [*root.glob("img/*"), *root.glob("lts/*")]:
            content = path.read_bytes()
            assert read_holder(content).content == content


def test_manifests_without_their_blobs_are_not_loaded(builder: CacheBuilder) -> None:
    there = builder.blob(10)
    builder.image("a.example/whole:1", layers=[there])
    builder.image("a.example/part:1", layers=[there, digest_of("missing")])
    before = snapshot(builder.root)
    with StandIn(Settings(builder.root, air_gapped=True)) as server, Client(server.url) as client:
        assert listed(client) == ["a.example/whole:1"]
        assert blob_counts(client)[there] == 1
        assert client.pull("a.example/part:1").status == 404
    assert snapshot(builder.root) == before


def test_a_short_blob_is_a_blob(builder: CacheBuilder) -> None:
    short = builder.blob(10)
    builder.image("a.example/x:1", layers=[short])
    os.truncate(builder.root / "blobs" / short, 0)
    with StandIn(Settings(builder.root)) as server, Client(server.url) as client:
        assert listed(client) == ["a.example/x:1"]


def test_a_file_that_is_no_manifest_ends_the_loading(builder: CacheBuilder) -> None:
    first = builder.image("a.example/x:latest")
    builder.image("a.example/y:1")
    with StandIn(Settings(builder.root)) as server, Client(server.url) as client:
        assert listed(client) == ["a.example/x:latest", "a.example/y:1"]
        builder.corrupt(Corruption.CUT, folder="img", name="f" * 64)
        server.restart()
        assert listed(client) == ["a.example/x:latest", "a.example/y:1"]
        builder.corrupt(Corruption.CUT, folder="img", name="0" * 64)
        server.restart()
        assert listed(client) == ["a.example/x:latest"]
        builder.corrupt(Corruption.CUT, folder="lts", name="f" * 64)
        server.restart()
        assert listed(client) == ["a.example/x:latest"]
        (builder.root / "lts" / first).unlink()
        server.restart()
        assert listed(client) == []


def test_a_url_that_it_can_not_understand_keeps_it_from_starting(builder: CacheBuilder) -> None:
    builder.image("nohost/x:1")
    with pytest.raises(BadReferenceError):
        StandIn(Settings(builder.root)).start()


def test_two_files_of_one_url(builder: CacheBuilder) -> None:
    """The file whose name sorts last is known; its blobs and those of the other are counted."""
    twins = {builder.image("a.example/x:1", layers=[builder.blob(size)]) for size in (10, 20)}
    with StandIn(Settings(builder.root)) as server, Client(server.url) as client:
        text = client.get(f"{LIST}?count=-1")[1]
        assert text.splitlines()[1].split()[:2] == ["a.example/x:1", max(twins)]
        counts = blob_counts(client)
        assert sorted(counts.values()) == [1, 1, 2], "two layers, and the config that both share"
        assert {f"blobs/{digest}" for digest in counts} < files(builder.root)


def test_capital_letters_in_a_file_hide_it(builder: CacheBuilder) -> None:
    """The key of such a URL is in small letters: lists and prunes pass it over."""
    builder.image("a.example/x:Upper")
    with StandIn(Settings(builder.root)) as server, Client(server.url) as client:
        assert listed(client) == []
        assert client.pull("a.example/x:upper").is_whole
        assert client.pull("a.example/x:Upper").is_whole


def test_a_pull_by_tag_can_be_asked_for_by_digest(builder: CacheBuilder) -> None:
    digests = [builder.image(url) for url in ("a.example/x:1", "a.example/y:latest")]
    with StandIn(Settings(builder.root, air_gapped=True)) as server, Client(server.url) as client:
        for name, digest in zip("xy", digests, strict=True):
            assert client.pull(f"a.example/{name}@sha256:{digest}").is_whole
            assert client.pull(f"a.example/z@sha256:{digest}").status == 404
        assert listed(client) == ["a.example/x:1", "a.example/y:latest"]


def test_docker_io_is_known_with_and_without_library(builder: CacheBuilder) -> None:
    builder.image("docker.io/library/x:1")
    builder.image("docker.io/y:1")
    with StandIn(Settings(builder.root, air_gapped=True)) as server, Client(server.url) as client:
        # Whoever does not pull looks for the exact URL first.
        assert client.pull("docker.io/x:1").status == 404
    with StandIn(Settings(builder.root)) as server, Client(server.url) as client:
        assert client.pull("docker.io/x:1").is_whole
        assert client.pull("docker.io/library/y:1").is_whole
        assert client.pull("docker.io/z:1").status == 500


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_whoever_asks_for_a_manifest_writes_its_file(builder: CacheBuilder, method: str) -> None:
    digest = builder.image("a.example/x:1", pulled="2024-01-01T00:00:00")
    path = builder.root / "img" / digest
    before, content = path.stat(), path.read_bytes()
    os.utime(path, ns=(1, 1))
    with StandIn(Settings(builder.root)) as server, Client(server.url) as client:
        start = time.strftime("%Y-%m-%dT%H:%M:%S")
        status, body, headers = client.request(method, "/v2/a.example/x/manifests/1")
    holder = read_holder(path.read_bytes())
    assert (status, body) == (200, holder.document if method == "GET" else b"")
    assert headers["content-length"] == str(len(holder.document))
    assert headers["docker-content-digest"] == f"sha256:{digest}"
    after = path.stat()
    assert (after.st_ino, after.st_mode) == (before.st_ino, before.st_mode)
    assert after.st_mtime_ns > 1
    assert start <= holder.pulled <= time.strftime("%Y-%m-%dT%H:%M:%S")
    assert holder.pulled_at("2024-01-01T00:00:00").content == content


def test_a_file_that_was_removed_behind_its_back(builder: CacheBuilder) -> None:
    layer = builder.blob(10)
    digest = builder.image("a.example/x:1", layers=[layer])
    with StandIn(Settings(builder.root)) as server, Client(server.url) as client:
        (builder.root / "img" / digest).unlink()
        assert client.pull("a.example/x:1").is_whole
        assert f"img/{digest}" in files(builder.root), "it wrote it again, from memory"
        (builder.root / "blobs" / layer).unlink()
        pulled = client.pull("a.example/x:1")
        assert (pulled.status, len(pulled.steps)) == (500, 3)
        assert client.get(f"/v2/a.example/x/blobs/sha256:{digest_of('unknown')}")[0] == 404
        server.restart()
        assert listed(client) == [], "a blob is missing"


def test_other_methods(builder: CacheBuilder) -> None:
    digest = builder.image("a.example/x:1")
    with StandIn(Settings(builder.root)) as server, Client(server.url) as client:
        for method, path in [
            ("HEAD", f"/v2/a.example/x/blobs/sha256:{digest}"),
            ("DELETE", f"/v2/a.example/x/blobs/sha256:{digest}"),
            ("DELETE", "/v2/a.example/x/manifests/1"),
            ("PUT", "/v2/a.example/x/manifests/1"),
        ]:
            assert client.request(method, path)[0] == 405
        assert client.get("/v2/x/manifests/1")[0] == 400, "no registry is named"
        assert client.get("/v2/a.example/b/c/d/e/manifests/1")[0] == 404, "too long"
        assert client.get("/v2/x/manifests/1?ns=a.example")[0] == 200
        assert f"img/{digest}" in files(builder.root)
