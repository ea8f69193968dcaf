"""Measures the rules of a policy against the scan, and checks size targets to the byte.

Usage: ``python benchmarks/bench_rules.py [--sizes 10k,100k] [--cache DIR] [--runs 5]``

The scan and the rules run in turn in one process, so that other work of the machine slows both
alike. Processor time is measured, for the scan with its workers. Before anything is timed, size
targets are checked with sets: the files that stay are no larger than the target; if the image that
goes last stayed as well, they would be.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from bench_plan import Cache, add_cache_options, caches_of
from fastprune import CacheIndex, Policy, ScanOptions
from fastprune.executors.processes import ProcessExecutor, available_jobs
from fastprune.index.refcounts import expand, protect
from fastprune.plan.prune_plan import make_plan
from fastprune.scanning.scanner import scan_cache
from fastprune.selection.rules.ages import newest_pulls
from fastprune.selection.rules.sizing import oldest_first, total_bytes
from fastprune.selection.selecting import select
from measure import MeasureError, describe_machine, exit_code_of, save_json, show_machine, table

TARGETS = (0.9, 0.5, 0.1)  # of the bytes of the cache
REFERENCES = 5_000
MOST_SHARE = 0.25  # of the scan, that all rules together may cost
EVER = "9999-12-31T23:59:59"


def policies(index: CacheIndex) -> dict[str, Policy]:
    """Each rule alone, and all of them that can select something together."""
    tagged = index.urls(np.flatnonzero(~index.digest_urls))
    references = tuple(sorted(tagged)[:: max(1, len(tagged) // REFERENCES)])
    half = total_bytes(index) // 2
    rules = {
        "--older-than": Policy(created_before=EVER),
        "--not-pulled-for": Policy(pulled_before=EVER),
        "--dangling": Policy(dangling=True),
        "--broken": Policy(broken=True),
        "--keep-last": Policy(keep_last=2),
        "--keep-within": Policy(keep_since=EVER),
        f"--keep-from ({len(references):,} references)": Policy(keep_references=references),
        "--max-size": Policy(max_bytes=half),
        "--count": Policy(count=len(index) // 10),
    }
    together = Policy(
        created_before=EVER,
        pulled_before=EVER,
        keep_last=2,
        keep_since=EVER,
        keep_references=references,
        max_bytes=half,
        count=len(index),
    )
    return {**rules, "all together": together}


def check_target(index: CacheIndex, share: float) -> str:
    """Checks one size target with sets, and says what it came to."""
    target = int(total_bytes(index) * share)
    plan = make_plan(index, Policy(max_bytes=target))
    assert plan.selection is not None
    left = bytes_left(index, np.flatnonzero(~plan.removed))
    if left > target:
        raise MeasureError(f"{left} bytes are left, which is more than {target}")
    images = oldest_first(index, plan.selection.selected, newest_pulls(index))
    fewer = plan.selection.selected.copy()
    fewer[images[-1]] = False
    removed, _ = protect(index, expand(index, fewer, plan.selection.kept)[0])
    more = bytes_left(index, np.flatnonzero(~removed))
    if more <= target:
        raise MeasureError(f"{index.url(int(images[-1]))} goes in vain: {more} of {target} bytes")
    return (
        f"target {target:,} bytes: {len(images):,} images go, {left:,} bytes stay; "
        f"with the last of them {more:,}"
    )


def bytes_left(index: CacheIndex, rows: Iterable[int]) -> int:
    """Bytes of some manifests and of the present blobs that they refer to, each once."""
    blobs: set[int] = set()
    size = 0
    starts, counts = index.blob_starts.tolist(), index.blob_counts.tolist()
    for row in rows:
        size += int(index.file_sizes[row])
        blobs.update(index.blob_ids[starts[row] : starts[row] + counts[row]].tolist())
    present = (blob for blob in blobs if blob < index.blobs_present)
    return size + sum(max(int(index.blob_sizes[blob]), 0) for blob in present)


def scan(root: Path) -> CacheIndex:
    """Scans as `prune` does."""
    executor = ProcessExecutor(available_jobs())
    try:
        return scan_cache(str(root), lambda _: executor, ScanOptions())
    finally:
        executor.close()


def processor_seconds(work: Callable[[], object]) -> float:
    """Processor time of some work, that of its processes included."""
    before = os.times()
    work()
    # User and system, of this process and of those that have ended.
    return sum(os.times()[:4]) - sum(before[:4])


def measure(cache: Cache, runs: int) -> dict[str, Any]:
    """Times the scan and every policy in turn."""
    index = scan(cache.root)
    for share in TARGETS:
        print(check_target(index, share))
    asked = policies(index)
    seconds: dict[str, list[float]] = {name: [] for name in ("scan", *asked)}
    for _ in range(runs):
        seconds["scan"].append(processor_seconds(lambda: scan(cache.root)))
        for name, policy in asked.items():
            fresh = replace(index)
            seconds[name].append(processor_seconds(partial(select, fresh, policy)))
    medians = {name: statistics.median(some) for name, some in seconds.items()}
    return {
        "manifests": len(index),
        "blobs": index.blobs_present,
        "processor_seconds": medians,
        "share_of_scan": medians["all together"] / medians["scan"],
    }


def show(results: dict[str, Any]) -> str:
    """The table of one cache."""
    medians, manifests = results["processor_seconds"], results["manifests"]
    rows = [
        (
            name,
            f"{seconds:.3f}",
            f"{seconds / manifests * 1e6:.2f}",
            f"{seconds / medians['scan']:.1%}",
        )
        for name, seconds in medians.items()
    ]
    return table(("rule", "cpu s", "us/manifest", "/ scan"), rows)


def parse_arguments() -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    add_cache_options(parser)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--json", type=Path, metavar="FILE", help="save the results")
    return parser.parse_args()


def run_benchmark(arguments: argparse.Namespace) -> None:
    """Prepares the caches, measures and reports."""
    caches = caches_of(arguments)
    machine = describe_machine(*(cache.root for cache in caches))
    print(f"{show_machine(machine)}\nmedians of {arguments.runs} runs, warm\n")
    measured = {}
    for cache in caches:
        results = measure(cache, arguments.runs)
        measured[str(results["manifests"])] = results
        print(f"\n{results['manifests']:,} manifests, {results['blobs']:,} blobs\n")
        print(show(results), flush=True)
        if results["share_of_scan"] > MOST_SHARE:
            print(f"the rules cost more than {MOST_SHARE:.0%} of the scan", file=sys.stderr)
    if arguments.json:
        save_json(arguments.json, {"machine": machine, "caches": measured})


if __name__ == "__main__":
    sys.exit(exit_code_of("bench_rules", lambda: run_benchmark(parse_arguments())))
