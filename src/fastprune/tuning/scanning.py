"""Measures how fast manifests are read and merged, with several numbers of workers.

Stage: tune. Input: the names in a cache, executors. Output: `ScanFigures`. I/O: reads
manifests, without changing as much as an access time.

The sample is taken evenly from all manifests and read once before anything is timed: the
figures are those of a cache that is in memory, and of workers that have started.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import NamedTuple, TypeAlias

from fastprune.errors import FastpruneError, NoCacheError
from fastprune.executors.executor import Executor
from fastprune.index.builder import IndexBuilder
from fastprune.index.gathering import ShardGatherer
from fastprune.layouts.layout import Layout
from fastprune.model import DIGEST_BYTES, in_chunks
from fastprune.progress import Progress, WhenSlow, under_way
from fastprune.reading.chunks import ReadTask, read_chunk
from fastprune.reading.folders import list_folder
from fastprune.reading.shards import ShardIndex
from fastprune.scanning.scanner import MAX_MANIFEST_BYTES, SMALL_CACHE
from fastprune.tuning.figures import (
    Measurement,
    ScanFigures,
    evenly,
    in_turn,
    is_faster,
    rounds_that_fit,
)
from fastprune.tuning.trials import WaitingTrials

_MOST_IN_CHUNK, _LEAST_IN_CHUNK = 256, 32
_CHUNKS_PER_JOB = 4
_STRIDE = 16
_WARM_UP_SHARE = 0.15
# A trial with one of so many parts of the sample tells how long a round takes.
_TRIAL_PART = 8
_LEAST_ROUNDS, _MOST_ROUNDS = 3, 25
# Workers wait if this process computed for less of the time, with each of some chunks: another
# program that takes the processor does so for some of them only.
_BUSY_SHARE, _CHUNKS_TO_TELL = 0.25, 8
# Manifests that each worker reads in a round where it waits.
_LEAST_WAITING, _MOST_WAITING = 32, 512


Names: TypeAlias = tuple[bytes, ...]
"""For each manifest folder, names of files in it, as raw digests one after the other."""


class CacheNames(NamedTuple):
    """The names of all manifests in a cache, and how many blobs there are."""

    manifests: Names
    blobs: int

    @property
    def manifest_count(self) -> int:
        """Number of manifests, in all folders."""
        return _count(self.manifests)


class _Chunk(NamedTuple):
    """A piece of the sample: what to read, and where in its folder's sample it is."""

    task: ReadTask
    folder: int
    positions: slice


def _count(names: Sequence[bytes]) -> int:
    return sum(map(len, names)) // DIGEST_BYTES


