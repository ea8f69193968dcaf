"""A small cache with everything that makes a prune difficult, and checks of it.

The checks are slow and independent of the program: `tests.support.oracle` reads the cache.
"""

from __future__ import annotations

import errno
import os
import shutil
from functools import partial
from pathlib import Path
from typing import Literal

import anyio
from tests.cli.program import Result
from tests.support.cachebuilder import CacheBuilder, files
from tests.support.oracle import (
    Cache,
    Outcome,
    expected,
    kept_images_lost_blobs,
    kept_lists_lost_children,
    load,
)

import fastprune
from fastprune import ApplyOptions, Exclusion, Limits, Policy, Reading

Mode = Literal["delete", "trash"]
MODES: tuple[Mode, ...] = ("delete", "trash")

NUMBERS = (
    errno.EIO,
    errno.EACCES,
    errno.EPERM,
    errno.ENOENT,
    errno.EBUSY,
    errno.EROFS,
    errno.ESTALE,
    errno.ENOSPC,
)
"""The errors with which a call may fail."""

PATTERN = "^a"
_TRASH = ".fastprune/trash"


def prune_of(mode: Mode) -> list[str]:
    """Command and options that prune `PATTERN`: one process, always the same order of calls."""
    options = ["--pattern", PATTERN, "--jobs", "1", "--concurrency", "1", "--summary"]
    return ["prune", *options, *(["--trash"] if mode == "trash" else [])]


class Scene:
    """A cache that can be made again, and what a prune of `PATTERN` does to it.

    Attributes:
        root: The cache.
        before: Its content before the prune.
        outcome: The result of the prune, by the oracle.
    """

    def __init__(self, folder: Path) -> None:
        """Makes the cache in a folder."""
        self._original = build(folder / "original")
        self.root = folder / "cache"
        self.before: Cache = load(self._original)
        self.outcome: Outcome = expected(self.before, patterns=[PATTERN])

    def fresh(self) -> Path:
        """Makes the cache again as it was at the beginning."""
        shutil.rmtree(self.root, ignore_errors=True)
        shutil.copytree(self._original, self.root)
        return self.root

    def losses(self) -> list[str]:
        """See `losses`."""
        return losses(self.before, self.root, self.outcome)

    def complaints(self, result: Result, number: int) -> list[str]:
        """What is wrong with the end of a run in which a call failed.

        Nothing may be lost, the error must be reported, and the exit code must be right.

        Args:
            result: How the run ended.
            number: The errno of the call that failed.
        """
        wrong, left = self.losses(), files(self.root)
        # If a folder disappears while it is listed, ESTALE is reported.
        said = any(os.strerror(one) in result.err for one in (number, errno.ESTALE))
        reported = "Failed: " in result.out or "Stopped: " in result.out
        if "Traceback" in result.err:
            wrong.append("there is a traceback")
        match result.code:
            case 0 if left != self.outcome.left:
                wrong.append("exit code 0, and not everything is done")
            case 1 if left != self.before.paths or result.out or not said:
                wrong.append("exit code 1, and something was removed, or the error is not said")
            case 3 if not (said and reported):
                wrong.append("exit code 3, and the error is not said, or there is no report")
            case 4 if "appeared during" not in result.err and "can't be read" not in result.err:
                wrong.append("exit code 4, and it does not say why")
            case 10 if left != self.before.paths or "no cache at" not in result.err:
                wrong.append("exit code 10, and something was removed, or it does not say why")
            case 0 | 1 | 3 | 4 | 10:
                pass
            case code:
                wrong.append(f"exit code {code}")
        return wrong

    def heal(self, mode: Mode) -> None:
        """Prunes again, and checks that the result is now what it should be."""
        policy = Policy(patterns=(PATTERN,))
        run = "20300101T000000Z-000000"
        applying = ApplyOptions(mode == "trash", run, limits=Limits(concurrency=1))
        again = partial(
            fastprune.prune,
            self.root,
            policy,
            reading=Reading(jobs=1),
            # A killed process holds the lock until the system has removed it.
            exclusion=Exclusion(wait=30, force=True),
            applying=applying,
        )
        report = anyio.run(again)
        assert report is not None
        assert report.exit_code == 0
        assert files(self.root) == self.outcome.left
        if mode == "trash":
            # Everything that went is in the trash.
            assert in_trash(self.root) == self.outcome.removed


def build(root: Path) -> Path:
    """Lists in both folders and in each other, shared layers, an orphan, images that stay."""
    builder = CacheBuilder(root)
    base, own = builder.blob(100), builder.blob(200)
    child = builder.image("a@sha256:" + "12" * 32, layers=[base, own])
    inner = builder.index("a@sha256:" + "56" * 32, children=[child])
    builder.index("a:1", children=[child, inner])
    builder.index("a:latest", children=[child, "ab" * 32])
    builder.image("a:2", layers=[base, builder.blob(300)])
    builder.image("a/b:latest", layers=[own])
    builder.image("kept:1", layers=[base])
    builder.image("kept:latest", layers=[own])
    builder.index("kept:2", children=[builder.image("kept@sha256:" + "34" * 32)])
    builder.blob(400)
    return root


def losses(before: Cache, root: Path, outcome: Outcome) -> list[str]:
    """What is wrong with a cache after a prune that may have been cut off.

    Every image that is left must have every blob that it had, and every list its children.
    Nothing that should stay may be missing or altered.

    Args:
        before: The cache before.
        root: The cache now.
        outcome: What the prune should do.

    Returns:
        Lines that say what is wrong; empty if nothing is.
    """
    after = load(root)
    wrong = [f"{path} lost blob {digest}" for path, digest in kept_images_lost_blobs(before, after)]
    wrong += [f"{path} lost {digest}" for path, digest in kept_lists_lost_children(before, after)]
    wrong += [f"{path} was not to go" for path in before.paths - after.paths - outcome.removed]
    wrong += [f"{path} came from nowhere" for path in after.paths - before.paths]
    wrong += [f"{path} was cut off" for path in after.corrupt.keys() - before.corrupt.keys()]
    for path, manifest in after.manifests.items():
        if manifest != before.manifests.get(path):
            wrong.append(f"{path} was altered")
    for digest, size in after.blobs.items():
        if size != before.blobs.get(digest):
            wrong.append(f"blobs/{digest} was altered")
    return sorted(wrong)


def in_trash(root: Path) -> set[str]:
    """The files in the trash, by the paths that they had in the cache."""
    trash = root / _TRASH
    return set().union(*(files(run) for run in trash.iterdir())) if trash.exists() else set()
