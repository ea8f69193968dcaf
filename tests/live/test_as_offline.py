"""What a server is asked to remove leaves the same files as the same prune without a server."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

import pytest
from tests.live.auditing import broken_images, without_files
from tests.live.driving import prune_live
from tests.live.servers import KINDS, REAL
from tests.live.world import World, pull_all
from tests.property.profile import TIMES
from tests.support.cachebuilder import files
from tests.support.inprocess import invoke
from tests.support.realcaches import REAL_CACHES, RealCache, unpack
from tests.support.stand_in import Client, Settings, StandIn, Upstream
from tests.support.stand_in.real import RealServer
from tests.support.test_stand_in import blob_counts

_OLD = time.time() - 7 * 24 * 3600

SOME_POLICIES = (
    ("--pattern", "."),
    ("--pattern", "calico|cilium"),
    ("--pattern", ".", "--count", "4"),
)
MORE_POLICIES = (
    ("--pattern", ":latest$"),
    ("--pattern", "^docker[.]io/", "--exclude", "nginx"),
    ("--pattern", ".", "--keep-last", "1"),
    ("--dangling",),
    ("--pattern", "@sha256:"),
    ("--pattern", "@sha256:", "--allow-broken"),
)


def make_old(root: Path) -> None:
    """Lets all files look as if they were a week old."""
    for path in files(root):
        os.utime(root / path, (_OLD, _OLD))


def check_same(root: Path, kind: str, *policies: tuple[str, ...]) -> None:
    """Prunes a cache through a server, and a copy of it without, by one policy after the other.

    Of files that `load` wrote, the server knows one of two that share a URL, but counts the blobs
    of both. What it counts stays until it was restarted.
    """
    make_old(root)
    offline = root.with_name("offline")
    shutil.copytree(root, offline)
    server = (
        RealServer(root, air_gapped=True)
        if kind == REAL
        else StandIn(Settings(root, air_gapped=True))
    )
    with server, Client(server.url) as client:
        for policy in policies:
            before = invoke("prune", "--yes", "--allow-remove-all", *policy, cache=offline)
            assert before.code == 0, before.err
            result = prune_live(root, server.url, *policy)
            assert result.code == 0, result.err
            counted = files(root) - files(offline)
            assert files(offline) <= files(root), policy
            assert {f"blobs/{digest}" for digest in blob_counts(client)} >= counted
            assert result.document["asked"]["counted_blobs"] == len(counted)
            if counted:
                server.restart()
                assert prune_live(root, server.url, "--orphans-only").code == 0
            assert files(root) == files(offline), policy
            assert without_files(client, root) == []
            assert broken_images(server.url) == []
            make_old(root)


@pytest.mark.parametrize("policy", SOME_POLICIES + (MORE_POLICIES if TIMES > 1 else ()))
@pytest.mark.parametrize("name", REAL_CACHES)
@pytest.mark.parametrize("kind", KINDS)
def test_real_caches(tmp_path: Path, name: RealCache, policy: tuple[str, ...], kind: str) -> None:
    check_same(unpack(name, tmp_path), kind, policy)


@pytest.mark.parametrize("seed", range(3 * TIMES))
@pytest.mark.parametrize("kind", KINDS)
def test_what_clients_have_pulled(tmp_path: Path, seed: int, kind: str) -> None:
    """One tag for each image: what only the server knows is kept, which no prune offline does."""
    root = tmp_path / "cache"
    upstream = Upstream()
    world = World(upstream, "registry.example", seed)
    one_tag = {digest: url for url, digest in upstream.tags.items()}
    with StandIn(Settings(root, upstream)) as server:
        pull_all(server.url, sorted(one_tag.values()))
    repository = world.urls[seed % len(world.urls)].rpartition(":")[0]
    check_same(root, kind, ("--pattern", f"^{repository}:"), ("--pattern", ":[12]$"))
