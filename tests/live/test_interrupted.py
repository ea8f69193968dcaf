"""A live prune is interrupted anywhere: nothing is lost, and the next run completes it."""

from __future__ import annotations

import random
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.cli.program import command, environment
from tests.live.auditing import broken_images, damaged_files, without_files
from tests.live.driving import prune_live
from tests.live.test_as_offline import make_old
from tests.property.profile import TIMES
from tests.support.cachebuilder import CacheBuilder, files
from tests.support.inprocess import invoke
from tests.support.stand_in import Answer, Client, Fault, Kind, Point, Request, Settings, StandIn

POLICY = ("--pattern", "/old/")
_MOST_REQUESTS = 60


def fill(root: Path) -> CacheBuilder:
    """Lists and images of two kinds, which share layers; an orphan; and one never loaded."""
    builder = CacheBuilder(root)
    shared = [builder.blob(20 + number) for number in range(3)]
    for name in ("old", "new"):
        for number in range(3):
            repository = f"registry.example/{name}/r{number}"
            own = builder.blob(100 + number)
            child = builder.image(f"{repository}:child", layers=[shared[number], own])
            builder.tag(child, f"{repository}@sha256:{child}")
            builder.index(f"{repository}:1", children=[child])
            builder.image(f"{repository}:latest", layers=[own])
    builder.blob(50)
    builder.image("registry.example/old/half:1", layers=["0" * 64])
    make_old(root)
    return builder


@pytest.fixture
def expected(tmp_path: Path) -> set[str]:
    """The files that a prune leaves when nothing interrupts it."""
    builder = fill(tmp_path / "offline")
    assert invoke("prune", "--yes", *POLICY, cache=builder.root).code == 0
    return files(builder.root)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[StandIn]:
    builder = fill(tmp_path / "cache")
    with StandIn(Settings(builder.root, air_gapped=True)) as running:
        yield running


def nothing_is_lost(server: StandIn, expected: set[str]) -> None:
    """All that is to stay is there and can be pulled; then the next run completes the work."""
    root = server.settings.root
    assert expected <= files(root)
    server.restart()
    assert broken_images(server.url) == []
    make_old(root)
    result = prune_live(root, server.url, *POLICY)
    assert result.code == 0, result.err
    assert files(root) == expected
    with Client(server.url) as client:
        assert without_files(client, root) == []
    server.restart()
    assert broken_images(server.url) == []
    assert damaged_files(root) == []


def run_and_kill(server: StandIn, arm: Callable[[Callable[[], None]], None]) -> int:
    """Runs a prune in a process of its own.

    Args:
        server: The server.
        arm: Is given what kills the process, before this starts.

    Returns:
        The exit status; negative for a signal.
    """
    options = ("--server", server.url, "--yes", "--format", "json", *POLICY)
    started: list[subprocess.Popen[bytes]] = []

    def kill() -> None:
        started[0].kill()

    arm(kill)
    with subprocess.Popen(
        command("prune", *options, cache=server.settings.root),
        env=environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        started.append(process)
        return process.wait(60)


_POINTS = (Point.BEFORE_MATCHING, Point.MATCHED, Point.BETWEEN, Point.BEFORE_ANSWER)


@pytest.mark.parametrize("seed", range(3 * TIMES))
def test_fastprune_is_killed(server: StandIn, expected: set[str], seed: int) -> None:
    draw = random.Random(seed)
    point, number = draw.choice(_POINTS), draw.randrange(4)

    def arm(kill: Callable[[], None]) -> None:
        passed: list[str] = []

        def count(subject: str) -> None:
            passed.append(subject)
            if len(passed) == number + 1:
                kill()

        server.hooks.on(point, count)

    assert run_and_kill(server, arm) in (-9, 0)
    server.hooks.clear()
    nothing_is_lost(server, expected)


@pytest.mark.parametrize("seed", range(3 * TIMES))
def test_the_server_is_killed(server: StandIn, expected: set[str], seed: int) -> None:
    draw = random.Random(seed)
    point, number = draw.choice(_POINTS), draw.randrange(3)
    passed: list[str] = []

    def count(subject: str) -> None:
        passed.append(subject)
        if len(passed) == number + 1:
            server.kill_soon()

    server.hooks.on(point, count)
    result = prune_live(server.settings.root, server.url, *POLICY)
    assert result.code in (0, 1, 3), result.err
    if result.code == 1:
        assert "error: " in result.err
    server.hooks.clear()
    server.kill()
    server.start()
    nothing_is_lost(server, expected)


_PAGE = Answer(200, b"<html>log in</html>", {"Content-Type": "text/html"})
_FAULTS = (*((kind, None) for kind in Kind if kind is not Kind.OTHER), (Kind.OTHER, _PAGE))


_PLACES = [
    (path, skip)
    for path, number in (("/cmd/prune", 3), ("/cmd/manifest/list", 8))
    for skip in range(number)
]


@pytest.mark.parametrize(
    ("kind", "answer", "path", "skip"),
    [
        (*fault, *place)
        for number, fault in enumerate(_FAULTS)
        # Each fault at two of the places; at all of them if more is asked for.
        for place in (_PLACES[number % 3], _PLACES[3 + number % 8], *_PLACES)[: 2 + TIMES - 1]
    ],
)
def test_answers_that_are_not_as_they_should_be(
    server: StandIn, expected: set[str], path: str, kind: Kind, answer: Answer | None, skip: int
) -> None:
    fault = Fault(kind, path, skip=skip, seconds=0.01)
    if answer is not None:
        fault.answer = answer
    server.faults.add(fault)
    result = prune_live(server.settings.root, server.url, *POLICY)
    if kind is Kind.SLOW or fault.times:
        assert result.code == 0, result.err
    else:
        assert result.code in (0, 1, 3), result.err
    server.faults.clear()
    nothing_is_lost(server, expected)


def test_no_request_matches_everything(server: StandIn, expected: set[str]) -> None:
    """Every request names exactly what it is about, all of it, and is no dry run."""
    assert prune_live(server.settings.root, server.url, *POLICY).code == 0
    assert files(server.settings.root) == expected
    pruned = [one for one in server.requests if one.startswith("DELETE ")]
    assert pruned
    assert len(server.requests) < _MOST_REQUESTS
    for one in pruned:
        method, _, target = one.partition(" ")
        path, _, query = target.partition("?")
        request = Request(method, path, query)
        assert path == "/cmd/prune"
        assert request.value("type") == "pattern"
        assert request.value("dryRun") == "false"
        assert request.value("count") == "-1"
        for expression in (request.value("expr") or "").split(","):
            assert expression.startswith("^registry")
            assert expression.endswith("$")
