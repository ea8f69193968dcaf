"""The proof that a server serves this cache: which requests it takes, and what it changes."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import anyio
import pytest
from tests.support.cachebuilder import CacheBuilder, files
from tests.support.stand_in import Client, Point, Settings, StandIn, Upstream

import fastprune
from fastprune import (
    ApplyOptions,
    DeleteLimits,
    Exclusion,
    PlanOptions,
    Policy,
    PruneReport,
    ScanOptions,
    WrongServerError,
)
from fastprune.guard import agreement
from fastprune.server.address import parse_address
from fastprune.server.client import ServerClient

URLS = (
    "docker.io/library/nginx:1.25",
    "docker.io/hello-world:1",
    "registry.example.com:5000/x:1",
    # A registry without a dot: the server takes the first segment of a path for one only if it
    # has a dot in it.
    "localhost:5000/a/b:1",
    "quay.io/a/b/c:latest",
    "registry.k8s.io/a/b/c/d:1",
)


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agreement, "_PAUSES", (0.02, 0.02, 0.02, 0.02))


@pytest.fixture
def upstream() -> Upstream:
    upstream = Upstream()
    for url in URLS:
        upstream.image(url, layers=[url.encode()])
    return upstream


@pytest.fixture
def server(tmp_path: Path, upstream: Upstream) -> Iterator[StandIn]:
    CacheBuilder(tmp_path / "cache")
    with StandIn(Settings(tmp_path / "cache", upstream)) as server:
        yield server


def pull(server: StandIn, url: str) -> int:
    """Lets the server have a manifest, as a mirror of its registry does."""
    registry, _, path = url.partition("/")
    repository, _, tag = path.rpartition(":")
    with Client(server.url) as client:
        status, _, _ = client.request("GET", f"/v2/{repository}/manifests/{tag}?ns={registry}")
    return status


@pytest.mark.parametrize("url", URLS)
@pytest.mark.parametrize("by", ["tag", "digest"])
def test_a_manifest_of_any_registry_can_be_asked_for(
    url: str, by: str, server: StandIn, upstream: Upstream
) -> None:
    """With the registry as `?ns=`, whatever it is, and whether it has a port or a dot."""
    assert pull(server, url) == 200
    digest = upstream.tags[url]
    folder = "lts" if url.endswith(":latest") else "img"
    path = server.settings.root / folder / digest
    os.utime(path, (1, 1))
    asked = url if by == "tag" else f"{url.rpartition(':')[0]}@sha256:{digest}"

    async def touch() -> None:
        async with ServerClient(parse_address(server.url)) as client:
            await client.head(asked)

    anyio.run(touch)
    assert path.stat().st_mtime > 1
    repository = url.partition("/")[2].rpartition(":")[0]
    assert server.requests[-1].startswith(f"HEAD /v2/{repository}/manifests/")
    assert "?ns=" in server.requests[-1]


def test_a_registry_without_a_dot_has_no_other_path(server: StandIn) -> None:
    assert pull(server, "localhost:5000/a/b:1") == 200
    with Client(server.url) as client:
        status, _, _ = client.request("HEAD", "/v2/localhost:5000/a/b/manifests/1")
    assert status == 400


def prune(server: StandIn, pattern: str) -> PruneReport | None:
    async def main() -> PruneReport | None:
        async with ServerClient(parse_address(server.url)) as client:
            scan = ScanOptions(listing=await client.listing())
            return await fastprune.prune(
                server.settings.root,
                Policy(patterns=(pattern,)),
                planning=PlanOptions(scan),
                applying=ApplyOptions(
                    server=client, delete_limits=DeleteLimits(allow_remove_all=True)
                ),
                exclusion=Exclusion(named=client.address),
            )

    return anyio.run(main)


def test_what_stays_is_asked_for_if_there_is_anything(server: StandIn, upstream: Upstream) -> None:
    for url in URLS[:3]:
        pull(server, url)
    report = prune(server, "^docker")
    assert report is not None
    heads = {one for one in server.requests if one.startswith("HEAD")}
    assert heads == {"HEAD /v2/x/manifests/1?ns=registry.example.com%3A5000"}
    left = {path for path in files(server.settings.root) if path.startswith("img/")}
    assert left == {f"img/{upstream.tags[URLS[2]]}"}


def test_if_everything_goes_what_was_asked_for_goes_as_well(server: StandIn) -> None:
    for url in URLS[:3]:
        pull(server, url)
    report = prune(server, ".")
    assert report is not None
    assert (report.exit_code, report.changed) == (0, ())
    assert not [path for path in files(server.settings.root) if path.startswith("img/")]


def test_what_a_client_pulls_after_the_proof_stays(server: StandIn, upstream: Upstream) -> None:
    """Of the manifest that was asked for, only the `pulled` of the proof is no reason to stay."""
    for url in URLS[:2]:
        pull(server, url)
    copy = server.settings.root / "img" / upstream.tags[URLS[0]]

    def pulled_later(path: str) -> None:
        if path.startswith("/cmd/manifest"):
            text = copy.read_text()
            at = text.index('"pulled":"') + len('"pulled":"')
            copy.write_text(f"{text[:at]}2031-01-01T00:00:00{text[at + 19 :]}")

    listings = iter(range(10))
    server.hooks.on(
        Point.BEFORE_ANSWER,
        lambda path: pulled_later(path) if "list" in path and next(listings) >= 1 else None,
    )
    report = prune(server, ".")
    assert report is not None
    assert report.changed == (f"img/{copy.name}",)
    assert copy.exists()


def test_another_server_is_asked_to_remove_nothing(server: StandIn, tmp_path: Path) -> None:
    CacheBuilder(tmp_path / "replica")
    with StandIn(Settings(tmp_path / "replica", server.settings.upstream)) as replica:
        for url in URLS[:3]:
            pull(server, url)
            pull(replica, url)
        before = files(server.settings.root), files(tmp_path / "replica")
        replica.settings.root = server.settings.root
        with pytest.raises(WrongServerError, match="did not change"):
            prune(replica, "^docker")
        assert (files(server.settings.root), files(tmp_path / "replica")) == before