def _cut(names: Names, most: int) -> Names:
    """The same part of each folder's names, at least one, in all not many more than `most`."""
    part = min(1.0, most / _count(names))
    counts = (math.ceil(len(raw) // DIGEST_BYTES * part) for raw in names)
    return tuple(raw[: count * DIGEST_BYTES] for raw, count in zip(names, counts, strict=True))


def list_names(root: str, layout: Layout, progress: Progress | None = None) -> CacheNames:
    """Lists a cache.

    Raises:
        NoCacheError: There is no manifest in it.
        FastpruneError: A folder can't be listed.
    """
    with under_way(WhenSlow(progress), "listing", None, "files") as slow:
        manifests = tuple(
            b"".join(_listing(os.path.join(root, folder), slow))
            for folder in layout.manifest_folders
        )
        if not any(manifests):
            raise NoCacheError(f"the cache at {root} is empty: there is nothing to measure")
        blobs = _listing(os.path.join(root, layout.blob_folder), slow)
        return CacheNames(manifests, _count(tuple(blobs)))


def _listing(path: str, progress: Progress) -> Iterator[bytes]:
    try:
        for part in list_folder(path):
            progress.advance(len(part.digests) // DIGEST_BYTES)
            yield part.digests
    except FileNotFoundError:
        return
    except OSError as error:
        raise FastpruneError(f"{path} can't be listed: {error.strerror}") from error


@dataclass(frozen=True, slots=True)
class ScanMeter:
    """Times scans of one sample of a cache.

    Attributes:
        most: Manifests that are read in each round, at most.
        least: At least, however short the time is.
        small: Up to so many manifests in the cache, workers don't pay.
    """

    root: str
    layout: Layout
    clock: Callable[[], float]
    progress: Progress
    most: int = 20_000
    least: int = 2_000
    small: int = SMALL_CACHE

    def measure(
        self,
        names: CacheNames,
        executors: Sequence[Executor],
        seconds: float,
        waiting: WaitingTrials | None = None,
    ) -> ScanFigures:
        """Times every executor, in turn, several times.

        Args:
            names: The names in the cache.
            executors: One per setting, ascending by jobs, the first with one job.
            seconds: How long all may take, more or less.
            waiting: What to try instead if workers wait for the file system; None tries nothing
                else.

        Raises:
            WorkerError: A worker died.
        """
        spread = _spread_out(names, self.most)
        if waiting is not None and names.manifest_count <= waiting.small:
            waiting = None
        if waiting is not None and waiting.known:
            return self._climb(spread, executors, seconds, waiting)
        sample = self._warm_up(spread, seconds * _WARM_UP_SHARE)
        if waiting is not None and self._waits(sample, waiting.processor_clock):
            return self._climb(spread, executors, seconds, waiting)
        too_small = names.manifest_count <= self.small
        if too_small:
            executors = executors[:1]
        manifests = _count(sample)
        trial = _cut(sample, max(self.least, manifests) // _TRIAL_PART)
        started = self.clock()
        self._measure_rounds("warming up", trial, executors, 1)
        trial_seconds = self.clock() - started
        round_seconds = trial_seconds * manifests / _count(trial)
        left = seconds * (1 - _WARM_UP_SHARE) - trial_seconds
        share = min(1.0, max(left / (round_seconds * _LEAST_ROUNDS), 0))
        sample = _cut(sample, max(self.least, int(manifests * share)))
        rounds = rounds_that_fit(
            round_seconds * share, left, least=_LEAST_ROUNDS, most=_MOST_ROUNDS
        )
        return ScanFigures(
            sample=_count(sample),
            too_small=too_small,
            measurements=self._measure_rounds("scanning", sample, executors, rounds),
        )

    def _waits(self, sample: Names, processor_clock: Callable[[], float]) -> bool:
        """Whether reading waits for something although the sample is in memory."""
        shares = []
        chunks = _chunks(self.root, self.layout, sample, _LEAST_IN_CHUNK)
        for chunk in islice(chunks, _CHUNKS_TO_TELL):
            started, busy = self.clock(), processor_clock()
            for _ in read_chunk(chunk.task):
                pass
            busy = processor_clock() - busy
            shares.append(busy / max(self.clock() - started, 1e-9))
        return max(shares) < _BUSY_SHARE

    def _climb(
        self, spread: Names, executors: Sequence[Executor], seconds: float, trials: WaitingTrials
    ) -> ScanFigures:
        """Times ever more workers, until more are no faster.

        Each worker reads as many manifests as with any other setting, so a round takes about the
        same time: with one sample for all, one worker would take as long as all others together.
        """
        started = {executor.jobs: executor for executor in executors}
        found: list[Measurement] = []
        climbing = True
        with under_way(self.progress, "scanning", None, "manifests"):
            one = self._measure_one(started[1], _cut(spread, _LEAST_WAITING), rounds=1)
            fits = seconds / len(trials.settings) * one.rate / (_LEAST_ROUNDS + 1)
            each = max(_LEAST_WAITING, min(_MOST_WAITING, int(fits)))
            for jobs in trials.settings:
                if not climbing and jobs != trials.wanted:
                    continue
                executor = started.get(jobs) or trials.start(jobs)
                try:
                    one = self._measure_one(executor, _cut(spread, jobs * each))
                finally:
                    if jobs not in started:
                        executor.close()
                # The system may start fewer than are asked for.
                if one.setting in [other.setting for other in found]:
                    break
                climbing = climbing and is_faster(one.rate, found)
                found.append(one)
        most = max(one.count for one in found)
        return ScanFigures(most, too_small=False, measurements=tuple(found), waits=True)

    def _measure_one(
        self, executor: Executor, sample: Names, rounds: int = _LEAST_ROUNDS
    ) -> Measurement:
        """Times some workers alone, after a round that starts them and is not timed."""
        count = _count(sample)
        size = max(1, count // (executor.jobs * _CHUNKS_PER_JOB))
        chunks = list(_chunks(self.root, self.layout, sample, size))
        _, *times = [self._scan(sample, chunks, executor) for _ in range(rounds + 1)]
        return Measurement(executor.jobs, count, tuple(times))

    def _warm_up(self, names: Names, seconds: float) -> Names:
        """Reads the sample once; manifests that there is no time for are left out of it."""
        read: list[bytearray] = [bytearray() for _ in names]
        count = 0
        started = self.clock()
        with under_way(self.progress, "warming up", _count(names), "manifests"):
            for chunk in _chunks(self.root, self.layout, names, _LEAST_IN_CHUNK):
                elapsed = self.clock() - started
                if elapsed > 4 * seconds or (elapsed > seconds and count >= self.least):
                    break
                for shard in read_chunk(chunk.task):
                    self._advance(shard)
                read[chunk.folder] += chunk.task.digests
                count += len(chunk.task.digests) // DIGEST_BYTES
        return tuple(map(bytes, read))

    def _measure_rounds(
        self, step: str, sample: Names, executors: Sequence[Executor], rounds: int
    ) -> tuple[Measurement, ...]:
        by_jobs = {executor.jobs: executor for executor in executors}
        seconds: dict[int, list[float]] = {jobs: [] for jobs in by_jobs}
        manifests = _count(sample)
        share = manifests // (max(by_jobs) * _CHUNKS_PER_JOB)
        size = max(_LEAST_IN_CHUNK, min(_MOST_IN_CHUNK, share))
        chunks = list(_chunks(self.root, self.layout, sample, size))
        total = manifests * len(by_jobs) * rounds
        with under_way(self.progress, step, total, "manifests"):
            for number in range(rounds):
                for jobs in in_turn(list(by_jobs), number):
                    seconds[jobs].append(self._scan(sample, chunks, by_jobs[jobs]))
        return tuple(Measurement(jobs, manifests, tuple(times)) for jobs, times in seconds.items())

    def _scan(self, sample: Names, chunks: Sequence[_Chunk], executor: Executor) -> float:
        """Seconds to read the sample and to merge what was read, as a scan does."""
        builder = IndexBuilder(self.root, 0, sample, (), layout=self.layout, edges=True)
        gatherer = ShardGatherer(builder)
        started = self.clock()
        for shard in executor.map_unordered(read_chunk, [chunk.task for chunk in chunks]):
            chunk = chunks[shard.chunk]
            gatherer.add(shard, builder.rows_of(chunk.folder, chunk.positions))
            self._advance(shard)
        gatherer.flush()
        return self.clock() - started

    def _advance(self, shard: ShardIndex) -> None:
        self.progress.advance(len(shard.file_sizes), sum(shard.file_sizes))


def _spread_out(names: CacheNames, most: int) -> Names:
    """An even sample of the names, ordered so that each beginning of it is even, too."""
    chosen = evenly(names.manifest_count, most)
    samples, first = [], 0
    for raw in names.manifests:
        end = first + len(raw) // DIGEST_BYTES
        here = [at - first for at in chosen if first <= at < end]
        order = [at for start in range(_STRIDE) for at in here[start::_STRIDE]]
        samples.append(b"".join(raw[at * DIGEST_BYTES : (at + 1) * DIGEST_BYTES] for at in order))
        first = end
    return tuple(samples)


def _chunks(root: str, layout: Layout, names: Names, size: int) -> Iterator[_Chunk]:
    number = 0
    for folder, raw in enumerate(names):
        path = os.path.join(root, layout.manifest_folders[folder])
        for first, digests in in_chunks(raw, size):
            most = MAX_MANIFEST_BYTES
            task = ReadTask(path, number, digests, most, edges=True, pattern_sets=(), layout=layout)
            yield _Chunk(task, folder, slice(first, first + size))
            number += 1
