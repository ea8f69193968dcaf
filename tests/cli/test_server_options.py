"""Options that name a running server: what is refused, and what the server is asked."""

from __future__ import annotations

import json
import signal
import socket
from pathlib import Path

import pytest
from tests.cli.inside import run_inside
from tests.cli.program import finish, started, wait_until
from tests.conformance.test_light_imports import imported_by
from tests.support.cachebuilder import CacheBuilder, snapshot
from tests.support.canned_server import Request, canned_server
from tests.support.stand_in import Settings, StandIn

COMMANDS: dict[str, tuple[str, ...]] = {
    "list": ("list",),
    "du": ("du",),
    "explain": ("explain", "docker.io/library/nginx:1.25"),
    "plan": ("plan", "--pattern", "nginx", "-o", "-"),
    "prune": ("prune", "--pattern", "nginx", "--yes"),
    "dry run": ("prune", "--pattern", "nginx", "--dry-run"),
}


@pytest.fixture
def cache(builder: CacheBuilder) -> Path:
    builder.image("docker.io/library/nginx:1.25", layers=[builder.blob(10)])
    builder.image("docker.io/library/redis:7", layers=[builder.blob(20)])
    builder.blob(30)
    return builder.root


@pytest.fixture
def plan(cache: Path, tmp_path: Path) -> Path:
    path = tmp_path / "prune.plan"
    assert run_inside("plan", "--pattern", "nginx", "-o", path, cache=cache).code == 0
    return path


@pytest.fixture
def dead() -> str:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return f"http://127.0.0.1:{listening.getsockname()[1]}"


@pytest.mark.parametrize(
    ("options", "part"),
    [
        (("--server", "localhost:8080"), "--server: 'localhost:8080'"),
        (("--server", "localhost:8080"), "give http://localhost:8080"),
        (("--server", "http://localhost:8080/cmd"), "give http://localhost:8080"),
        (("--server", "ftp://localhost"), "neither http nor https"),
        (("--server", ""), "the value of --server is empty"),
        (("--server", "--yes"), "the value of --server is missing"),
        (("--server-ca", "ca.pem"), "--server-ca: has no effect without --server"),
        (("--server-timeout", "1m"), "--server-timeout: has no effect without --server"),
        (("--server", "http://x", "--server-timeout", "1"), "--server-timeout"),
        (("--server", "http://x", "--server-timeout", "0s"), "--server-timeout: "),
        (("--server", "http://x", "--server-ca", "/etc/hosts"), "no effect with http://x:80"),
        (("--server", "https://x", "--server-ca", "/missing.pem"), "--server-ca /missing.pem: No"),
        (("--server", "https://x", "--server-ca", "/etc/hosts"), "--server-ca /etc/hosts: no cert"),
    ],
)
def test_a_value_that_can_not_be_used_is_a_usage_error(
    options: tuple[str, ...], part: str, cache: Path
) -> None:
    before = snapshot(cache)
    for command in ("list", "prune"):
        result = run_inside(*COMMANDS[command], *options, cache=cache)
        assert result.code == 2
        assert part in result.err
    assert snapshot(cache) == before


