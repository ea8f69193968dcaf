"""Puts runs of the trash back into the cache, or deletes them for good.

Stage: apply. Input: `RunContents`. Output: `TrashReport`. I/O: opens folders; all that
changes one is done by `fastprune.deletion.deleter`, in batches on threads.

The order is the safety, in both directions. What is put back comes before what needs it:
blobs, images, lists, each durable before the next. What is deleted goes the other way
round. So wherever it is cut off, no image that is in the cache misses a blob for it, nor
does one that can still be put back; and the same command once more does the rest.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial

import numpy as np

from fastprune.deletion.batches import Crew, Piece, in_pieces
from fastprune.deletion.deleter import (
    Batch,
    BatchResult,
    Outcome,
    Restorer,
    Unlinker,
    remove_run,
    remove_trash,
)
from fastprune.deletion.pace import Limits
from fastprune.errors import TrashError
from fastprune.executors.threads import in_thread
from fastprune.guard.server_findings import LookForServers
from fastprune.index.refcounts import Mask
from fastprune.model import file_names
from fastprune.progress import NoProgress, Progress, WhenSlow, under_way
from fastprune.report.prune_report import Failure
from fastprune.trash.model import KINDS, RunContents, RunPart
from fastprune.trash.report import TrashReport
from fastprune.trash.tree import opened_cache, opened_run


async def restore(
    root: str,
    contents: RunContents,
    *,
    restorer: Restorer | None = None,
    limits: Limits | None = None,
    progress: Progress | None = None,
    look: LookForServers | None = None,
) -> TrashReport:
    """Puts a run back into the cache. Done twice, or again after a crash, it does the rest.

    Args:
        root: Path of the cache, which the caller has locked.
        contents: What the run holds.
        restorer: How to do it.
        limits: Pace and end.
        progress: Is told about files and bytes.
        look: Looks for servers before each phase; what it finds ends the work.

    Returns:
        What was put back, and what was not and why. If a file can't be put back, or a folder
        not be made durable, nothing that may need it is.

    Raises:
        TrashError: The cache lacks a folder that the run has files for.
        OSError: A folder can't be opened; nothing was put back.
    """
    restorer = restorer or Restorer()
    work = _Work("restore", root, limits or Limits(), progress or NoProgress(), look)
    with (
        under_way(work.progress, "restoring", contents.files, "files"),
        opened_run(root, contents.run, contents.layout) as trash,
        opened_cache(root, contents.layout) as cache,
    ):
        _check_folders(contents, cache)
        for parts in contents.phases:
            await _put_back(work, parts, trash, cache, restorer)
            if work.failures:
                work.crew.stop("files that could not be put back")
    await in_thread(remove_run, root, contents.run, contents.layout)
    missing = await in_thread(_missing_blobs, root, contents)
    return work.report((contents,), missing_blobs=missing)


async def _put_back(
    work: _Work,
    parts: Sequence[RunPart],
    trash: dict[str, int],
    cache: dict[str, int],
    restorer: Restorer,
) -> None:
    """Puts back all of a kind; when that is durable, removes it from the trash."""
    back: list[tuple[RunPart, Mask]] = []
    if not any(len(part.digests) for part in parts) or not await work.crew.may_begin():
        return
    for part in parts:
        put = partial(restorer.put_back, trash[part.folder], cache[part.folder])
        back.append((part, await work.on_part(part, put)))
    for part, done in back:
        if done.any() and not await work.crew.settle(
            part.folder, restorer.settle, cache[part.folder]
        ):
            # What may not last in the cache stays in the trash as well.
            return
    for part, done in back:
        forget = partial(restorer.forget, trash[part.folder])
        await work.afterwards(part, done, forget)


async def empty(
    root: str,
    runs: Sequence[RunContents],
    *,
    limits: Limits | None = None,
    progress: Progress | None = None,
) -> TrashReport:
    """Deletes runs for good.

    Args:
        root: Path of the cache, which the caller has locked.
        runs: What they hold.
        limits: Pace and end.
        progress: Is told about files and bytes that went.

    Returns:
        What was deleted, and what was not and why. What could not be deleted keeps all of
        its run that it may need.
    """
    work = _Work("empty", root, limits or Limits(), progress or NoProgress())
    files = sum(contents.files for contents in runs)
    with under_way(work.progress, "deleting", files, "files"):
        for contents in runs:
            with work.crew.stopping(f"{contents.run} can't be opened"):
                await _delete(work, contents)
            if work.crew.must_stop():
                break
            await in_thread(remove_run, root, contents.run, contents.layout)
        if not runs:
            await in_thread(remove_trash, root)
    return work.report(runs)


async def _delete(work: _Work, contents: RunContents) -> None:
    unlinker = Unlinker()
    with opened_run(work.root, contents.run, contents.layout) as trash:
        # In the opposite order: see the head of this module.
        for parts in reversed(contents.phases):
            failed = len(work.failures)
            for part in parts:
                await work.on_part(part, partial(unlinker.remove, trash[part.folder]))
            for part in parts:
                await work.crew.settle(part.folder, unlinker.settle, trash[part.folder])
            if len(work.failures) > failed:
                # What could not be deleted can still be put back, and may need the rest.
                return


class _Work:
    """One command on the trash: the threads that do it, and what came of it."""

    def __init__(
        self,
        command: str,
        root: str,
        limits: Limits,
        progress: Progress,
        look: LookForServers | None = None,
    ) -> None:
        self.root, self.crew, self.progress = root, Crew(limits, look), progress
        self.failures: list[Failure] = []
        self._command, self._limits = command, limits
        self._counts = dict.fromkeys(KINDS, 0)
        self._size = self._tried = 0
        self._kept: list[str] = []
        self._started = time.monotonic()

    async def on_part(self, part: RunPart, work: Callable[[Batch], BatchResult]) -> Mask:
        """Works on the files of a part, until it must stop; gives which of them are done."""
        finished = np.zeros(len(part.digests), dtype=bool)

        async def note(piece: Piece, result: BatchResult) -> None:
            outcomes = np.frombuffer(result.outcomes, dtype=np.uint8)
            finished[piece.positions] = outcomes == Outcome.REMOVED
            self._note(part, piece.batch, result)

        size = self.crew.batch_size(Unlinker.batch_size)
        await self.crew.work_on(in_pieces(part.digests, part.sizes, size), work, note)
        return finished

    async def afterwards(
        self, part: RunPart, done: Mask, work: Callable[[Batch], BatchResult]
    ) -> None:
        """Works on those files of a part that are done, whether or not the rest is stopped."""

        async def note(piece: Piece, result: BatchResult) -> None:
            self._note_failures(part, piece.batch, result)

        pieces = in_pieces(part.digests[done], part.sizes[done], Unlinker.batch_size)
        await Crew(Limits(self._limits.concurrency)).work_on(pieces, work, note)

    def _note(self, part: RunPart, batch: Batch, result: BatchResult) -> None:
        self._tried += len(batch.names)
        self._counts[part.kind] += result.outcomes.count(Outcome.REMOVED)
        self._size += sum(result.freed)
        self._kept += [
            f"{part.folder}/{name}"
            for name, outcome in zip(batch.names, result.outcomes, strict=True)
            if outcome == Outcome.CHANGED
        ]
        self._note_failures(part, batch, result)
        self.progress.advance(len(batch.names), sum(result.freed))

    def _note_failures(self, part: RunPart, batch: Batch, result: BatchResult) -> None:
        self.failures += [
            Failure(f"{part.folder}/{batch.names[position]}", number, os.strerror(number))
            for position, number in result.errors.items()
        ]

    def report(
        self, runs: Sequence[RunContents], *, missing_blobs: tuple[str, ...] = ()
    ) -> TrashReport:
        """What was done to some runs."""
        files = sum(contents.files for contents in runs)
        return TrashReport(
            command=self._command,
            root=self.root,
            runs=tuple(contents.run for contents in runs),
            dry_run=False,
            counts=self._counts,
            size=self._size,
            kept=tuple(sorted(self._kept)),
            failures=tuple(sorted(self.failures)),
            left=files - self._tried,
            stopped=self.crew.stopped,
            servers=self.crew.servers,
            missing_blobs=missing_blobs,
            foreign=foreign_paths(runs),
            seconds=time.monotonic() - self._started,
            not_durable=tuple(self.crew.not_durable),
        )


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
        for part in contents.parts:
            for piece in in_pieces(part.digests, part.sizes, Unlinker.batch_size):
                for name, bytes_of_file in zip(*piece.batch[:2], strict=True):
                    if _is_in_the_way(name, trash[part.folder], cache[part.folder]):
                        kept.append(f"{part.folder}/{name}")
                    else:
                        counts[part.kind] += 1
                        size += bytes_of_file
                slow.advance(len(piece.batch.names))
    return TrashReport(
        command="restore",
        root=root,
        runs=(contents.run,),
        dry_run=True,
        counts=counts,
        size=size,
        kept=tuple(sorted(kept)),
        missing_blobs=_missing_blobs(root, contents),
        foreign=foreign_paths([contents]),
    )


def planned_empty(root: str, runs: Sequence[RunContents]) -> TrashReport:
    """What `empty` would do: a dry run. Pure.

    Args:
        root: Path of the cache.
        runs: What they hold.
    """
    return TrashReport(
        command="empty",
        root=root,
        runs=tuple(contents.run for contents in runs),
        dry_run=True,
        counts={kind: sum(contents.count(kind) for contents in runs) for kind in KINDS},
        size=sum(contents.size for contents in runs),
        foreign=foreign_paths(runs),
    )


def foreign_paths(runs: Iterable[RunContents]) -> tuple[str, ...]:
    """Paths, relative to the trash, of what is in runs and no cached file."""
    return tuple(f"{contents.run}/{path}" for contents in runs for path in contents.foreign)


def _check_folders(contents: RunContents, cache: dict[str, int]) -> None:
    for part in contents.parts:
        if part.folder not in cache:
            raise TrashError(
                f"the cache has no folder {part.folder}/ to put files back into; make it first"
            )


def _is_in_the_way(name: str, trash: int, folder: int) -> bool:
    """Whether the cache has another file of this name."""
    try:
        there = os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return not os.path.samestat(there, os.stat(name, dir_fd=trash, follow_symlinks=False))


def _missing_blobs(root: str, contents: RunContents) -> tuple[str, ...]:
    """Which of the blobs that a run needs the cache has no file of."""
    folder = os.path.join(root, contents.layout.blob_folder)
    names = file_names(contents.needs.tobytes())
    return tuple(name for name in names if not os.path.lexists(os.path.join(folder, name)))
