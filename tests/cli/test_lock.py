"""The lock that keeps a second fastprune away."""

from __future__ import annotations

import os
import threading
from contextlib import ExitStack
from pathlib import Path

import pytest
from tests.cli.program import finish, on_terminal, run, started
from tests.support.cachebuilder import files, snapshot
from tests.support.locking import locked
from tests.support.oracle import expected, load
from tests.support.realcaches import unpack

PRUNE = ("prune", "--pattern", "nginx")


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return unpack("loaded", tmp_path)


def test_the_second_prune_is_refused_and_told_which_process_holds_the_lock(cache: Path) -> None:
    before = snapshot(cache)
    with locked(cache):
        result = run(*PRUNE, cache=cache)
    assert (result.code, result.out) == (11, "")
    assert f"process {os.getpid()} " in result.err
    assert snapshot(cache) == before


def test_what_changes_nothing_needs_no_lock(cache: Path) -> None:
    with locked(cache):
        assert run(*PRUNE, "--dry-run", cache=cache).code == 0
        assert run("list", cache=cache).code == 0


def test_it_waits_for_the_lock_as_long_as_it_is_told(cache: Path) -> None:
    outcome = expected(load(cache), patterns=["nginx"])
    with locked(cache):
        assert run(*PRUNE, "--lock-wait", "200ms", cache=cache).code == 11
    held, let_go = threading.Event(), threading.Event()

    def hold() -> None:
        with locked(cache):
            held.set()
            let_go.wait()

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait()
    timer = threading.Timer(1.5, let_go.set)
    timer.start()
    result = run(*PRUNE, "--lock-wait", "20s", cache=cache)
    thread.join()
    timer.join()
    assert result.code == 0
    assert files(cache) == outcome.left


def test_the_lock_is_free_again_when_its_holder_was_killed(cache: Path) -> None:
    outcome = expected(load(cache), patterns=["nginx"])
    with on_terminal(*PRUNE, cache=cache) as terminal:
        terminal.wait_for("[y/N] ")
        refused = run(*PRUNE, cache=cache)
        assert refused.code == 11
        assert f"process {terminal.pid} " in refused.err
        terminal.kill()
        terminal.wait()
    assert run(*PRUNE, cache=cache).code == 0
    assert files(cache) == outcome.left


def test_the_lock_leaves_no_file_behind(cache: Path) -> None:
    assert run(*PRUNE, cache=cache).code == 0
    assert {path.name for path in cache.iterdir()} == {"img", "lts", "blobs"}


def test_prunes_that_start_together_do_not_get_in_each_others_way(cache: Path) -> None:
    outcome = expected(load(cache), patterns=["nginx"])
    with ExitStack() as stack:
        processes = [stack.enter_context(started(*PRUNE, cache=cache)) for _ in range(4)]
        codes = {finish(process).code for process in processes}
    assert 0 in codes
    assert codes <= {0, 11}
    assert files(cache) == outcome.left
