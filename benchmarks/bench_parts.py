"""Measures the parts of a scan, each alone and in this process: where the time of a dry run goes.

Usage: ``python benchmarks/bench_parts.py CACHE [--sample 40000] [--rounds 5] [--json FILE]``

CACHE is one that `generate.py` made. Figures are processor time per manifest, medians of the
rounds. Reading and parsing are measured on a sample of the manifests that was read once before.
Merging is measured on the results for all manifests. The index must have all that the generator
wrote.
"""

from __future__ import annotations

import argparse
import gc
import os
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import orjson

from bench_plan import Cache, open_cache
from fastprune.executors.executor import Executor
from fastprune.executors.inline import InlineExecutor
from fastprune.index.cache_index import CacheIndex
from fastprune.index.merging import MergedShard, merge_shards
from fastprune.layouts.default import DEFAULT_LAYOUT
from fastprune.model import in_chunks
from fastprune.plan.prune_plan import make_plan
from fastprune.policy.policy import Policy
from fastprune.reading.chunks import ReadTask, read_chunk
from fastprune.reading.folders import ListingPart, list_folder
from fastprune.reading.shards import ChunkRecords, ShardIndex
from fastprune.scanning.pieces import Result
from fastprune.scanning.scanner import ScanOptions, scan_cache
from floor import read_and_parse
from measure import Command, MeasureError, describe_machine, run, save_json, show_machine, table

CHUNK, PIECE = 1_024, 8_192
PATTERNS = (("calico/typha",),)


class KeepingExecutor(InlineExecutor):
    """Works in this process, and keeps the results that workers would have sent."""

    def __init__(self) -> None:
        """Keeps nothing yet."""
        self.kept: list[Result] = []

    def map_unordered(
        self, function: Callable[[Any], Iterable[Any]], items: Iterable[Any]
    ) -> Iterator[Any]:
        """See `Executor.map_unordered`."""
        for result in super().map_unordered(function, items):
            if isinstance(result, ListingPart | ShardIndex | MergedShard):
                self.kept.append(result)
            yield result


class ReplayingExecutor(InlineExecutor):
    """Does not read: returns the results that were kept."""

    def __init__(self, kept: Sequence[Result]) -> None:
        """Takes the results that a `KeepingExecutor` kept."""
        self._kept: Sequence[Result] | None = kept

    def map_unordered(
        self, function: Callable[[Any], Iterable[Any]], items: Iterable[Any]
    ) -> Iterator[Any]:
        """See `Executor.map_unordered`. The first call is for the manifests."""
        if self._kept is None:
            yield from super().map_unordered(function, items)
            return
        kept, self._kept = self._kept, None
        for _ in items:
            pass
        yield from kept


