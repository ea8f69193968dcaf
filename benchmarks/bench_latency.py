"""Measures dry runs of a cache on a file system that is far away, with several numbers of workers.

Usage: ``python benchmarks/bench_latency.py [--sizes 40k] [--cache DIR] [--runs 1] [--work DIR]``

The library of tests/faults/injector.c is compiled and preloaded: each open and each stat of a file
of the cache then takes 0.5 or 2 ms longer, in all processes. The program does not know of it. Each
dry run must say the same as one without latency, whose answers are those of the generator. With
2 ms, 16 workers must be at least six times as fast as two.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

from bench_plan import (
    COMPARED_PATTERN,
    Cache,
    Tools,
    add_cache_options,
    caches_of,
    check_answers,
)
from bench_rescan import answer, check_same
from measure import (
    Command,
    MeasureError,
    Run,
    describe_machine,
    exit_code_of,
    fastprune_argv,
    find_tool,
    read_output,
    run,
    save_json,
    show_machine,
    table,
)

JOBS = (1, 2, 4, 8, 16, 32)
MICROSECONDS = (500, 2_000)
LEAST_GAIN = 6
"""With the larger latency, 16 workers must be so many times as fast as two."""

SOURCE = Path(__file__).resolve().parents[1] / "tests" / "faults" / "injector.c"


def compile_injector(folder: Path) -> Path:
    """Compiles the library into a folder.

    Raises:
        MeasureError: There is no compiler, or it fails.
    """
    compiler = find_tool("cc")
    if compiler is None:
        raise MeasureError("this needs cc: run 'make tools', or install gcc libc6-dev")
    library = folder / "injector.so"
    argv = (compiler, "-O2", "-shared", "-fPIC", str(SOURCE), "-o", str(library), "-ldl")
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if done.returncode:
        raise MeasureError(f"{SOURCE} can't be compiled: {done.stderr}")
    return library


def far_away(
    library: Path, cache: Cache, tools: Tools, microseconds: int, jobs: int, expected: bytes
) -> Command:
    """A dry run with latency."""
    settings = (
        f"LD_PRELOAD={library}",
        f"LATENCY_UNDER={cache.root}",
        f"LATENCY_US={microseconds}",
    )
    argv = ("env", *settings, *tools.prune(cache, COMPARED_PATTERN, "--jobs", str(jobs)))
    name = f"{microseconds / 1000:g} ms, {jobs} jobs"
    return Command(name, argv, check=partial(check_same, name, expected))


def measure_cache(cache: Cache, tools: Tools, library: Path, rounds: int) -> list[dict[str, Any]]:
    """Measures all settings on one cache; a result for each.

    Raises:
        MeasureError: An answer is wrong, or 16 workers gain too little.
    """
    check_answers(cache, tools)
    expected = answer(read_output(Command("near", tools.prune(cache, COMPARED_PATTERN))))
    results: list[dict[str, Any]] = []
    for latency in MICROSECONDS:
        runs: dict[int, list[Run]] = {jobs: [] for jobs in JOBS}
        for _ in range(rounds):
            for jobs in JOBS:
                runs[jobs].append(run(far_away(library, cache, tools, latency, jobs, expected)))
                seconds = runs[jobs][-1].seconds
                print(f"{latency} us, {jobs} jobs: {seconds:.2f} s", file=sys.stderr)
        results += [
            {
                "latency_microseconds": latency,
                "jobs": jobs,
                "seconds": statistics.median(one.seconds for one in runs[jobs]),
                "faster_than_two_jobs": statistics.median(
                    two.seconds / one.seconds for two, one in zip(runs[2], runs[jobs], strict=True)
                ),
                "processor_seconds": statistics.median(one.user + one.system for one in runs[jobs]),
                "runs": [one.seconds for one in runs[jobs]],
            }
            for jobs in JOBS
        ]
    return results


def check_gain(results: list[dict[str, Any]]) -> None:
    """Makes sure that workers that wait do so at the same time.

    Raises:
        MeasureError: They don't.
    """
    slowest = [one for one in results if one["latency_microseconds"] == max(MICROSECONDS)]
    (gain,) = [one["faster_than_two_jobs"] for one in slowest if one["jobs"] == 16]
    if gain < LEAST_GAIN:
        raise MeasureError(f"16 jobs are {gain:.2f} times as fast as two, not {LEAST_GAIN}")


def show(results: list[dict[str, Any]]) -> str:
    """The results as a table."""
    rows = [
        (
            f"{one['latency_microseconds'] / 1000:g} ms",
            str(one["jobs"]),
            f"{one['seconds']:.2f}",
            f"{one['faster_than_two_jobs']:.2f}",
            f"{one['processor_seconds']:.2f}",
        )
        for one in results
    ]
    return table(("latency", "jobs", "seconds", "times as fast as 2", "processor s"), rows)


def parse_arguments() -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    add_cache_options(parser)
    parser.add_argument("--runs", type=int, default=1)
    parser.add_argument("--fastprune", metavar="PATH")
    parser.add_argument("--json", type=Path, metavar="FILE", help="save the results")
    return parser.parse_args()


def run_benchmark(arguments: argparse.Namespace) -> None:
    """Prepares the caches, measures and reports."""
    if not arguments.cache and not arguments.sizes:
        arguments.sizes = "40k"
    caches = caches_of(arguments)
    tools = Tools(fastprune_argv(arguments.fastprune), ripgrep=None)
    machine = describe_machine(*(cache.root for cache in caches))
    print(show_machine(machine))
    found: dict[str, Any] = {"machine": machine, "caches": {}}
    with tempfile.TemporaryDirectory(prefix="fastprune-bench-") as folder:
        library = compile_injector(Path(folder))
        for cache in caches:
            results = measure_cache(cache, tools, library, arguments.runs)
            content = {"manifests": cache.manifests, "blobs": cache.description["blobs"]}
            found["caches"][cache.root.name] = {"content": content, "results": results}
            print(f"\n{cache.root}: {cache.manifests:,} manifests\n\n{show(results)}", flush=True)
    if arguments.json:
        save_json(arguments.json, found)
    for cache_results in found["caches"].values():
        check_gain(cache_results["results"])


if __name__ == "__main__":
    sys.exit(exit_code_of("bench_latency", lambda: run_benchmark(parse_arguments())))
