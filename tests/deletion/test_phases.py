"""The engine below every plan: what it asks for in which order, and what it keeps."""

from __future__ import annotations

import errno
import os
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import anyio
import numpy as np
import pytest

from fastprune import JournalEntry, JournalError, Limits
from fastprune.deletion.batches import Crew
from fastprune.deletion.deleter import Batch, BatchResult, Outcome
from fastprune.deletion.journal import Fact
from fastprune.deletion.phases import UNTRIED, Files, Phases, RunContext, batch_of
from fastprune.index.digests import as_digests
from fastprune.tuning.figures import CONCURRENCY_SETTINGS

COUNT = 5


class Log:
    """A deleter and a journal that only write down what they are asked, in one list."""

    batch_size = 2

    def __init__(self, outcomes: Sequence[int] = (), *, failing: str = "") -> None:
        self.lines: list[str] = []
        self.entries: list[JournalEntry] = []
        self._outcomes, self._failing = list(outcomes), failing

    def remove(self, folder: int, batch: Batch) -> BatchResult:
        """See `Deleter.remove`."""
        os.fstat(folder)
        self.lines.append(f"remove {len(batch.names)}")
        outcomes = [int(name[:2], 16) for name in batch.names]
        outcomes = [self._outcomes[at] if self._outcomes else Outcome.REMOVED for at in outcomes]
        freed = [
            size if outcome == Outcome.REMOVED else 0
            for size, outcome in zip(batch.sizes, outcomes, strict=True)
        ]
        failed = {at: errno.EPERM for at, one in enumerate(outcomes) if one == Outcome.FAILED}
        return BatchResult(bytearray(outcomes), freed, failed)

    async def note(self, entries: Sequence[JournalEntry]) -> None:
        """See `Journal.note`."""
        self.lines.append(f"note {len(entries)}")
        self.entries += entries
        if self._failing == "note":
            raise JournalError("the disk is full")


class Journal:
    """The journal's side of a log, whose `settle` is another than the deleter's."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self.note = log.note

    async def settle(self) -> None:
        """See `Journal.settle`."""
        self._log.lines.append("settle journal")


class Deleter:
    """The deleter's side of a log."""

    batch_size = Log.batch_size

    def __init__(self, log: Log) -> None:
        self._log = log
        self.remove = log.remove

    def settle(self, folder: int) -> None:
        """See `Deleter.settle`."""
        os.fstat(folder)
        self._log.lines.append("settle folder")


def files_of(count: int = COUNT, kind: str = "image", folder: str = "img") -> Files:
    """Files whose names begin with their positions, of 10 bytes each."""
    digests = as_digests(b"".join(bytes([at]) + bytes(31) for at in range(count)))
    sizes = np.full(count, 10, dtype=np.int64)
    return Files(
        kind,
        folder,
        count,
        lambda at: batch_of(digests[at], sizes[at]),
        lambda positions: [Fact(f"url:{at}", "old") for at in range(count)[positions]],
    )


def path(at: int, folder: str = "img") -> str:
    return f"{folder}/{at:02x}{'00' * 31}"


def phases_with(log: Log, limits: Limits | None = None) -> Phases:
    context = RunContext(limits or Limits(concurrency=1), journal=Journal(log))
    return Phases(context, batch_size=Log.batch_size)


@pytest.fixture
def root(tmp_path: Path) -> str:
    (tmp_path / "img").mkdir()
    return str(tmp_path)


def run(work: Callable[[], Awaitable[None]]) -> None:
    async def main() -> None:
        await work()

    anyio.run(main)


def test_batches_are_small_enough_for_all_threads_and_large_enough_to_pay() -> None:
    def size(files: int, concurrency: int) -> int:
        return Crew(Limits(concurrency)).batch_size(files, most=256)

    assert [size(1666, concurrency) for concurrency in CONCURRENCY_SETTINGS] == [
        *(256, 208, 104, 52, 26)
    ]
    assert size(100, 32) == 16
    assert Crew(Limits(32)).batch_size(100, most=3) == 3


