"""Measures what one machine needs for caches of up to ten million manifests, on arrays.

Usage: ``python benchmarks/bench_scale.py [--sizes 1m,2m,5m,10m] [--rounds 3] [--json FILE]``

There are no files: a worker process sends shards that it makes of numbers (`arrays.py`), through
the executor of a scan, and this process merges them. Then each step runs in a process of its own,
forked from the one that holds the index. Its peak is the memory of that process, index included, as
the kernel counts it (proc(5), VmHWM). The numbers also give the right answers: a wrong one stops
the benchmark.

Ten million manifests take about four minutes for one round, and 6 GB: half of it is the worker's.
"""

from __future__ import annotations

import argparse
import json
import os
import pickle
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np

from array_pieces import PATTERNS, ROWS_IN_PIECE, Piece, piece_of, pieces
from arrays import FOLDERS, Size
from fastprune.cli.session import _set_up_heap
from fastprune.executors.executor import Executor
from fastprune.executors.processes import ProcessExecutor
from fastprune.index.builder import IndexBuilder
from fastprune.index.cache_index import CacheIndex
from fastprune.layouts.default import DEFAULT_LAYOUT
from fastprune.progress import NoProgress
from fastprune.scanning.results import ScanResults
from measure import MeasureError, describe_machine, exit_code_of, save_json, show_machine, table
from scale_steps import STEPS, Facts, Step

T = TypeVar("T")

SIZES = "1m,2m,5m,10m"
UNITS = {"k": 1_000, "m": 1_000_000}
MERGE = "merge"
ROOT = "/cache"


class Cost(NamedTuple):
    """What a step took.

    Attributes:
        seconds: Wall time.
        processor: Processor time of the process alone.
        peak: Bytes: the most that the process had in memory meanwhile.
    """

    seconds: float
    processor: float
    peak: int


