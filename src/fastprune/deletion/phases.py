"""What all plans share: work on the files of a folder, and what became of them.

Stage: apply. Input: `Files`. Output: what became of each, in its arrays. I/O: opens folders;
all that changes one is done by `fastprune.deletion.deleter`, in batches on threads.

`pruning`, `repairing` and `trashing` say which files come in which order. For the files of one
folder, the order is always this: the journal is told of each batch; at the end what it was told
is made durable, and then the folder is.
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastprune.deletion.batches import Crew, Piece
from fastprune.deletion.checks import Check
from fastprune.deletion.deleter import Batch, BatchResult, Deleter, Outcome
from fastprune.deletion.journal import Fact, Journal, file_entries
from fastprune.deletion.pace import Limits
from fastprune.errors import JournalError
from fastprune.guard.server_findings import LookForServers
from fastprune.index.digests import Digests
from fastprune.index.refcounts import Mask
from fastprune.model import file_names
from fastprune.progress import NoProgress, Progress, under_way
from fastprune.reading.folders import opened_folder
from fastprune.report.run_report import Failure

UNTRIED = 255
"""The outcome of a file that no batch has come to."""


class Files:
    """Files of one kind in one folder that all take the same step, and what became of each.

    Attributes:
        kind: list, image, blob or unreadable.
        folder: The name of the folder.
        facts: Gives what the journal is told of those at some positions.
        outcomes: uint8 (n,): values of `Outcome`, or `UNTRIED`.
        freed: int64 (n,): bytes of each file that was removed, else 0.
        action: What is done to them, if it is not what the run does: see `JournalEntry`.
    """

    __slots__ = ("_batch", "action", "facts", "folder", "freed", "kind", "outcomes")

    def __init__(
        self,
        kind: str,
        folder: str,
        count: int,
        batch: Callable[[slice], Batch],
        facts: Callable[[slice], Iterable[Fact]] = lambda _: (),
        *,
        action: str | None = None,
    ) -> None:
        """Nothing was tried yet. `batch` makes the batch of some positions when it is needed."""
        self.kind, self.folder, self.facts, self._batch = kind, folder, facts, batch
        self.action = action
        self.outcomes = np.full(count, UNTRIED, dtype=np.uint8)
        self.freed = np.zeros(count, dtype=np.int64)

    def __len__(self) -> int:
        return len(self.outcomes)

    def are(self, *outcomes: int) -> Mask:
        """Which files have one of these outcomes; bool (n,)."""
        return np.isin(self.outcomes, outcomes)

    def count(self, outcome: int) -> int:
        """How many files have this outcome."""
        return int((self.outcomes == outcome).sum())

    def pieces(self, size: int) -> Iterator[Piece]:
        """All of them, at most so many in a piece."""
        for first in range(0, len(self), size):
            positions = slice(first, min(first + size, len(self)))
            yield Piece(positions, self._batch(positions))


def batch_of(
    digests: Digests, sizes: NDArray[np.integer[Any]], checks: Sequence[Check] | None = None
) -> Batch:
    """A batch of the files with these names, uint8 (n, 32), and sizes, (n,), in bytes."""
    return Batch(file_names(digests.tobytes()), sizes.tolist(), checks)


@dataclass(frozen=True, slots=True)
class RunContext:
    """The pace of a run, and who is told or asked meanwhile.

    Attributes:
        look: Looks for servers before each phase: what it finds ends the run. None if servers
            do not matter.
    """

    limits: Limits = field(default_factory=Limits)
    progress: Progress = field(default_factory=NoProgress)
    journal: Journal | None = None
    look: LookForServers | None = None


class Phases:
    """Carries out one phase after the other, and keeps what came of all of them.

    Attributes:
        crew: Works on batches; knows why the work was stopped.
        failures: The files that could not be removed.
    """

    def __init__(self, context: RunContext, *, batch_size: int) -> None:
        """Nothing was done yet. A batch has at most `batch_size` files."""
        self.crew = Crew(context.limits, context.look)
        self.failures: list[Failure] = []
        self._progress, self._journal = context.progress, context.journal
        self._most = batch_size
        self._begun: list[Files] = []
        self._changed: list[str] = []

    @contextmanager
    def under_way(self, step: str, total: int) -> Iterator[None]:
        """Tells the progress about a run of so many files; it ends in order without memory."""
        with under_way(self._progress, step, total, "files"), self.crew.stopping_without_memory():
            yield

    def count(self, outcome: int, kind: str = "") -> int:
        """How many files have this outcome: of a kind, or all."""
        return sum(files.count(outcome) for files in self._begun if kind in ("", files.kind))

    @property
    def tried(self) -> int:
        """How many files were tried."""
        return sum(len(files) for files in self._begun) - self.count(UNTRIED)

    @property
    def freed(self) -> int:
        """Bytes of all that was removed."""
        return sum(int(files.freed.sum()) for files in self._begun)

    @property
    def changed(self) -> tuple[str, ...]:
        """Paths of files that were not what they had been, and were left alone."""
        return tuple(sorted(self._changed))

    @property
    def account(self) -> dict[str, Any]:
        """How the run went, as arguments of a `RunReport`."""
        return {
            "failures": tuple(sorted(self.failures)),
            "stopped": self.crew.stopped,
            "servers": self.crew.servers,
            "not_durable": tuple(self.crew.not_durable),
        }

    async def remove(
        self,
        files: Files,
        root: str,
        deleter: Deleter,
        remove: Callable[[int, Batch], BatchResult | None] | None = None,
    ) -> None:
        """Removes files from a folder of a cache, and makes that durable.

        Args:
            files: What is to go.
            root: Path of the cache.
            deleter: How it goes.
            remove: Does it instead of `deleter.remove`; gives None once nothing more may go.
        """
        if not len(files) or self.crew.must_stop():
            return
        with ExitStack() as opened:
            with self.crew.stopping(f"{files.folder}/ can't be opened"):
                folder = opened.enter_context(opened_folder(os.path.join(root, files.folder)))
            if self.crew.must_stop():
                return
            await self.work_on(files, partial(remove or deleter.remove, folder))
            await self.settle(files.folder, deleter.settle, folder)

    async def work_on(self, files: Files, work: Callable[[Batch], BatchResult | None]) -> None:
        """Does something with files, until all are done or it must stop.

        `work` is called with each batch, on a thread; it gives None for what it did not begin.
        """
        self._begun.append(files)
        pieces = files.pieces(self.crew.batch_size(len(files), self._most))
        await self.crew.work_on(pieces, work, partial(self._record, files))

    async def settle(self, name: str, settle: Callable[[int], None], folder: int) -> bool:
        """Makes durable what the journal was told, then what was done; see `Crew.settle`."""
        if self._journal is not None:
            await self._tell(self._journal.settle())
        return await self.crew.settle(name, settle, folder)

    async def note(self, files: Files, result: BatchResult) -> None:
        """Notes what became of files that something else has worked on."""
        self._begun.append(files)
        for piece in files.pieces(max(1, len(files))):
            await self._record(files, piece, result)

    def leave_alone(self, files: Files) -> None:
        """Notes that files are not what they were. Nothing is done to them."""
        self._begun.append(files)
        files.outcomes[:] = Outcome.CHANGED
        for piece in files.pieces(self._most):
            self._changed += [f"{files.folder}/{name}" for name in piece.batch.names]

    async def _record(self, files: Files, piece: Piece, result: BatchResult) -> None:
        names = piece.batch.names
        files.outcomes[piece.positions] = np.frombuffer(result.outcomes, dtype=np.uint8)
        files.freed[piece.positions] = result.freed
        for position, number in result.errors.items():
            path = f"{files.folder}/{names[position]}"
            self.failures.append(Failure(path, number, result.message(position)))
        if Outcome.CHANGED in result.outcomes:
            changed = result.where(Outcome.CHANGED)
            self._changed += [f"{files.folder}/{names[at]}" for at in changed]
        self._progress.advance(len(names), sum(result.freed))
        if self._journal is not None:
            facts = files.facts(piece.positions)
            entries = file_entries(
                files.kind, files.folder, facts, piece.batch, result, action=files.action
            )
            await self._tell(self._journal.note(entries))

    async def _tell(self, told: Awaitable[None]) -> None:
        """Ends the run if the journal fails: nothing may go that it does not know of."""
        try:
            await told
        except JournalError as error:
            self.crew.stop(str(error))
