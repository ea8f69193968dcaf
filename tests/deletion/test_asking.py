"""A plan carried out by asking a running server: what goes, what stays, what is reported."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.support.asked_server import AskedServer
from tests.support.asking import Notes, age, ask, plan_of, prune_beside, set_aside
from tests.support.cachebuilder import CacheBuilder, files
from tests.support.oracle import expected, load
from tests.support.realcaches import REAL_CACHES, RealCache, unpack

from fastprune import Policy

POLICIES = ("calico", "docker.io", ":latest$", "kube", ".")


@pytest.mark.parametrize("name", REAL_CACHES)
@pytest.mark.parametrize("pattern", POLICIES)
def test_the_same_files_go_as_without_a_server(
    name: RealCache, pattern: str, tmp_path: Path
) -> None:
    root = unpack(name, tmp_path)
    age(root)
    outcome = expected(load(root), patterns=(pattern,))
    server, notes = AskedServer(root), Notes()
    before = load(root).paths
    policy = Policy(patterns=(pattern,))
    report = ask(plan_of(root, server, policy), server, journal=notes)
    went = before - load(root).paths
    assert sorted(notes.went()) == sorted(went)
    assert report.failures == ()
    assert report.changed == ()
    assert report.exit_code == 0
    assert server.memory.counted_blobs().keys() <= {path[6:] for path in files(root)}
    server.restart()
    prune_beside(root, server, policy, run=1)
    assert files(root) == outcome.left
    prune_beside(root, server, Policy(orphans_only=True), run=2)
    assert set_aside(root) == set()
    assert files(root) == expected(load(root), patterns=(pattern,)).left


def check_left_alone(server: AskedServer, root: Path, odd: str) -> None:
    """Prunes everything, of which one image has an odd URL: it stays, and is named."""
    (left,) = (one for one in load(root).manifests.values() if one.url == odd)
    age(root)
    report = ask(plan_of(root, server), server)
    assert server.asked, "others go"
    assert not any(odd in urls for urls in server.asked)
    assert [failure.path for failure in report.failures] == [left.path]
    assert "a capital letter, or a host without a dot" in report.failures[0].message
    assert report.exit_code == 3
    after = load(root)
    assert list(after.manifests) == [left.path]
    assert set(left.blobs) == set(after.blobs)


@pytest.mark.parametrize("odd", ["docker.io/App/web:1", "docker.io/app:V1"])
def test_what_a_server_has_under_another_url_is_left_alone(odd: str, tmp_path: Path) -> None:
    builder = CacheBuilder(tmp_path)
    builder.image(odd, layers=[builder.blob(7)])
    builder.image("docker.io/app:2", layers=[builder.blob(8)])
    check_left_alone(AskedServer(tmp_path), tmp_path, odd)


@pytest.mark.parametrize("odd", ["localhost:5000/app:1", "docker.io/App/web:1"])
def test_what_a_server_would_remove_half_of_is_left_alone(odd: str, tmp_path: Path) -> None:
    CacheBuilder(tmp_path).image("docker.io/app:2")
    server = AskedServer(tmp_path)
    server.upstream.image(odd, layers=[b"layer"])
    server.pull(odd)
    assert odd in server.listed().urls
    check_left_alone(server, tmp_path, odd)