def peak_bytes() -> int:
    """The most memory that this process had since it was started, or since `forget_peak`."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise MeasureError("/proc/self/status has no VmHWM")


def forget_peak() -> None:
    """Begins anew with the peak of this process: see proc(5), clear_refs."""
    Path("/proc/self/clear_refs").write_text("5")


def timed(work: Callable[[], T]) -> tuple[T, Cost]:
    """Does some work and says what it took."""
    forget_peak()
    wall, processor = time.perf_counter(), time.process_time()
    result = work()
    processor = time.process_time() - processor
    return result, Cost(time.perf_counter() - wall, processor, peak_bytes())


def in_a_process(work: Callable[[], T]) -> T:
    """Does some work in a process of its own, forked from this one."""
    ours, theirs = os.pipe()
    pid = os.fork()
    if not pid:
        code = 1
        try:
            with os.fdopen(theirs, "wb") as stream:
                pickle.dump(work(), stream)
            code = 0
        except MeasureError as error:
            print(f"bench_scale: {error}", file=sys.stderr)
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
    os.close(theirs)
    with os.fdopen(ours, "rb") as stream:
        content = stream.read()
    _, status = os.waitpid(pid, 0)
    if status:
        raise MeasureError(f"a step failed: exit code {os.waitstatus_to_exitcode(status)}")
    result: T = pickle.loads(content)
    return result


def merged(size: Size, executor: Executor, facts: Facts) -> CacheIndex:
    """Takes all that the worker sends into an index, as the scanner does."""
    files = facts.counts["files"]
    listed = [bytearray() for _ in FOLDERS]
    items = pieces(size, "names", files)
    for item, part in zip(items, executor.map_unordered(piece_of, items), strict=True):
        listed[item.folder] += part
    names: list[bytes | memoryview] = [bytes(part) for part in listed]
    listed.clear()
    builder = IndexBuilder(ROOT, 0.0, names, (PATTERNS,), layout=DEFAULT_LAYOUT, edges=True)
    names.clear()
    results = ScanResults(DEFAULT_LAYOUT.blob_folder, sum(files), NoProgress(), lambda: None)
    results.build(builder)
    work = [Piece(size, "blobs")]
    for piece in pieces(size, "shard", files):
        last = min(piece.first + ROWS_IN_PIECE, files[piece.folder])
        results.expect(piece.folder, slice(piece.first, last))
        work.append(piece)
    results.take(executor.map_unordered(piece_of, work), edges=True)
    if len(builder.unsized_blobs()) != 32 * facts.counts["orphans"]:
        raise MeasureError("other blobs are orphans than those that nothing refers to")
    builder.set_sizes(executor.map_unordered(piece_of, [Piece(size, "orphans")]))
    return builder.finish((), (), 0)


def ask(executor: Executor, size: Size, what: str) -> Any:
    """Asks the worker for one thing."""
    [answer] = executor.map_unordered(piece_of, [Piece(size, what)])
    return answer


def measure(
    size: Size, rounds: int, steps: list[Step], keep: Callable[[dict[str, Any]], None]
) -> dict[str, Any]:
    """Merges a cache and takes all steps; runs in a process of its own.

    Args:
        size: Which cache.
        rounds: How often each step is taken.
        steps: The steps.
        keep: Is given the results after each step, so that they are there if it is stopped.
    """
    _set_up_heap()
    # One worker, so that it holds the arrays only once.
    executor = ProcessExecutor(1)
    facts = Facts(*(ask(executor, size, what) for what in ("counts", "answers", "references")))
    index, merge = timed(lambda: merged(size, executor, facts))
    executor.close()
    counts = facts.counts
    found = {
        "manifests": len(index),
        "lists": int(index.is_list.sum()),
        "children": len(index.child_parents),
        "blobs": index.blobs_present,
        "references": len(index.blob_ids),
    }
    for name, count in found.items():
        if count != counts[name]:
            raise MeasureError(f"{count} {name}, not {counts[name]}")
    results = {**counts, "index_bytes": array_bytes(index), "steps": {MERGE: summed_up([merge])}}
    print(_line(MERGE, [merge], len(index)), flush=True)
    for step in steps:
        take = partial(taken, step, index, facts)
        costs = [in_a_process(take) for _ in range(rounds)]
        results["steps"][step.name] = summed_up(costs)
        print(_line(step.name, costs, len(index)), flush=True)
        keep(results)
    return results


def summed_up(costs: list[Cost]) -> dict[str, Any]:
    """Some runs of a step: the shortest times, and the highest peak."""
    return {
        "seconds": min(cost.seconds for cost in costs),
        "processor_seconds": min(cost.processor for cost in costs),
        "peak_bytes": max(cost.peak for cost in costs),
        "runs": [cost._asdict() for cost in costs],
    }


def _line(name: str, costs: list[Cost], manifests: int) -> str:
    best = min(cost.processor for cost in costs)
    peak = max(cost.peak for cost in costs)
    return f"  {name}: {best:.2f} s, {best / manifests * 1e6:.3f} us each, {peak / 1e6:.0f} MB"


def taken(step: Step, index: CacheIndex, facts: Facts) -> Cost:
    """Takes one step, and checks what came of it."""
    ready = step.prepare(index, facts)
    result, cost = timed(lambda: step.work(index, ready))
    step.check(index, facts, result)
    return cost


def array_bytes(index: CacheIndex) -> int:
    """Bytes of all arrays of an index."""
    columns = (getattr(index, name) for name in type(index).__dataclass_fields__)
    return sum(column.nbytes for column in columns if isinstance(column, np.ndarray))


def growth(caches: dict[str, Any]) -> dict[str, float]:
    """Of each step the processor time per manifest at the largest size, of that at the smallest."""
    ordered = sorted(caches.values(), key=lambda cache: int(cache["manifests"]))
    first, last = ordered[0], ordered[-1]
    return {
        name: (step["processor_seconds"] / last["manifests"])
        / (first["steps"][name]["processor_seconds"] / first["manifests"])
        for name, step in last["steps"].items()
    }


def show(caches: dict[str, Any]) -> str:
    """The table of the largest cache."""
    largest = max(caches.values(), key=lambda cache: int(cache["manifests"]))
    grown = growth(caches)
    rows = [
        (
            name,
            f"{step['processor_seconds']:.2f}",
            f"{step['processor_seconds'] / largest['manifests'] * 1e6:.2f}",
            f"{step['peak_bytes'] / 1e6:,.0f}",
            f"{grown[name]:.2f}",
        )
        for name, step in largest["steps"].items()
    ]
    return table(("step", "cpu s", "us/manifest", "peak MB", "growth"), rows)


def parse_size(text: str) -> int:
    """A number of manifests: 500, 10k, 2m."""
    factor = UNITS.get(text[-1:].lower())
    return int(float(text[:-1]) * factor) if factor else int(text)


def parse_arguments() -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--sizes", default=SIZES, help=f"numbers of manifests ({SIZES})")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=3, help="times that each step is taken (3)")
    parser.add_argument("--steps", default="", metavar="WORD", help="only steps with this word")
    parser.add_argument(
        "--json",
        type=Path,
        metavar="FILE",
        help="save the results; what it holds of other sizes stays",
    )
    return parser.parse_args()


def run_benchmark(arguments: argparse.Namespace) -> None:
    """Measures each size in a process of its own, and reports."""
    machine = describe_machine()
    print(show_machine(machine))
    steps = [step for step in STEPS if arguments.steps in step.name]
    caches: dict[str, Any] = {}
    if arguments.json and arguments.json.exists():
        caches = json.loads(arguments.json.read_text())["caches"]
    for text in arguments.sizes.split(","):
        size = Size(parse_size(text), arguments.seed)
        print(f"\nabout {size.manifests:,} manifests", flush=True)

        def keep(results: dict[str, Any]) -> None:
            caches[str(results["manifests"])] = results
            if arguments.json:
                save_json(arguments.json, {"machine": machine, "caches": caches})

        keep(in_a_process(partial(measure, size, arguments.rounds, steps, keep)))
    print(f"\n{show(caches)}")


if __name__ == "__main__":
    sys.exit(exit_code_of("bench_scale", lambda: run_benchmark(parse_arguments())))
