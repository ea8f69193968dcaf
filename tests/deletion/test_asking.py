"""A plan carried out by asking a running server: what goes, what stays, what is reported."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.support.asked_server import AskedServer
from tests.support.asking import Notes, age, ask, plan_of, prune_beside, set_aside
from tests.support.cachebuilder import files
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
