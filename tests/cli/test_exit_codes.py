"""Exit codes that no other file tests, and that there are no other codes."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from tests.cli.program import finish, holds_open, run, started, wait_until
from tests.support.cachebuilder import CacheBuilder, Corruption, snapshot
from tests.support.realcaches import unpack

from fastprune.errors import EXIT_CODES


def test_the_documented_codes_are_those_that_the_tests_make() -> None:
    # 2: usage errors; 3: failed deletions; 4: corrupt manifests; 11: the lock; 129, 130 and
    # 143: signals; each in a file of its own.
    assert set(EXIT_CODES) == {0, 1, 2, 3, 4, 10, 11, 129, 130, 143}


@pytest.mark.parametrize("command", [("list",), ("prune", "--pattern", "a")], ids=" ".join)
def test_a_missing_path_is_no_cache_and_is_not_created(
    command: tuple[str, ...], tmp_path: Path
) -> None:
    result = run(*command, cache=tmp_path / "missing" / "cache")
    assert (result.code, result.out) == (10, "")
    assert str(tmp_path / "missing" / "cache") in result.err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", ["empty folder", "folder of other things", "file"])
def test_what_is_no_cache_is_left_as_it_is(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "cache"
    if kind == "file":
        path.write_bytes(b"no folder")
    else:
        path.mkdir()
        if kind == "folder of other things":
            (path / "blobs").mkdir()
            (path / "blobs" / ("ab" * 32)).write_bytes(b"of another program")
    before = snapshot(tmp_path)
    assert run("prune", "--pattern", ".", cache=path).code == 10
    assert snapshot(tmp_path) == before


def test_folders_that_the_server_has_not_made_yet_count_as_empty(tmp_path: Path) -> None:
    builder = CacheBuilder(tmp_path / "cache")
    builder.image("a:1", config="ab" * 32)
    (builder.root / "lts").rmdir()
    (builder.root / "blobs").rmdir()
    assert run("list", "--format", "url", cache=builder.root).out == "a:1\n"
    options = ("--pattern", "a", "--allow-remove-all")
    assert run("prune", *options, cache=builder.root).code == 0
    assert {path.name for path in builder.root.iterdir()} == {"img"}


def test_a_cache_behind_a_symbolic_link_is_a_cache(tmp_path: Path) -> None:
    root = unpack("loaded", tmp_path)
    link = tmp_path / "link"
    link.symlink_to(root)
    assert run("list", cache=link) == run("list", cache=root)


@pytest.mark.skipif(not os.path.exists("/proc/self/task"), reason="finds the workers in /proc")
def test_a_worker_that_dies_is_an_error_and_nothing_is_removed(tmp_path: Path) -> None:
    builder = CacheBuilder(tmp_path / "cache")
    builder.image("a:1")
    builder.corrupt(Corruption.EMPTY)  # Read again and again: the workers have work to come.
    before = snapshot(builder.root)
    options = ("--pattern", "a", "--skip-corrupt", "--jobs", "2")
    with started("prune", *options, cache=builder.root) as process:
        wait_until(lambda: holds_open(process, builder.root) and len(children(process.pid)) == 2)
        for worker in children(process.pid):
            os.kill(worker, signal.SIGKILL)
        result = finish(process)
    assert (result.code, result.out) == (1, "")
    assert "SIGKILL" in result.err
    assert snapshot(builder.root) == before


def children(pid: int) -> list[int]:
    """The child processes of a process (proc(5), /proc/pid/task/tid/children)."""
    return [
        int(child)
        for thread in Path(f"/proc/{pid}/task").iterdir()
        for child in (thread / "children").read_text(encoding="ascii").split()
    ]
