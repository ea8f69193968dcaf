"""Checks that the rows of `du` add up to the bytes on disk, and measures it.

Usage: ``python benchmarks/bench_du.py [--sizes 10k,100k] [--cache DIR] [--runs 3] [--work DIR]``

`du` asks for the size of every blob; a dry run does not. So `du` is compared with `list`.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path

from bench_plan import Cache, add_cache_options, caches_of
from measure import (
    Command,
    MeasureError,
    compare,
    exit_code_of,
    fastprune_argv,
    peak,
    read_output,
    table,
)

FOLDERS = ("blobs", "img", "lts")
GROUPINGS = ("registry", "repository", "image", "layer")


def bytes_on_disk(root: Path) -> int:
    """Bytes of all files of a cache."""
    return sum(
        entry.stat(follow_symlinks=False).st_size
        for folder in FOLDERS
        for entry in os.scandir(root / folder)
    )


def check_sums(cache: Cache, program: tuple[str, ...]) -> None:
    """Makes sure that the rows add up.

    Raises:
        MeasureError: They don't.
    """
    on_disk = bytes_on_disk(cache.root)
    for by in GROUPINGS:
        argv = (*program, "--image-path", str(cache.root), "du", "--by", by, "--format", "json")
        rows = json.loads(read_output(Command(by, argv)))["rows"]
        found = sum(row["unique"] for row in rows)
        if found != on_disk:
            raise MeasureError(f"{cache.root} by {by}: {found} in rows, {on_disk} on disk")
        print(f"{cache.root} by {by}: {len(rows):,} rows, {found:,} bytes: those on disk")


def measure_cache(cache: Cache, program: tuple[str, ...], runs: int) -> str:
    """A table of times and memory."""
    start = (*program, "--image-path", str(cache.root))
    commands = [
        Command("list", (*start, "list", "--format", "text")),
        *(Command(f"du --by {by}", (*start, "du", "--by", by)) for by in GROUPINGS),
    ]
    measured = compare(commands, runs)
    rows = [
        (
            series.command.name,
            f"{series.seconds:.2f} s",
            f"{series.ratio_to(measured[0]):.2f}",
            f"{peak(series.command).megabytes:.0f} MB",
        )
        for series in measured
    ]
    return table(("command", "time", "of list", "peak memory"), rows)


def parse_arguments() -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    add_cache_options(parser)
    parser.add_argument("--runs", type=int, default=3, help="0: only check the sums")
    parser.add_argument("--fastprune", metavar="PATH")
    return parser.parse_args()


def run_benchmark(arguments: argparse.Namespace) -> None:
    """Prepares the caches, checks the sums, measures and reports."""
    program = fastprune_argv(arguments.fastprune)
    for cache in caches_of(arguments):
        check_sums(cache, program)
        if arguments.runs:
            print(measure_cache(cache, program, arguments.runs), flush=True)


if __name__ == "__main__":
    sys.exit(exit_code_of("bench_du", lambda: run_benchmark(parse_arguments())))
