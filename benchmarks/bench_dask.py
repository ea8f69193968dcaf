"""Measures `--dask local:N` against `--jobs N`, and checks that the answers are equal.

Usage: ``python benchmarks/bench_dask.py [--sizes 100k] [--cache DIR] [--content 4GiB] [--runs 5]``

Measured are a dry run of a cache, and `verify --content` of blobs that are whole. The times have
the start of the cluster in them; a `list` of an empty cache shows how long that takes by itself.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

from bench_plan import add_cache_options, caches_of
from fastprune.text.quantities import parse_size
from measure import (
    Command,
    MeasureError,
    Series,
    compare,
    exit_code_of,
    fastprune_argv,
    read_output,
    table,
)

BLOB_BYTES = 64 << 20
# The largest of what is asked of Dask on one machine (docs/scale.md).
MOST_FOR_A_SCAN, MOST_FOR_CONTENT = 1.5, 1.15
TIMES = {"seconds", "started", "finished", "estimate"}


def write_blobs(root: Path, size: int) -> None:
    """Makes a cache without manifests, whose blobs have the content that their names say."""
    for folder in ("img", "lts", "blobs"):
        (root / folder).mkdir(parents=True)
    for _ in range(max(1, size // BLOB_BYTES)):
        content = os.urandom(BLOB_BYTES)
        (root / "blobs" / hashlib.sha256(content).hexdigest()).write_bytes(content)


def without_times(value: Any) -> Any:
    """A document of JSON without what takes another time in each run."""
    if isinstance(value, dict):
        return {key: without_times(one) for key, one in value.items() if key not in TIMES}
    return [without_times(one) for one in value] if isinstance(value, list) else value


def measured(root: Path, words: tuple[str, ...], arguments: argparse.Namespace) -> list[Series]:
    """Compares a command with both kinds of workers.

    Raises:
        MeasureError: Their answers differ.
    """
    number = str(arguments.workers)
    start = (*fastprune_argv(arguments.fastprune), "--image-path", str(root), *words)
    commands = [
        Command(f"{words[0]} --jobs {number}", (*start, "--jobs", number)),
        Command(f"{words[0]} --dask local:{number}", (*start, "--dask", f"local:{number}")),
    ]
    if "json" in words:
        here, there = (without_times(json.loads(read_output(one))) for one in commands)
        # How fast it was is part of what was read.
        for document in (here, there):
            document.get("content", {}).pop("bytes_per_second", None)
        if here != there:
            raise MeasureError(f"{' '.join(words)}: the answers differ")
    return compare(commands, arguments.runs)


def row(what: str, series: list[Series], most: float | None) -> tuple[str, ...]:
    """A row of the table."""
    own, dask = series
    return (
        what,
        f"{own.seconds:.2f} s",
        f"{dask.seconds:.2f} s",
        f"{dask.ratio_to(own):.2f}",
        f"{dask.processor / own.processor:.2f}",
        "" if most is None else f"{most:.2f}",
    )


def run_benchmark(arguments: argparse.Namespace) -> None:
    """Prepares the caches, measures and reports."""
    rows = []
    arguments.work.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=arguments.work) as folder:
        empty, content = Path(folder) / "empty", Path(folder) / "content"
        (empty / "img").mkdir(parents=True)
        rows.append(row("start alone", measured(empty, ("list",), arguments), None))
        for cache in caches_of(arguments):
            words = ("prune", "--dry-run", "--pattern", "nginx", "--summary", "--format", "json")
            series = measured(cache.root, words, arguments)
            rows.append(row(f"dry run of {cache.root.name}", series, MOST_FOR_A_SCAN))
        write_blobs(content, parse_size(arguments.content, "--content"))
        series = measured(content, ("verify", "--content", "--format", "json"), arguments)
        rows.append(row(f"verify {arguments.content}", series, MOST_FOR_CONTENT))
    heads = ("what", "--jobs", "--dask", "ratio", "of processor time", "at most")
    print(table(heads, rows), flush=True)


def parse_arguments() -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    add_cache_options(parser)
    parser.add_argument("--content", default="4GiB", metavar="SIZE", help="of the blobs to read")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--fastprune", metavar="PATH")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(exit_code_of("bench_dask", lambda: run_benchmark(parse_arguments())))
