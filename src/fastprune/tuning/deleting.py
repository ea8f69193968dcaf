"""Measures how fast files are deleted, with several numbers of threads.

Stage: tune. Input: a folder of its own. Output: `DeleteFigures`. I/O: creates files in
that folder, and deletes them.

It times `fastprune.deletion.pruning.carry_out`, which every prune uses. All files are created
before the first deletion: creating files after a large deletion is slow on ext4
(benchmarks/README.md). Their blocks are allocated, not just promised: deleting a file
that was never written out would cost next to nothing.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import time
from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec

import anyio

from fastprune.deletion.deleter import Unlinker
from fastprune.deletion.pace import Limits
from fastprune.deletion.phases import RunContext
from fastprune.deletion.pruning import carry_out
from fastprune.errors import FastpruneError
from fastprune.executors.threads import Threads
from fastprune.index.builder import IndexBuilder
from fastprune.index.digests import DigestTable, as_digests
from fastprune.layouts.layout import Layout
from fastprune.plan.prune_plan import PrunePlan, make_plan
from fastprune.policy.policy import Policy
from fastprune.progress import NoProgress, Progress, under_way
from fastprune.reading.folders import opened_folder
from fastprune.reading.marks import FileSizes
from fastprune.tuning.figures import (
    CONCURRENCY_SETTINGS,
    FILE_BYTES,
    DeleteFigures,
    Measurement,
    in_turn,
)
from fastprune.tuning.scratch import MOST_OF_FREE, create_file, making_files, room_for_files

_ROUNDS = 3
_PIECES = _ROUNDS * len(CONCURRENCY_SETTINGS)
_LEAST_IN_PIECE = 32
_CREATE_STEP = 128
# Rough time to delete a file: it limits how many files are created.
_USUAL_SECONDS = 1e-4


class StoppedError(FastpruneError):
    """The measuring was told to end."""


@dataclass(frozen=True, slots=True)
class DeleteMeter:
    """Times deletions of files of its own.

    Attributes:
        scratch: A folder that `scratch_cache` made.
        stopped: Called often; returns why the measuring must end, or an empty text.
    """

    scratch: str
    layout: Layout
    clock: Callable[[], float]
    progress: Progress
    stopped: Callable[[], str]

    def measure(self, files: int, seconds: float) -> DeleteFigures:
        """Times every concurrency, in turn, several times.

        Args:
            files: How many to delete with each; fewer if creating them takes too long,
                or needs too much of the space that is free.
            seconds: How long all may take, more or less.

        Raises:
            StoppedError: It had to end.
            FastpruneError: A file can't be created or deleted.
        """
        wanted = max(files // _ROUNDS, _LEAST_IN_PIECE) * _PIECES
        started = self.clock()
        digests = self._create(wanted, seconds)
        created = self.clock() - started
        each = len(digests) // _PIECES
        # Every piece has files from everywhere in the folder, as a prune does.
        pieces = [digests[at::_PIECES][:each] for at in range(_PIECES)]
        with under_way(self.progress, "deleting", each * _PIECES, "files"):
            times = anyio.run(
                self._delete_all,
                pieces,
                self.clock() + seconds - created,
                backend_options={"use_uvloop": find_spec("uvloop") is not None},
            )
        return DeleteFigures(
            wanted=files,
            measurements=tuple(
                Measurement(setting, each, tuple(seconds)) for setting, seconds in times.items()
            ),
        )

    def _create(self, wanted: int, seconds: float) -> list[bytes]:
        """Creates files, as many as there is time and room for; gives their digests."""
        least = _LEAST_IN_PIECE * _PIECES
        room = room_for_files(self.scratch)
        if room < least:
            raise FastpruneError(
                f"too little free space at {self.scratch}: {least:,} files of {FILE_BYTES} "
                f"bytes would take more than {MOST_OF_FREE:.0%} of it"
            )
        token = secrets.token_bytes(16)
        digests: list[bytes] = []
        total = min(wanted, room)
        started = self.clock()
        with (
            under_way(self.progress, "creating", total, "files"),
            opened_folder(os.path.join(self.scratch, self.layout.blob_folder)) as folder,
        ):
            while len(digests) < total:
                needed = self.clock() - started + len(digests) * _USUAL_SECONDS
                if needed > seconds and len(digests) >= least:
                    break
                self._check()
                step = min(_CREATE_STEP, total - len(digests))
                with making_files(self.scratch):
                    for number in range(len(digests), len(digests) + step):
                        digest = hashlib.sha256(token + number.to_bytes(8)).digest()
                        create_file(digest.hex(), folder)
                        digests.append(digest)
                self.progress.advance(step, step * FILE_BYTES)
        return digests

    def _check(self) -> None:
        if reason := self.stopped():
            raise StoppedError(f"stopped by {reason}")

    async def _delete_all(
        self, pieces: Sequence[Sequence[bytes]], deadline: float
    ) -> dict[int, list[float]]:
        """Seconds to delete a piece with each setting, in each round; one round at least."""
        most = max(CONCURRENCY_SETTINGS)
        threads = Threads(most)
        # All threads are started before anything is timed.
        async with anyio.create_task_group() as tasks:
            for _ in range(most):
                tasks.start_soon(partial(threads.run, time.sleep, 0.002))
        times: dict[int, list[float]] = {setting: [] for setting in CONCURRENCY_SETTINGS}
        waiting = iter(pieces)
        for number in range(_ROUNDS):
            for setting in in_turn(CONCURRENCY_SETTINGS, number):
                times[setting].append(await self._delete(next(waiting), setting))
            if self.clock() > deadline:
                break
        return times

    async def _delete(self, digests: Sequence[bytes], concurrency: int) -> float:
        """Seconds to delete files."""
        deleter = _TimedUnlinker(self.clock)
        plan = _orphans(self.scratch, self.layout, digests)
        started = self.clock()
        context = RunContext(Limits(concurrency, self.stopped), _PartOf(self.progress))
        report = await carry_out(plan, deleter, context)
        self._check()
        if len(report.blobs) != len(digests):
            why = report.failures[0].message if report.failures else "they are gone"
            raise FastpruneError(f"files in {self.scratch} can't be deleted: {why}")
        return deleter.settled_at - started


class _TimedUnlinker(Unlinker):
    """Deletes, and notes when all files are deleted.

    It does not fsync the folder: a prune does that once per phase, whatever the number of files.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self.settled_at = 0.0
        self._clock = clock

    def settle(self, folder: int) -> None:
        """See `Deleter.settle`."""
        del folder
        self.settled_at = self._clock()


class _PartOf(NoProgress):
    """Passes on how far a part of a step is."""

    def __init__(self, whole: Progress) -> None:
        self._whole = whole

    def advance(self, count: int, size: int = 0) -> None:
        """See `Progress.advance`."""
        self._whole.advance(count, size)


def _orphans(root: str, layout: Layout, digests: Sequence[bytes]) -> PrunePlan:
    """The plan to delete some blobs of a cache without manifests."""
    nothing = [b"" for _ in layout.manifest_folders]
    builder = IndexBuilder(root, 0, nothing, (), layout=layout, edges=True)
    builder.set_blobs(DigestTable.from_unsorted(as_digests(b"".join(digests))))
    sizes = array("q", [FILE_BYTES]) * len(digests)
    builder.set_sizes([FileSizes(0, sizes)])
    return make_plan(builder.finish((), (), 0), Policy(orphans_only=True))
