"""The order of the system calls: lists, images, blobs, each on disk before the next goes.

strace records the system calls of a real prune, independently of the program.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

import pytest
from tests.cli.program import run
from tests.faults.injection import CHANGES, Fault, run_with, tool
from tests.faults.scenes import MODES, Mode, Scene, prune_of
from tests.support.cachebuilder import FOLDERS, files

TRACED = "unlinkat,renameat,renameat2,fsync,mkdirat"
# 1234 unlinkat(14</tmp/cache/img>, "0a1b...", 0) = 0
_LINE = re.compile(r'(?:\d+ +)?(\w+)\(\d+<([^>]*)>(?:, "([^"]*)")?(.*)\) += (-?\d+)')


class Call(NamedTuple):
    """A system call.

    Attributes:
        kind: unlink, rmdir, rename, fsync or mkdir.
        folder: Its path in the cache; for a run in the trash: `trash/<folder>`.
        name: The name in that folder; empty for fsync.
    """

    kind: str
    folder: str
    name: str


def traced(root: Path, log: Path, *args: str, failed: bool = False) -> list[Call]:
    """The system calls of a run that change something; those that failed only if asked for."""
    strace = tool("strace", "strace")
    options = ("-f", "-qq", "-y", "-s", "256", "-e", f"trace={TRACED}", "-e", "signal=none")
    result = run(*args, cache=root, prefix=[strace, *options, "-o", str(log), "--"])
    assert (result.code, result.err) == (0, "")
    calls = []
    for line in log.read_text(encoding="utf-8").splitlines():
        match = _LINE.match(line)
        if match is None or not match[2].startswith(str(root)):
            continue
        if match[5] != "0" and not failed:
            continue
        kind = match[1].removesuffix("2").removesuffix("at")
        if kind == "unlink" and "AT_REMOVEDIR" in match[4]:
            kind = "rmdir"
        folder = re.sub(r"\.fastprune/trash/[^/]+", "trash", match[2][len(str(root)) + 1 :])
        calls.append(Call(kind, folder, match[3] or ""))
    return calls


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path)


def phase_of(call: Call, scene: Scene) -> str:
    if call.folder == "blobs":
        return "blobs"
    return "lists" if f"{call.folder}/{call.name}" in scene.outcome.lists else "images"


@pytest.mark.parametrize(("mode", "removing"), [("delete", "unlink"), ("trash", "rename")])
def test_each_phase_is_on_disk_before_the_next_begins(
    mode: Mode, removing: str, scene: Scene, tmp_path: Path
) -> None:
    calls = traced(scene.fresh(), tmp_path / "log", *prune_of(mode))
    removed = [call for call in calls if call.kind == removing]
    assert {f"{call.folder}/{call.name}" for call in removed} == scene.outcome.removed
    phases: list[str] = []
    not_on_disk: set[str] = set()
    for call in calls:
        if call.kind == "fsync":
            # The new name in the trash is on disk before the removal from the folder is.
            if mode == "trash" and call.folder in FOLDERS:
                assert f"trash/{call.folder}" not in not_on_disk
            not_on_disk.discard(call.folder)
        elif call.kind == removing:
            phase = phase_of(call, scene)
            if phase not in phases:
                assert not not_on_disk, f"{phase} begin before {not_on_disk} are on disk"
                phases.append(phase)
            assert phase == phases[-1]
            not_on_disk |= {call.folder} | ({f"trash/{call.folder}"} if mode == "trash" else set())
    assert phases == ["lists", "images", "blobs"]
    assert not not_on_disk
    assert files(scene.root) == scene.outcome.left


def test_outer_lists_are_on_disk_before_inner_ones_go(scene: Scene, tmp_path: Path) -> None:
    calls = traced(scene.fresh(), tmp_path / "log", *prune_of("delete"))
    lists = {one.url: one for one in scene.before.manifests.values() if one.is_list}
    outer = calls.index(Call("unlink", *lists["a:1"].path.split("/")))
    inner = calls.index(Call("unlink", *lists["a@sha256:" + "56" * 32].path.split("/")))
    assert outer < calls.index(Call("fsync", "img", ""), outer) < inner


def test_the_trash_is_on_disk_before_anything_moves(scene: Scene, tmp_path: Path) -> None:
    calls = traced(scene.fresh(), tmp_path / "log", *prune_of("trash"))
    first = next(at for at, call in enumerate(calls) if call.kind == "rename")
    made = [call.folder for call in calls[:first] if call.kind == "mkdir"]
    assert len(made) == 6
    for folder in made:
        last = max(at for at, call in enumerate(calls[:first]) if call.folder == folder)
        assert calls[last].kind == "fsync"


@pytest.mark.parametrize("mode", MODES)
def test_the_faults_stand_before_every_call_that_the_kernel_sees(
    mode: Mode, scene: Scene, tmp_path: Path
) -> None:
    """Otherwise, the tests of "each call" would miss some."""
    seen = traced(scene.fresh(), tmp_path / "log", *prune_of(mode), failed=True)
    counted = run_with(Fault(CHANGES), *prune_of(mode), cache=scene.fresh()).calls
    assert [call.partition(" ")[0] for call in counted] == [call.kind for call in seen]
