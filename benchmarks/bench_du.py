"""Checks that the rows of `du` add up to the bytes on disk, and measures it.

Usage: ``python benchmarks/bench_du.py [--sizes 10k,100k] [--cache DIR] [--runs 3] [--work DIR]``

`du` asks for the size of every blob, which a dry run does not: so it is compared with `list`.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path

from bench_plan import Cache, open_cache, prepare_cache
from measure import Command, MeasureError, compare, fastprune_argv, peak, read_output, table

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


def main() -> int:
    """Runs the command line."""
    parser = argparse.ArgumentParser(description="Check and measure fastprune du.")
    parser.add_argument("--sizes", help="generated caches: 10k,100k,1m")
    parser.add_argument("--cache", type=Path, action="append", default=[], metavar="DIR")
    parser.add_argument(
        "--work", type=Path, default=Path(tempfile.gettempdir()) / "fastprune-bench"
    )
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--runs", type=int, default=3, help="0: only check the sums")
    parser.add_argument("--fastprune", metavar="PATH")
    arguments = parser.parse_args()
    program = fastprune_argv(arguments.fastprune)
    try:
        sizes = arguments.sizes or ("" if arguments.cache else "10k")
        caches = [open_cache(root) for root in arguments.cache]
        wanted = filter(None, sizes.split(","))
        caches += [prepare_cache(arguments.work, size, arguments.seed) for size in wanted]
        for cache in caches:
            check_sums(cache, program)
            if arguments.runs:
                print(measure_cache(cache, program, arguments.runs), flush=True)
    except MeasureError as error:
        print(f"bench_du: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
