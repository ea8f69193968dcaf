"""A cache with two runs in its trash, tasks for it, and checks of it.

The checks are slow and independent of the program, like those of `tests.faults.scenes`.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Collection
from pathlib import Path

from tests.cli.inside import run_inside
from tests.cli.program import Result
from tests.faults.scenes import PATTERN, build
from tests.hazards.trashing import entries, prune_to_trash
from tests.support.cachebuilder import CacheBuilder, Corruption, files
from tests.support.oracle import (
    Cache,
    kept_images_lost_blobs,
    kept_lists_lost_children,
    load,
)

from fastprune import Policy

OLD, NEW = "20200101T000000Z-000000", "20990101T000000Z-000000"

RESTORE, EMPTY, EMPTY_OLD = "restore", "empty", "empty --older-than"
TASKS = {
    RESTORE: ("trash", "restore", OLD),
    EMPTY: ("trash", "empty", "--yes"),
    EMPTY_OLD: ("trash", "empty", "--older-than", "30d", "--yes"),
}
"""Command and options of each."""

_TRASH = Path(".fastprune", "trash")
_SETTINGS = ("--jobs", "1", "--concurrency", "1")


def words_of(task: str) -> list[str]:
    """Command and options: one process, always the same order of calls."""
    return [*TASKS[task], *_SETTINGS]


class TrashScene:
    """A cache that can be made again, and the result of a task.

    Attributes:
        root: The cache.
        task: One of `TASKS`.
        moved: The files of the run `OLD`, by the paths that they had in the cache.
    """

    def __init__(self, folder: Path, task: str) -> None:
        """Makes the cache in a folder."""
        self._original, self.root, self.task = folder / "original", folder / "cache", task
        builder = CacheBuilder(build(self._original))
        builder.image("other:1", layers=[builder.blob(b"layer")], config=builder.blob(b"config"))
        # The outer list lies in the folder that comes first.
        builder.index("a/c:1", children=[builder.index("a/c:latest", children=["ab" * 32])])
        unreadable = builder.corrupt(Corruption.NULL, folder="lts")
        # Two runs; that of a repair moves what can't be read.
        self._whole, self._stamps = load(self._original), entries(self._original)
        prune_to_trash(self._original, Policy(patterns=("other",)), NEW, skip_corrupt=True)
        self._before = entries(self._original)
        prune_to_trash(self._original, Policy(patterns=(PATTERN,)), OLD, skip_corrupt=True)
        (self._original / unreadable).rename(self._original / _TRASH / OLD / unreadable)
        self.moved = run_files(self._original, OLD)
        self._stays = files(self._original)
        self._newer = run_files(self._original, NEW)

    def fresh(self) -> Path:
        """Makes the cache again as it was at the beginning."""
        shutil.rmtree(self.root, ignore_errors=True)
        shutil.copytree(self._original, self.root)
        return self.root

    def losses(self) -> list[str]:
        """What is wrong with the cache after a task that may have been cut off.

        Every file, in the cache or in the trash, must be as before, byte for byte, with mode
        and time. Every file that should not be deleted must be in one of the two. No image or
        list may be without what it needs, in the cache or in a run that is being deleted.
        """
        here = files(self.root)
        old, newer = run_files(self.root, OLD), run_files(self.root, NEW)
        wrong = [f"{path} was not to go" for path in self._stays - here]
        wrong += [f"{path} came from nowhere" for path in here - self._stays - self.moved]
        wrong += [f"{path} came from nowhere into the trash" for path in old - self.moved]
        if self.task == RESTORE:
            wrong += [f"{path} is nowhere" for path in self.moved - here - old]
        else:
            wrong += [f"{path} was put back" for path in here & self.moved]
        if self.task != EMPTY and newer != self._newer:
            wrong.append("the newer run was touched")
        wrong += [
            f"{path} was altered"
            for path, stamp in entries(self.root).items()
            if stamp not in ("folder", self._stamps.get("/".join(path.split("/")[-2:])))
        ]
        wrong += self._without_what_they_need(load(self.root))
        if self.task != RESTORE:
            wrong += self._without_what_they_need(load(self.root / _TRASH / OLD), here)
        return sorted(wrong)

    def _without_what_they_need(self, now: Cache, elsewhere: Collection[str] = ()) -> list[str]:
        wrong = [
            f"{path} lost blob {digest}"
            for path, digest in kept_images_lost_blobs(self._whole, now)
            if f"blobs/{digest}" not in elsewhere
        ]
        return wrong + [
            f"{path} lost {digest}"
            for path, digest in kept_lists_lost_children(self._whole, now)
            if not {f"img/{digest}", f"lts/{digest}"}.intersection(elsewhere)
        ]

    def undone(self) -> list[str]:
        """Files that the task has left in the trash, or not put back."""
        left = run_files(self.root, OLD)
        if self.task == EMPTY:
            left |= run_files(self.root, NEW)
        if self.task == RESTORE:
            left |= self.moved - files(self.root)
        return [f"{path} is left" for path in sorted(left)]

    def complaints(self, result: Result, number: int) -> list[str]:
        """What is wrong with the end of a task in which a call failed: like `Scene.complaints`."""
        wrong, undone = self.losses(), self.undone()
        # If a file is not found although it is there, ESTALE is reported.
        said = any(os.strerror(one) in result.err for one in (number, errno.ESTALE))
        untouched = run_files(self.root, OLD) == self.moved and files(self.root) == self._stays
        if "Traceback" in result.err:
            wrong.append("there is a traceback")
        match result.code:
            case 0 if undone:
                wrong += [f"exit code 0, and {line}" for line in undone]
            case 1 if not (untouched and said) or result.out:
                wrong.append("exit code 1, and something was done, or the error is not said")
            case 3 if not (said and ("Failed: " in result.out or "Stopped: " in result.out)):
                wrong.append("exit code 3, and the error is not said, or there is no report")
            case 10 if not untouched or "no cache at" not in result.err:
                wrong.append("exit code 10, and something was done, or it does not say why")
            case 0 | 1 | 3 | 10:
                pass
            case code:
                wrong.append(f"exit code {code}")
        return wrong

    def heal(self) -> None:
        """Does the task again, and checks that the result is now what it should be."""
        had_ended = not (self.root / _TRASH / OLD).exists()
        again = run_inside(*words_of(self.task), cache=self.root)
        if self.task == RESTORE and had_ended:
            assert f"no run '{OLD}' in the trash" in again.err
        else:
            assert (again.code, again.err) == (0, "")
        assert self.undone() == []
        assert self.losses() == []
        now = entries(self.root)
        if self.task == RESTORE:
            assert now == self._before
        else:
            folders = {path for path in now if path.startswith(".fastprune")}
            assert bool(folders) == (self.task == EMPTY_OLD)
            assert not any(OLD in path for path in folders)


def run_files(root: Path, run: str) -> set[str]:
    """The files of one run, by the paths that they had in the cache."""
    return files(root / _TRASH / run)
