"""Asking a running server goes wrong anywhere: nothing is lost, and the next run does the rest."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from tests.support.asked_server import AskedServer
from tests.support.asking import EVERYTHING, Notes, age, ask, plan_of, prune_beside, set_aside
from tests.support.cachebuilder import CacheBuilder, digest_of, files, snapshot
from tests.support.oracle import Cache, Outcome, expected, kept_images_lost_blobs, load
from tests.support.stand_in.hooks import Point

from fastprune import Limits, Policy, PruneReport, ServerError, TrashError
from fastprune.deletion import deleter

PATTERN = "^r.example/goes"
GOES = Policy(patterns=(PATTERN,))


class Killed(BaseException):
    """The process ends here."""


def crowd(root: Path) -> Path:
    """Lists and images that go and stay, in both folders, with blobs in common, and orphans.

    One image that goes was not loaded by the server, one that stays neither.
    """
    builder = CacheBuilder(root)
    layers = [builder.blob(size) for size in (10, 500, 300, 700, 4, 90)]
    children = []
    for number in range(3):
        child = builder.image(
            f"r.example/goes{number}@sha256:{digest_of(str(number))}",
            layers=[layers[number], layers[number + 1]],
            name=digest_of(str(number)),
        )
        children.append(child)
        builder.index(f"r.example/goes{number}:1", children=[child])
    builder.image("r.example/goes:latest", layers=[layers[3], layers[5]])
    builder.image("r.example/stays:1", layers=[layers[3]])
    lost = builder.blob(77)
    builder.image("r.example/goes-unloaded:1", layers=[layers[4], lost])
    builder.image("r.example/stays-unloaded:1", layers=[layers[5], lost])
    (root / "blobs" / lost).unlink()
    builder.blob(33)
    age(root)
    return root


class Steps:
    """Counts what happens, and does something at one of the steps."""

    def __init__(self, at: int, action: Callable[[], None]) -> None:
        """Does this at the step of this number, and at none after it."""
        self.count, self._at, self._action = 0, at, action

    def step(self, _: object = None) -> None:
        """Something happens."""
        self.count += 1
        if self.count - 1 == self._at:
            self._action()

    @property
    def came(self) -> bool:
        """Whether the step was reached."""
        return self.count > self._at


def watch(server: AskedServer, steps: Steps) -> None:
    """Counts the steps of a server: requests, answers, manifests and what is between."""
    server.before = server.after = steps.step
    for point in (Point.BEFORE_MANIFEST, Point.BETWEEN):
        server.hooks.on(point, steps.step)


def unwatch(server: AskedServer) -> None:
    server.before = server.after = lambda what: None
    server.hooks.clear()


def check_nothing_lost(before: Cache, root: Path) -> None:
    """Of no image that is there a blob was lost that is not in the trash."""
    after = load(root)
    aside = {path.rpartition("/")[2] for path in set_aside(root)}
    assert {digest for _, digest in kept_images_lost_blobs(before, after)} <= aside


def finish(root: Path, server: AskedServer, left: frozenset[str], first: int = 1) -> None:
    """Later runs, the second after a restart of the server, bring everything in order."""
    before = load(root)
    prune_beside(root, server, GOES, run=first)
    check_nothing_lost(before, root)
    assert kept_images_lost_blobs(before, load(root)) == []
    server.restart()
    for run in (first + 1, first + 2):
        prune_beside(root, server, GOES, run=run)
    assert files(root) == left
    assert set_aside(root) == set()


def attempted(
    work: Callable[[], PruneReport],
) -> tuple[PruneReport | None, BaseException | None]:
    """The report of a run, or what ended it."""
    try:
        return work(), None
    except BaseException as error:
        return None, error


def outcome_of(root: Path) -> Outcome:
    return expected(load(root), patterns=(PATTERN,))


@pytest.mark.parametrize("restarts", [False, True])
def test_the_server_fails_at_any_step(restarts: bool, tmp_path: Path) -> None:
    def fail() -> None:
        raise ServerError("no answer")

    at, came = 0, True
    while came:
        root = crowd(tmp_path / str(at))
        before, left = load(root), outcome_of(root).left
        server, notes = AskedServer(root), Notes()
        plan, steps = plan_of(root, server, GOES), Steps(at, fail)
        watch(server, steps)
        report, error = attempted(partial(ask, plan, server, journal=notes))
        assert error is None or str(error) == "no answer"
        unwatch(server)
        came = steps.came
        check_nothing_lost(before, root)
        # Where there was no answer, the next look finds what the server did all the same.
        assert set(notes.went()) == before.paths - load(root).paths
        if report is None:
            assert notes.went() == []
        elif came:
            assert (report.stopped, report.exit_code) == ("no answer", 3)
        else:
            assert (report.stopped, report.exit_code) == ("", 0)
        if restarts:
            server.restart()
        finish(root, server, left)
        at += 2 if restarts else 1
    assert at > 30


class _Counting:
    """The module os for the deleter: each call that changes something is a step.

    After the kill, no call changes anything: neither does what cleans up.
    """

    CHANGING = ("link", "unlink", "rename", "mkdir", "rmdir")

    def __init__(self, step: Callable[[], None], is_dead: Callable[[], bool]) -> None:
        self._step, self._is_dead = step, is_dead

    def __getattr__(self, name: str) -> Any:
        found = getattr(os, name)
        if name not in self.CHANGING:
            return found

        def call(*args: Any, **named: Any) -> Any:
            if self._is_dead():
                raise Killed
            self._step()
            return found(*args, **named)

        return call


@contextmanager
def killed_at(at: int, server: AskedServer, patch: pytest.MonkeyPatch) -> Iterator[Steps]:
    """Ends fastprune at a step of its own or of the server."""
    dead = False

    def kill() -> None:
        nonlocal dead
        dead = True
        raise Killed

    steps = Steps(at, kill)
    watch(server, steps)
    with patch.context() as patched:
        patched.setattr(deleter, "os", _Counting(steps.step, lambda: dead))
        yield steps
    unwatch(server)


@pytest.mark.parametrize("restarts", [False, True])
def test_fastprune_is_killed_at_any_step(
    restarts: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    at, came = 0, True
    while came:
        root = crowd(tmp_path / str(at))
        before, left = load(root), outcome_of(root).left
        server = AskedServer(root)
        plan = plan_of(root, server, GOES)
        with killed_at(at, server, monkeypatch) as steps:
            _, error = attempted(partial(ask, plan, server))
        assert steps.came or error is None
        came = steps.came
        check_nothing_lost(before, root)
        if restarts:
            server.restart()
        finish(root, server, left)
        # Not each one: this would take long.
        at += 4
    assert at > 60


def test_the_next_run_is_killed_at_any_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It empties what the first one has set aside, and puts back what it was killed with."""
    at, came = 0, True
    while came:
        root = crowd(tmp_path / str(at))
        before, left = load(root), outcome_of(root).left
        server = AskedServer(root)
        with killed_at(60, server, monkeypatch) as first:
            attempted(partial(prune_beside, root, server, GOES))
        assert first.came
        plan = plan_of(root, server, GOES)
        with killed_at(at, server, monkeypatch) as steps:
            _, error = attempted(partial(ask, plan, server, run=1))
        assert steps.came or error is None
        came = steps.came
        check_nothing_lost(before, root)
        finish(root, server, left, first=2)
        at += 4


