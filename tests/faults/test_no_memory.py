"""Memory runs out: an error before anything is deleted, later a stop in order."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import anyio
import pytest
from tests.cli.program import environment
from tests.faults.scenes import PATTERN, Scene
from tests.faults.trash_scenes import RESTORE, TrashScene
from tests.hazards.steps import plan_for
from tests.support.cachebuilder import files, snapshot
from tests.support.inprocess import invoke

from fastprune import Limits, PruneReport
from fastprune.deletion.deleter import Batch, BatchResult, Unlinker
from fastprune.deletion.phases import RunContext
from fastprune.deletion.pruning import carry_out
from fastprune.plan.prune_plan import PrunePlan
from fastprune.reading import folders

PRUNE = ("prune", "--pattern", PATTERN, "--summary")


def out_of_memory(*_: Any, **__: Any) -> Any:
    raise MemoryError


def carried_out(scene: Scene, deleter: Unlinker) -> PruneReport:
    plan = plan_for(scene.root, PATTERN)
    report: PruneReport = anyio.run(carry_out, plan, deleter, RunContext(Limits(1)))
    return report


@pytest.mark.parametrize("command", [PRUNE, ("list",), ("verify",), ("du",)], ids=" ".join)
def test_during_a_scan_it_is_an_error_and_nothing_is_deleted(
    command: tuple[str, ...], scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = snapshot(scene.root)
    monkeypatch.setattr(folders, "list_folder", out_of_memory)
    result = invoke(*command, "--jobs", "1", cache=scene.root)
    assert (result.code, result.out) == (1, "")
    assert f"memory ran out while {scene.root} was read; nothing was deleted" in result.err
    assert "hint: use fewer workers with --jobs" in result.err
    assert snapshot(scene.root) == before


def test_elsewhere_it_is_an_error_too(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PrunePlan, "is_empty", property(out_of_memory))
    result = invoke(*PRUNE, cache=scene.root)
    assert (result.code, result.out) == (1, "")
    assert "error: memory ran out\n" in result.err
    assert files(scene.root) == scene.before.paths


def test_a_batch_that_finds_none_ends_the_run_in_order(scene: Scene) -> None:
    class Small(Unlinker):
        batch_size = 1
        calls = 0

        def remove(self, folder: int, batch: Batch) -> BatchResult:
            self.calls += 1
            if self.calls == 4:
                raise MemoryError
            return super().remove(folder, batch)

    report = carried_out(scene, Small())
    assert (report.exit_code, report.stopped) == (3, "memory ran out")
    assert len(scene.before.paths) - len(files(scene.root)) == len(report.manifests) == 3
    assert report.left == len(scene.outcome.removed) - 3
    assert scene.losses() == []
    scene.heal("delete")


def test_between_the_phases_it_ends_the_run_in_order(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = plan_for(scene.root, PATTERN)
    monkeypatch.setattr(PrunePlan, "without", out_of_memory)
    report: PruneReport = anyio.run(carry_out, plan, Unlinker(), RunContext(Limits(1)))
    assert (report.exit_code, report.stopped) == (3, "memory ran out")
    assert len(scene.before.paths) - len(files(scene.root)) == len(report.manifests) > 0
    assert len(report.blobs) == 0
    assert scene.losses() == []


def test_a_file_that_finds_none_failed_and_the_others_are_told(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = min(scene.outcome.images)
    unlink = os.unlink

    def small(name: str, **options: Any) -> None:
        if path.endswith(name):
            raise MemoryError
        unlink(name, **options)

    monkeypatch.setattr(os, "unlink", small)
    report = carried_out(scene, Unlinker())
    monkeypatch.undo()
    assert report.exit_code == 3
    assert [(one.path, one.errno) for one in report.failures] == [(path, errno.ENOMEM)]
    assert path in files(scene.root)
    assert scene.losses() == []
    scene.heal("delete")


def test_what_is_put_back_is_told_as_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scene = TrashScene(tmp_path, RESTORE)
    scene.fresh()
    monkeypatch.setattr(os, "link", out_of_memory)
    result = invoke("trash", "restore", "20200101", "--concurrency", "1", cache=scene.root)
    assert result.code == 3
    assert f"can't be put back: {os.strerror(errno.ENOMEM)}" in result.err
    assert "Stopped: files that could not be put back" in result.out


# A small build of Python.


def test_a_python_without_ctypes_does_the_same(scene: Scene) -> None:
    """Python is built without it where there is no libffi."""
    program = (
        "import sys\nsys.modules['_ctypes'] = None\nfrom fastprune.cli.main import main\nmain()\n"
    )
    plan = scene.root.parent / "plan"
    for words in (
        ("list",),
        ("du",),
        ("verify", "--content"),
        ("plan", "--pattern", PATTERN, "-o", str(plan)),
        (*PRUNE, "--jobs", "2", "--audit-log", str(scene.root.parent / "log")),
    ):
        done = subprocess.run(
            [sys.executable, "-c", program, *words, "--image-path", str(scene.root)],
            env=environment(),
            capture_output=True,
            check=False,
        )
        assert (done.returncode, done.stderr) == (0, b"")
    assert files(scene.root) == scene.outcome.left


def test_a_library_that_can_t_be_loaded_is_an_error_without_a_traceback(scene: Scene) -> None:
    """As numpy reports that memory is short: in many lines, with the reason last."""
    program = (
        "import sys\n"
        "name = sys.argv.pop()\n"
        "class Refusing:\n"
        "    def find_spec(self, wanted, *_):\n"
        "        if wanted == name: raise ImportError('Many words.\\n\\nno memory\\n')\n"
        "sys.meta_path.insert(0, Refusing())\n"
        "from fastprune.cli.main import main\n"
        "main()\n"
    )
    for name in ("numpy", "anyio._backends._asyncio"):
        done = subprocess.run(
            [sys.executable, "-c", program, *PRUNE, "--image-path", str(scene.root), name],
            env=environment(),
            capture_output=True,
            check=False,
        )
        assert (done.returncode, done.stdout) == (1, b"")
        assert b"error: a library can't be loaded: no memory\n" in done.stderr
        assert b"Traceback" not in done.stderr
        assert files(scene.root) == scene.before.paths
