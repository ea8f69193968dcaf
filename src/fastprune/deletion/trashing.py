"""Puts runs of the trash back into the cache, or deletes them for good.

Stage: apply. Input: `RunContents`. Output: `TrashReport`. I/O: opens folders; what goes back or
goes for good, goes by `fastprune.deletion.phases`.

The order is the safety, in both directions. What is put back comes before what needs it:
blobs, images, lists, each durable before the next. What is deleted goes the other way
round. So wherever it is cut off, no image that is in the cache misses a blob for it, nor
does one that can still be put back; and the same command once more does the rest.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from functools import partial
from typing import Any

from fastprune.deletion.deleter import Outcome, Restorer, Unlinker, remove_empty, remove_run
from fastprune.deletion.pace import Limits
from fastprune.deletion.phases import Files, Phases, RunContext, batch_of
from fastprune.errors import TrashError
from fastprune.executors.threads import in_thread
from fastprune.index.refcounts import Mask
from fastprune.model import file_names
from fastprune.progress import Progress, WhenSlow, under_way
from fastprune.reading.folders import status_of
from fastprune.reading.trash_folders import opened_cache, opened_run
from fastprune.trash.model import KINDS, FileGroup, RunContents, foreign_paths
from fastprune.trash.report import TrashReport


async def restore(
    root: str,
    contents: RunContents,
    context: RunContext | None = None,
    *,
    restorer: Restorer | None = None,
) -> TrashReport:
    """Puts a run back into the cache. Done twice, or again after a crash, it does the rest.

    The caller has locked the cache.

    Returns:
        What was put back, and what was not and why. If a file can't be put back, or a folder
        not be made durable, nothing that may need it is.

    Raises:
        TrashError: The cache lacks a folder that the run has files for.
        OSError: A folder can't be opened; nothing was put back.
    """
    context, restorer, started = context or RunContext(), restorer or Restorer(), time.monotonic()
    phases = Phases(context, batch_size=restorer.batch_size)
    # What is back leaves the trash, even if the rest is stopped.
    unlimited = RunContext(Limits(context.limits.concurrency))
    with (
        under_way(context.progress, "restoring", contents.files, "files"),
        opened_run(root, contents.run, contents.layout) as trash,
        opened_cache(root, contents.layout) as cache,
    ):
        _check_folders(contents, cache)
        for groups in contents.phases:
            back = await _put_back(phases, groups, trash, cache, restorer)
            for group, done in back:
                leaving = Phases(unlimited, batch_size=restorer.batch_size)
                take_away = partial(restorer.remove, trash[group.folder])
                await leaving.work_on(_files(group, done), take_away)
                phases.failures += leaving.failures
            if phases.failures:
                phases.crew.stop("files that could not be put back")
    await in_thread(remove_run, root, contents.run, contents.layout)
    missing = await in_thread(_missing_blobs, root, contents)
    facts = _done(phases, contents.files, started)
    return _report("restore", root, (contents,), missing_blobs=missing, **facts)


async def _put_back(
    phases: Phases,
    groups: Sequence[FileGroup],
    trash: dict[str, int],
    cache: dict[str, int],
    restorer: Restorer,
) -> list[tuple[FileGroup, Mask]]:
    """Puts back all of a kind, durably.

    Returns:
        What can be removed from the trash: of each group, bool (n,). What may not last in the
        cache stays in the trash as well.
    """
    back: list[tuple[FileGroup, Mask]] = []
    if not await phases.crew.may_begin():
        return back
    for group in groups:
        files = _files(group)
        put = partial(restorer.put_back, trash[group.folder], cache[group.folder])
        await phases.work_on(files, put)
        back.append((group, files.are(Outcome.REMOVED)))
    for group, done in back:
        folder = cache[group.folder]
        if done.any() and not await phases.settle(group.folder, restorer.settle, folder):
            return []
    return back


async def empty(
    root: str, runs: Sequence[RunContents], context: RunContext | None = None
) -> TrashReport:
    """Deletes runs for good. The caller has locked the cache.

    Returns:
        What was deleted, and what was not and why. What could not be deleted keeps all of
        its run that it may need.
    """
    started, context = time.monotonic(), context or RunContext()
    phases = Phases(context, batch_size=Unlinker.batch_size)
    files = sum(contents.files for contents in runs)
    with under_way(context.progress, "deleting", files, "files"):
        for contents in runs:
            with phases.crew.stopping(f"{contents.run} can't be opened"):
                await delete_for_good(phases, root, contents)
            if phases.crew.must_stop():
                break
            await in_thread(remove_run, root, contents.run, contents.layout)
        if not runs:
            await in_thread(remove_empty, root)
    return _report("empty", root, runs, **_done(phases, files, started))


async def delete_for_good(phases: Phases, root: str, contents: RunContents) -> None:
    """Deletes the files of a run, or some of them, those that need others first; folders stay.

    Raises:
        OSError: A folder can't be opened; nothing was deleted.
    """
    unlinker = Unlinker()
    with opened_run(root, contents.run, contents.layout) as trash:
        # In the opposite order: see the head of this module.
        for groups in reversed(contents.phases):
            failed = len(phases.failures)
            for group in groups:
                await phases.work_on(_files(group), partial(unlinker.remove, trash[group.folder]))
            for group in groups:
                await phases.settle(group.folder, unlinker.settle, trash[group.folder])
            if len(phases.failures) > failed:
                # What could not be deleted can still be put back, and may need the rest.
                return


def _files(group: FileGroup, which: Mask | slice = slice(None)) -> Files:
    """The files of a group, or some of them."""
    digests, sizes = group.digests[which], group.sizes[which]
    count = len(digests)
    return Files(group.kind, group.folder, count, lambda at: batch_of(digests[at], sizes[at]))


def _report(command: str, root: str, runs: Sequence[RunContents], **what: Any) -> TrashReport:
    """A report about some runs; `what` are the fields that say what was or would be done."""
    ids = tuple(contents.run for contents in runs)
    return TrashReport(command=command, root=root, runs=ids, foreign=foreign_paths(runs), **what)


def _done(phases: Phases, files: int, started: float) -> dict[str, Any]:
    """What was done to so many files, as fields of a report."""
    return {
        "dry_run": False,
        "counts": {kind: phases.count(Outcome.REMOVED, kind) for kind in KINDS},
        "size": phases.freed,
        "kept": phases.changed,
        "left": files - phases.tried,
        "seconds": time.monotonic() - started,
        **phases.account,
    }


def planned_restore(
    root: str, contents: RunContents, *, progress: Progress | None = None
) -> TrashReport:
    """What `restore` would do: a dry run. Blocking; reads only.

    Args:
        root: Path of the cache.
        contents: What the run holds.
        progress: Is told how many files were looked for in the cache.
    """
    counts, size, kept = dict.fromkeys(KINDS, 0), 0, list[str]()
    with (
        under_way(WhenSlow(progress), "comparing", contents.files, "files") as slow,
        opened_run(root, contents.run, contents.layout) as trash,
        opened_cache(root, contents.layout) as cache,
    ):
        _check_folders(contents, cache)
        for group in contents.groups:
            for piece in _files(group).pieces(Unlinker.batch_size):
                for name, bytes_of_file in zip(*piece.batch[:2], strict=True):
                    if _is_in_the_way(name, trash[group.folder], cache[group.folder]):
                        kept.append(f"{group.folder}/{name}")
                    else:
                        counts[group.kind] += 1
                        size += bytes_of_file
                slow.advance(len(piece.batch.names))
    missing = _missing_blobs(root, contents)
    would_do = {"counts": counts, "size": size, "kept": tuple(sorted(kept))}
    return _report("restore", root, [contents], dry_run=True, missing_blobs=missing, **would_do)


def planned_empty(root: str, runs: Sequence[RunContents]) -> TrashReport:
    """What `empty` would do: a dry run. Pure.

    Args:
        root: Path of the cache.
        runs: What they hold.
    """
    counts = {kind: sum(contents.count(kind) for contents in runs) for kind in KINDS}
    size = sum(contents.size for contents in runs)
    return _report("empty", root, runs, dry_run=True, counts=counts, size=size)


def _check_folders(contents: RunContents, cache: dict[str, int]) -> None:
    for group in contents.groups:
        if group.folder not in cache:
            raise TrashError(
                f"the cache has no folder {group.folder}/ to put files back into; make it first"
            )


def _is_in_the_way(name: str, trash: int, folder: int) -> bool:
    """Whether the cache has another file of this name."""
    there = status_of(name, within=folder)
    if there is None:
        return False
    return not os.path.samestat(there, os.stat(name, dir_fd=trash, follow_symlinks=False))


def _missing_blobs(root: str, contents: RunContents) -> tuple[str, ...]:
    """Which of the blobs that a run needs the cache has no file of."""
    folder = os.path.join(root, contents.layout.blob_folder)
    names = file_names(contents.needs.tobytes())
    return tuple(name for name in names if not os.path.lexists(os.path.join(folder, name)))