def test_without_hard_links_nothing_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = crowd(tmp_path / "cache")
    server = AskedServer(root)
    plan = plan_of(root, server, GOES)
    before = snapshot(root)

    def refused(*_: object, **__: object) -> None:
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    with monkeypatch.context() as patched:
        patched.setattr(os, "link", refused)
        with pytest.raises(TrashError, match="no hard link"):
            ask(plan, server)
    assert server.asked == []
    after = snapshot(root)
    assert {path: after[path] for path in before if path != "."} == {
        path: stamp for path, stamp in before.items() if path != "."
    }
    assert not (root / ".fastprune").exists()


def test_a_blob_that_can_not_be_set_aside_ends_the_run_before_the_request(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = crowd(tmp_path / "cache")
    server = AskedServer(root)
    plan = plan_of(root, server, GOES)
    link, calls = os.link, []

    def limited(name: str, *args: Any, **named: Any) -> None:
        calls.append(name)
        if len(calls) > 2:
            raise OSError(errno.EMLINK, os.strerror(errno.EMLINK))
        link(name, *args, **named)

    with monkeypatch.context() as patched:
        patched.setattr(os, "link", limited)
        report = ask(plan, server)
    assert "can't be set aside: Too many links" in report.stopped
    assert len(report.images) == 0
    assert set_aside(root) == set()


def test_a_blob_that_can_not_be_put_back_stays_aside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = crowd(tmp_path / "cache")
    before, left = load(root), outcome_of(root).left
    server = AskedServer(root)
    plan = plan_of(root, server, GOES)

    def refused(*_: object, **__: object) -> bool:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as patched:
        patched.setattr(deleter, "_link_back", refused)
        report = ask(plan, server)
    assert "can't be put back" in report.stopped
    assert report.exit_code == 3
    assert set_aside(root)
    check_nothing_lost(before, root)
    finish(root, server, left)


def test_the_run_ends_between_two_requests(tmp_path: Path) -> None:
    root = crowd(tmp_path / "cache")
    server = AskedServer(root)
    plan = plan_of(root, server, GOES)
    limits = Limits(1, stopped=lambda: "--max-duration" if server.asked else "")
    report = ask(plan, server, limits=limits)
    assert len(server.asked) == 1
    assert len(report.lists) == 3
    assert (report.stopped, report.exit_code) == ("--max-duration", 3)
    assert report.left > 0


def test_the_pace_makes_requests_small(tmp_path: Path) -> None:
    root = crowd(tmp_path / "cache")
    server = AskedServer(root)
    report = ask(plan_of(root, server, GOES), server, limits=Limits(1, per_second=500.0))
    assert report.exit_code == 0
    assert [len(urls) for urls in server.asked] == [3, 3, 1]
    other = crowd(tmp_path / "other")
    server = AskedServer(other)
    slow = Limits(1, per_second=2.5, stopped=lambda: "enough" if server.asked else "")
    ask(plan_of(other, server, GOES), server, limits=slow)
    assert [len(urls) for urls in server.asked] == [2]


def test_requests_get_smaller_when_the_server_is_slow(tmp_path: Path) -> None:
    builder = CacheBuilder(tmp_path / "cache")
    for number in range(300):
        builder.image(f"r.example/a{number:03}:1")
    age(builder.root)
    server, now = AskedServer(builder.root), [0.0]

    def slow(what: str) -> None:
        if what == "prune":
            now[0] += len(server.asked[-1]) / 128

    server.after = slow
    report = ask(plan_of(builder.root, server), server, clock=lambda: now[0])
    assert report.exit_code == 0
    assert [len(urls) for urls in server.asked] == [20, *[38] * 7, 14]
    fast = AskedServer(crowd(tmp_path / "fast"))
    assert ask(plan_of(tmp_path / "fast", fast, EVERYTHING), fast).exit_code == 0