def test_a_phase_of_few_files_has_batches_for_all_threads(root: str) -> None:
    log = Log()
    phases = Phases(RunContext(Limits(concurrency=4), journal=Journal(log)), batch_size=256)
    run(lambda: phases.remove(files_of(200), root, Deleter(log)))
    assert sorted(line for line in log.lines if line.startswith("remove")) == ["remove 25"] * 8


def test_the_journal_is_durable_before_the_folder_is(root: str) -> None:
    log = Log()
    run(lambda: phases_with(log).remove(files_of(), root, Deleter(log)))
    batches = ["remove 2", "note 2"] * 2 + ["remove 1", "note 1"]
    assert log.lines == [*batches, "settle journal", "settle folder"]


def test_what_became_of_each_file_is_kept(root: str) -> None:
    became = [Outcome.REMOVED, Outcome.FAILED, Outcome.GONE, Outcome.CHANGED, Outcome.REMOVED]
    log, files = Log(became), files_of()
    phases = phases_with(log)
    run(lambda: phases.remove(files, root, Deleter(log)))
    assert files.outcomes.tolist() == became
    assert files.freed.tolist() == [10, 0, 0, 0, 10]
    assert files.are(Outcome.REMOVED, Outcome.GONE).tolist() == [True, False, True, False, True]
    assert (phases.tried, phases.freed) == (COUNT, 20)
    assert (phases.count(Outcome.REMOVED), phases.count(Outcome.REMOVED, "blob")) == (2, 0)
    assert phases.changed == (path(3),)
    assert [(one.path, one.errno) for one in phases.failures] == [(path(1), errno.EPERM)]
    assert [(one.path, one.url, one.reason, one.outcome, one.size) for one in log.entries] == [
        (path(at), f"url:{at}", "old", outcome.name.lower(), size)
        for at, (outcome, size) in enumerate(zip(became, files.freed.tolist(), strict=True))
    ]


def test_what_was_not_begun_is_untried_and_all_that_was_done_is_durable(root: str) -> None:
    log, files = Log(), files_of()
    stopped = Limits(concurrency=1, stopped=lambda: "enough" if "note 2" in log.lines else "")
    phases = phases_with(log, stopped)
    run(lambda: phases.remove(files, root, Deleter(log)))
    assert files.outcomes.tolist() == [Outcome.REMOVED] * 2 + [UNTRIED] * 3
    assert (phases.tried, phases.crew.stopped) == (2, "enough")
    assert log.lines == ["remove 2", "note 2", "settle journal", "settle folder"]
    run(lambda: phases.remove(files_of(), root, Deleter(log)))
    assert len(log.lines) == 4


def test_a_journal_that_fails_ends_the_run(root: str) -> None:
    log, files = Log(failing="note"), files_of()
    phases = phases_with(log)
    run(lambda: phases.remove(files, root, Deleter(log)))
    assert phases.crew.stopped == "the disk is full"
    assert files.count(UNTRIED) == 3


def test_a_folder_that_can_not_be_opened_ends_the_run(root: str) -> None:
    log, files = Log(), files_of(folder="lts")
    phases = phases_with(log)
    run(lambda: phases.remove(files, root, Deleter(log)))
    assert phases.crew.stopped == f"lts/ can't be opened: {os.strerror(errno.ENOENT)}"
    assert (files.count(UNTRIED), log.lines) == (COUNT, [])


def test_without_files_no_folder_is_opened(root: str) -> None:
    log = Log()
    phases = phases_with(log)
    run(lambda: phases.remove(files_of(0, folder="lts"), root, Deleter(log)))
    assert (phases.crew.stopped, log.lines) == ("", [])


def test_files_that_are_left_alone_have_changed(root: str) -> None:
    phases, files = phases_with(Log()), files_of(3, "blob", "blobs")
    phases.leave_alone(files)
    assert phases.changed == tuple(path(at, "blobs") for at in range(3))
    assert (phases.tried, phases.count(Outcome.CHANGED, "blob")) == (3, 3)
