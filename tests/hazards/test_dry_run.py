"""Commands that only read leave no trace: nothing changes, not even an access time."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import pytest
from tests.cli.program import on_terminal, run
from tests.support.cachebuilder import CacheBuilder, Corruption, snapshot
from tests.support.realcaches import unpack

LONG_AGO = 10**18

COMMANDS: Mapping[str, tuple[int, tuple[str, ...]]] = {
    "dry run": (0, ("prune", "--dry-run", "--pattern", "nginx,kube-")),
    "dry run with workers": (0, ("prune", "-n", "--pattern", "nginx", "--jobs", "2")),
    "dry run of all": (4, ("prune", "-n", "--date", "9999-01-01", "--format", "json", "--yes")),
    "list": (0, ("list",)),
    "nothing to do": (0, ("prune", "--pattern", "no-such-image")),
    "usage error": (2, ("prune", "--pattern", "")),
}


def freeze(root: Path) -> dict[Path, os.stat_result]:
    """Sets access times far back, so that every access shows, and remembers the state of all files.

    Only the kernel sets a ctime. So equal ctimes mean that nothing was done.
    """
    paths = [root / relative for relative in snapshot(root)]
    for path in paths:
        os.utime(path, ns=(LONG_AGO, path.lstat().st_mtime_ns), follow_symlinks=False)
    return {path: path.lstat() for path in paths}


def changes(frozen: Mapping[Path, os.stat_result]) -> list[str]:
    """Everything that has changed; found out without reading any file or folder."""
    names = [name for name in dir(os.stat_result) if name.startswith("st_")]
    return [
        f"{path}: {name}"
        for path, before in frozen.items()
        for name in names
        if getattr(path.lstat(), name) != getattr(before, name)
    ]


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    root = unpack("pulled", tmp_path)
    builder = CacheBuilder(root)
    builder.symlink("img", root / "blobs", "link")
    builder.fifo("lts", "pipe")
    builder.directory("blobs")
    return root


@pytest.mark.parametrize(("code", "command"), COMMANDS.values(), ids=COMMANDS)
def test_nothing_at_all_changes(code: int, command: tuple[str, ...], cache: Path) -> None:
    frozen = freeze(cache)
    assert run(*command, cache=cache).code == code
    assert changes(frozen) == []


def test_nothing_changes_when_a_prune_is_refused(cache: Path) -> None:
    CacheBuilder(cache).corrupt(Corruption.CUT)
    frozen = freeze(cache)
    assert run("prune", "--pattern", "nginx", cache=cache).code == 4
    assert changes(frozen) == []


@pytest.mark.parametrize("command", [("list",), ("verify",), ("prune", "--pattern", "nginx")])
def test_nothing_changes_at_what_may_be_a_manifest(command: tuple[str, ...], cache: Path) -> None:
    CacheBuilder(cache).symlink("img", cache / "blobs")
    CacheBuilder(cache).fifo("lts")
    frozen = freeze(cache)
    assert run(*command, cache=cache).code == {"list": 0, "verify": 3, "prune": 4}[command[0]]
    assert changes(frozen) == []


def test_nothing_changes_when_the_answer_is_no(cache: Path) -> None:
    frozen = freeze(cache)
    with on_terminal("prune", "--pattern", "nginx", cache=cache) as terminal:
        terminal.wait_for("[y/N] ")
        terminal.type("n\n")
        assert terminal.wait() == 1
    assert changes(frozen) == []


def test_a_real_prune_is_noticed(cache: Path) -> None:
    # Otherwise the tests above would prove nothing.
    frozen = freeze(cache)
    assert run("prune", "--pattern", "typha", cache=cache).code == 0
    survivors = {path: status for path, status in frozen.items() if path.exists()}
    assert {change.split(": ")[1] for change in changes(survivors)} >= {"st_mtime", "st_ctime"}