@pytest.mark.parametrize("command", [*COMMANDS, "apply"])
@pytest.mark.parametrize("by", ["option", "environment"])
def test_a_server_that_does_not_answer_is_an_error_and_nothing_changes(
    command: str, by: str, cache: Path, plan: Path, dead: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = COMMANDS.get(command, ("apply", str(plan), "--yes"))
    if by == "environment":
        monkeypatch.setenv("FASTPRUNE_SERVER", dead)
    else:
        monkeypatch.setenv("FASTPRUNE_SERVER", "no URL")
        words = (*words, "--server", dead)
    before = snapshot(cache)
    result = run_inside(*words, cache=cache)
    assert result.code == 1
    assert f"GET {dead}/: connection refused" in result.err
    assert "start the server" in result.err
    assert result.out == ""
    assert snapshot(cache) == before


def test_a_bad_value_of_the_environment_is_named(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FASTPRUNE_SERVER", "localhost")
    result = run_inside("list", cache=cache)
    assert result.code == 2
    assert "$FASTPRUNE_SERVER: 'localhost'" in result.err


def test_an_empty_environment_variable_names_no_server(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FASTPRUNE_SERVER", "")
    assert run_inside("list", cache=cache).code == 0


def test_a_refusal_is_a_document_if_json_is_wanted(cache: Path, dead: str) -> None:
    result = run_inside(*COMMANDS["prune"], "--format", "json", "--server", dead, cache=cache)
    document = json.loads(result.out)
    assert (result.code, document["exit_code"]) == (1, 1)
    assert "connection refused" in document["error"]


def test_where_there_is_no_cache_no_server_is_asked(tmp_path: Path, dead: str) -> None:
    for words in COMMANDS.values():
        result = run_inside(*words, "--server", dead, cache=tmp_path / "nothing")
        assert result.code == 10


@pytest.mark.parametrize("command", ["prune", "dry run", "apply"])
def test_a_server_moves_nothing_to_the_trash(
    command: str, cache: Path, plan: Path, dead: str
) -> None:
    words = COMMANDS.get(command, ("apply", str(plan), "--yes"))
    result = run_inside(*words, "--trash", "--server", dead, cache=cache)
    assert result.code == 2
    assert "--trash: can't be combined with --server" in result.err


@pytest.mark.parametrize("command", ["plan", "prune", "dry run", "explain", "apply"])
@pytest.mark.parametrize("grace", ["0s", "59m"])
def test_beside_a_server_young_blobs_are_spared_for_an_hour_at_least(
    command: str, grace: str, cache: Path, plan: Path, dead: str
) -> None:
    words = COMMANDS.get(command, ("apply", str(plan), "--yes"))
    if command == "explain":
        words = (*words, "--pattern", "nginx")
    result = run_inside(*words, "--grace", grace, "--server", dead, cache=cache)
    assert result.code == 2
    assert "--grace: must be at least 1h with --server" in result.err
    assert "a client is pulling" in result.err


def test_a_grace_of_a_policy_file_that_is_too_short_names_the_file(
    cache: Path, tmp_path: Path, dead: str
) -> None:
    policy = tmp_path / "policy.toml"
    policy.write_text('[policy]\ngrace = "59m"\n[rules.old]\npattern = ["nginx"]\n')
    words = ("prune", "--policy", policy, "--dry-run", "--server", dead)
    result = run_inside(*words, cache=cache)
    assert result.code == 2
    assert f"{policy}: grace: must be at least 1h with --server" in result.err
    # The longer one holds.
    result = run_inside(*words, "--grace", "1h", cache=cache)
    assert "must be at least 1h" not in result.err


def grace_of_plan(path: Path) -> float:
    grace: float = json.loads(path.read_text().splitlines()[0])["grace"]
    return grace


@pytest.mark.parametrize(
    ("options", "file", "grace"),
    [((), "", 86_400), (("--grace", "2h"), "", 7200), ((), 'grace = "3h"', 10_800)],
)
def test_the_grace_beside_a_server_is_a_day_unless_it_is_given(
    options: tuple[str, ...], file: str, grace: float, cache: Path, tmp_path: Path
) -> None:
    words: tuple[str | Path, ...] = ("--pattern", "nginx")
    if file:
        policy = tmp_path / "policy.toml"
        policy.write_text(f'[policy]\n{file}\n[rules.old]\npattern = ["nginx"]\n')
        words = ("--policy", policy)
    out = tmp_path / "live.plan"
    with StandIn(Settings(cache)) as server:
        result = run_inside(
            "plan", *words, *options, "-o", out, "--server", server.url, cache=cache
        )
    assert result.code == 0, result.err
    assert grace_of_plan(out) == grace


@pytest.mark.parametrize("command", [one for one in COMMANDS if one != "prune"])
def test_only_the_list_is_asked_for_unless_something_is_to_go(
    command: str, cache: Path, tmp_path: Path
) -> None:
    before = snapshot(cache)
    with StandIn(Settings(cache)) as server:
        result = run_inside(*COMMANDS[command], "--server", server.url, cache=cache)
    assert result.code == 0, result.err
    assert server.requests == ["GET /", "GET /v2/", "GET /cmd/manifest/list?count=-1"]
    assert snapshot(cache) == before


@pytest.mark.parametrize("command", ["plan", "dry run"])
def test_that_the_server_prunes_by_itself_is_said_once(
    command: str, cache: Path, tmp_path: Path
) -> None:
    config = tmp_path / "config.yaml"
    config.write_text("pruneConfig:\n  enabled: true\n  type: created\n  duration: 90d\n")
    with StandIn(Settings(cache)) as server:
        words = ("--config-file", config, "--server", server.url)
        result = run_inside(*COMMANDS[command], *words, cache=cache)
    assert result.err.count("the server prunes by itself as well") == 1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("command", ["list", "prune"])
def test_a_signal_ends_the_wait_for_an_answer(
    number: signal.Signals, command: str, cache: Path
) -> None:
    def never(_: Request) -> bytes:
        server.release.wait()
        return b""

    before = snapshot(cache)
    with canned_server(never) as server:
        with started(*COMMANDS[command], "--server", server.url, cache=cache) as process:
            wait_until(lambda: bool(server.requests))
            process.send_signal(number)
            result = finish(process)
    assert result.code == 128 + number
    assert "Traceback" not in result.err
    assert snapshot(cache) == before


@pytest.mark.parametrize("command", ["prune", "list", "du", "plan", "apply", "explain"])
def test_without_a_server_nothing_that_speaks_http_is_imported(command: str) -> None:
    imported = imported_by(f"import fastprune.cli.app, fastprune.cli.{command}")
    assert not imported & {"httpx", "httpcore", "anyio", "asyncio", "ssl", "numpy"}
