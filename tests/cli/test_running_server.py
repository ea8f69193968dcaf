"""Commands beside a running server, from its list to what it is asked to remove: over HTTP."""

from __future__ import annotations

import json
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.cli.inside import run_inside
from tests.cli.program import TIMEOUT, finish, started, wait_until
from tests.support.asking import age
from tests.support.cachebuilder import files
from tests.support.canned_server import Authority
from tests.support.oracle import expected, load
from tests.support.realcaches import REAL_CACHES, RealCache, unpack
from tests.support.stand_in import Point, Settings, StandIn

PATTERN = "calico"


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    root = unpack("pulled", tmp_path)
    age(root, 50 * 3600)
    return root


@pytest.fixture
def server(cache: Path) -> Iterator[StandIn]:
    with StandIn(Settings(cache)) as server:
        yield server


def prunes(server: StandIn) -> list[str]:
    return [one for one in server.requests if one.startswith("DELETE")]


@pytest.mark.parametrize("name", REAL_CACHES)
def test_a_prune_leaves_the_same_files_as_without_a_server(name: RealCache, tmp_path: Path) -> None:
    root = unpack(name, tmp_path)
    age(root, 50 * 3600)
    outcome = expected(load(root), patterns=(PATTERN,))
    words = ("prune", "--pattern", PATTERN, "--yes")
    with StandIn(Settings(root)) as server:
        result = run_inside(*words, "--server", server.url, cache=root)
        assert result.code == 0, result.err
        assert prunes(server)
        # What shares a URL is known after a restart only.
        server.restart()
        assert run_inside(*words, "--server", server.url, cache=root).code == 0
    assert files(root) == outcome.left


def test_a_saved_plan_is_applied_by_asking(cache: Path, server: StandIn, tmp_path: Path) -> None:
    outcome = expected(load(cache), patterns=(PATTERN,))
    plan = tmp_path / "prune.plan"
    named = ("--server", server.url)
    made = run_inside("plan", "--pattern", PATTERN, "-o", plan, *named, cache=cache)
    assert made.code == 0, made.err
    assert not prunes(server)
    result = run_inside("apply", plan, *named, cache=cache)
    assert result.code == 0, result.err
    assert prunes(server)
    assert files(cache) == outcome.left


def test_a_dry_run_shows_what_goes_and_asks_for_nothing(cache: Path, server: StandIn) -> None:
    before = files(cache)
    words = ("prune", "--pattern", PATTERN, "--server", server.url)
    dry = run_inside(*words, "--dry-run", cache=cache)
    assert dry.code == 0, dry.err
    assert "Estimated time" not in dry.out, "how fast the server removes is not known"
    assert not prunes(server)
    assert files(cache) == before
    real = run_inside(*words, "--yes", cache=cache)
    assert dry.out.replace(" (dry run)", "").splitlines()[:20] == real.out.splitlines()[:20]


def test_all_that_went_is_in_the_audit_log(cache: Path, server: StandIn, tmp_path: Path) -> None:
    log, before = tmp_path / "audit.jsonl", files(cache)
    words = ("prune", "--pattern", PATTERN, "--yes", "--audit-log", log)
    assert run_inside(*words, "--server", server.url, cache=cache).code == 0
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert before - files(cache) == {line["name"] for line in lines if line["event"] == "file"}


def test_the_environment_names_the_server(
    cache: Path, server: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FASTPRUNE_SERVER", server.url)
    assert run_inside("prune", "--pattern", PATTERN, "--yes", cache=cache).code == 0
    assert prunes(server)


def test_a_server_with_tls_is_asked(cache: Path, tmp_path: Path) -> None:
    authority, pem = Authority(), tmp_path / "ca.pem"
    pem.write_bytes(authority.pem)
    with StandIn(Settings(cache, tls=authority.server())) as server:
        words = ("prune", "--pattern", PATTERN, "--yes", "--server", server.url)
        assert run_inside(*words, cache=cache).code == 1
        assert not prunes(server)
        assert run_inside(*words, "--server-ca", pem, cache=cache).code == 0
        assert prunes(server)


def test_the_server_of_another_cache_is_refused(cache: Path, tmp_path: Path) -> None:
    other = unpack("loaded", tmp_path)
    before = files(cache), files(other)
    with StandIn(Settings(other)) as server:
        words = ("--pattern", PATTERN, "--server", server.url)
        for command in (("prune", "--yes"), ("prune", "--dry-run"), ("plan", "-o", "-")):
            result = run_inside(*command, *words, cache=cache)
            assert result.code == 11, result.err
            assert "it serves another cache" in result.err
            assert result.out == ""
    assert not prunes(server)
    assert (files(cache), files(other)) == before


def test_delete_limits_hold(cache: Path, server: StandIn) -> None:
    words = ("prune", "--pattern", PATTERN, "--yes", "--max-delete-count", "1")
    assert run_inside(*words, "--server", server.url, cache=cache).code == 4
    assert not prunes(server)


def test_a_signal_during_a_request_ends_the_run_in_order(cache: Path, server: StandIn) -> None:
    """The request that is under way is waited for, and what it removed is in the report."""
    reached, go_on = threading.Event(), threading.Event()

    def wait(_: str) -> None:
        reached.set()
        go_on.wait(TIMEOUT)

    server.hooks.on(Point.MATCHED, wait)
    words = ("prune", "--pattern", PATTERN, "--yes", "--format", "json", "--server", server.url)
    before = files(cache)
    with started(*words, cache=cache) as process:
        wait_until(reached.is_set)
        process.send_signal(signal.SIGINT)
        go_on.set()
        result = finish(process)
    assert result.code == 130, result.err
    document = json.loads(result.out)
    assert document["stopped"] == "SIGINT"
    assert before - files(cache)