class Parts:
    """The parts of a scan of one cache, and the time of each."""

    def __init__(self, cache: Cache, sample: int, rounds: int) -> None:
        """Chooses a sample of the manifests in img/, the same each time."""
        self._root, self._rounds, self._manifests = cache.root, rounds, cache.manifests
        self._folder = cache.root / DEFAULT_LAYOUT.manifest_folders[0]
        names = sorted(os.listdir(self._folder))
        self._names = sorted(random.Random(1).sample(names, min(sample, len(names))))
        self._contents = [(self._folder / name).read_bytes() for name in self._names]
        self.rows: list[tuple[str, float]] = []

    def measure(self) -> list[tuple[str, float]]:
        """Measures all parts: names, and microseconds of processor time per manifest."""
        self._reading()
        self._parsing()
        self._working()
        self._main_process()
        return self.rows

    def _add(self, name: str, work: Callable[[], object], manifests: int) -> float:
        times = []
        for _ in range(self._rounds):
            started = time.process_time()
            work()
            times.append((time.process_time() - started) / manifests * 1e6)
        self.rows.append((name, statistics.median(times)))
        return self.rows[-1][1]

    def _reading(self) -> None:
        count = len(self._names)
        folder = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY)
        buffers = [memoryview(bytearray(1 << 20))]

        def read() -> None:
            for name in self._names:
                descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW, dir_fd=folder)
                os.preadv(descriptor, buffers, 0)
                os.close(descriptor)

        self._add("open, preadv, close", read, count)
        self._add("the same with orjson.loads", lambda: read_and_parse(folder, self._names), count)
        os.close(folder)

    def _parsing(self) -> None:
        count, contents = len(self._names), self._contents

        def load() -> None:
            for content in contents:
                orjson.loads(content)

        def parse() -> None:
            for content in contents:
                DEFAULT_LAYOUT.parse(content)

        self._add("orjson.loads", load, count)
        self._add("orjson.loads, and the columns taken out", parse, count)

    def _working(self) -> None:
        count = len(self._names)
        records = [DEFAULT_LAYOUT.parse(content) for content in self._contents]

        def pack() -> None:
            for first in range(0, count, CHUNK):
                chunk = ChunkRecords(0, self._names[first : first + CHUNK])
                for row, record in enumerate(records[first : first + CHUNK]):
                    chunk.put(row, record, 1)
                chunk.pack(edges=True, match=None)

        def read_chunks() -> None:
            for first in range(0, count, CHUNK):
                digests = bytes.fromhex("".join(self._names[first : first + CHUNK]))
                task = ReadTask(str(self._folder), 0, digests, 1 << 26, True, (), DEFAULT_LAYOUT)
                for _ in read_chunk(task):
                    pass

        shards: list[ShardIndex] = []
        digests = bytes.fromhex("".join(self._names[:PIECE]))
        for _, some in in_chunks(digests, CHUNK):
            task = ReadTask(str(self._folder), 0, some, 1 << 26, True, (), DEFAULT_LAYOUT)
            shards += read_chunk(task)

        self._add("packing a chunk for the main process", pack, count)
        merged = min(PIECE, count)
        self._add("merging chunks for it, in a large cache", lambda: merge_shards(shards), merged)
        self._add("all that a worker does", read_chunks, count)

    def _main_process(self) -> None:
        root, count = str(self._root), self._manifests

        def listing(names: Sequence[str]) -> None:
            for name in names:
                for _ in list_folder(os.path.join(root, name)):
                    pass

        self._add("listing img/ and lts/", lambda: listing(DEFAULT_LAYOUT.manifest_folders), count)
        self._add("listing blobs/", lambda: listing((DEFAULT_LAYOUT.blob_folder,)), count)
        options = ScanOptions(pattern_sets=PATTERNS)
        keeping = KeepingExecutor()
        index = self._checked(scan_cache(root, lambda _: keeping, options))

        def merge() -> None:
            replaying: Executor = ReplayingExecutor(keeping.kept)
            self._checked(scan_cache(root, lambda _: replaying, options))

        self._add("all that the main process does in a scan", merge, count)
        policy = Policy(patterns=PATTERNS[0])
        self._add("working out the plan", lambda: make_plan(index, policy), count)

    def _checked(self, index: CacheIndex) -> CacheIndex:
        if len(index) != self._manifests or index.faults:
            raise MeasureError(f"{self._root}: {len(index)} manifests, not {self._manifests}")
        return index


def start_seconds(rounds: int) -> float:
    """Seconds of a whole dry run on a cache without any manifest."""
    with tempfile.TemporaryDirectory() as empty:
        for name in DEFAULT_LAYOUT.folders:
            os.mkdir(os.path.join(empty, name))
        options = ("--image-path", empty, "prune", "--pattern", "x", "--dry-run")
        command = Command("start", (sys.executable, "-m", "fastprune", *options))
        run(command)
        return statistics.median(run(command).seconds for _ in range(rounds))


def main() -> int:
    """Runs the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("cache", type=Path, metavar="CACHE")
    parser.add_argument("--sample", type=int, default=40_000, metavar="N")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path, metavar="FILE", help="save the results")
    arguments = parser.parse_args()
    # As in a worker.
    gc.disable()
    try:
        cache = open_cache(arguments.cache)
        machine = describe_machine(cache.root)
        print(show_machine(machine))
        rows = Parts(cache, arguments.sample, arguments.rounds).measure()
        start = start_seconds(arguments.rounds)
    except MeasureError as error:
        print(f"bench_parts: {error}", file=sys.stderr)
        return 1
    print(f"{cache.manifests:,} manifests, microseconds of processor time for each\n")
    print(table(("part", "us"), [(name, f"{value:.2f}") for name, value in rows]))
    print(f"\nstarting, importing and ending, whatever the cache: {start:.2f} s")
    if arguments.json:
        parts = dict(rows)
        results = {"machine": machine, "manifests": cache.manifests}
        save_json(arguments.json, {**results, "microseconds": parts, "start_seconds": start})
    return 0


if __name__ == "__main__":
    sys.exit(main())
