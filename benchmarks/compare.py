"""Compares two revisions of fastprune, run in turn on the same cache.

Usage: ``python benchmarks/compare.py REV1 REV2 [--cache DIR] [--runs 9] [--cold]``

A revision is anything that git knows (`HEAD~3`, a tag, a hash), or `.` for the files as they are
now. Both run with the packages of the interpreter that runs this script, and both must
give the answers that the generator worked out.
"""

from __future__ import annotations

import argparse
import io
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

from bench_plan import TIMED_PATTERNS, Cache, Tools, check_answers, open_cache, prepare_cache
from measure import (
    Command,
    MeasureError,
    Series,
    can_drop_caches,
    compare,
    describe_machine,
    exit_code_of,
    peak,
    show_machine,
    table,
)

WORKING_FILES = "."
PROJECT = Path(__file__).resolve().parent.parent


def unpack(revision: str, folder: Path) -> Path:
    """Returns a folder with the source of a revision."""
    if revision == WORKING_FILES:
        return PROJECT / "src"
    archive = ("git", "-C", str(PROJECT), "archive", "--format=tar", revision, "src")
    done = subprocess.run(archive, capture_output=True, check=False)
    if done.returncode:
        raise MeasureError(f"{revision}: {done.stderr.decode(errors='replace').strip()}")
    with tarfile.open(fileobj=io.BytesIO(done.stdout)) as files:
        files.extractall(folder, filter="data")
    return folder / "src"


def revision_tools(source: Path) -> Tools:
    """The program as it is in a folder."""
    # Before all other paths, and without the current folder, which has yet another revision.
    code = (
        f"import runpy, sys; sys.path.insert(0, {str(source)!r}); "
        "runpy.run_module('fastprune', run_name='__main__')"
    )
    return Tools((sys.executable, "-P", "-c", code), None, None)


def revision_commands(name: str, cache: Cache, tools: Tools) -> list[Command]:
    """The commands that are compared; the same list for each revision."""
    commands = [
        Command(f"prune, {pattern}", tools.prune(cache, pattern)) for pattern in TIMED_PATTERNS
    ]
    commands.append(Command("list", tools.listing(cache)))
    commands.append(Command("--help", (*tools.fastprune, "--help")))
    return [Command(f"{command.name} ({name})", command.argv) for command in commands]


def compare_revisions(revisions: list[str], cache: Cache, runs: int, *, cold: bool) -> str:
    """Checks and measures both revisions; gives the table."""
    with tempfile.TemporaryDirectory() as folder:
        series: list[list[Series]] = []
        sources = [
            unpack(revision, Path(folder) / str(place)) for place, revision in enumerate(revisions)
        ]
        commands = []
        for revision, source in zip(revisions, sources, strict=True):
            tools = revision_tools(source)
            check_answers(cache, tools)
            commands.append(revision_commands(revision, cache, tools))
        rows = []
        for pair in zip(*commands, strict=True):
            series.append(compare(pair, runs, cold=cold))
            first, second = series[-1]
            rows.append(
                (
                    first.command.name.partition(" (")[0],
                    f"{first.seconds:.3f}",
                    f"{second.seconds:.3f}",
                    f"{second.ratio_to(first):.3f}",
                    f"{first.processor:.2f}",
                    f"{second.processor:.2f}",
                    *(f"{peak(one.command).megabytes:.0f}" for one in (first, second)),
                )
            )
    headings = ("command", "1: s", "2: s", "2 / 1", "1: cpu s", "2: cpu s", "1: MB", "2: MB")
    return table(headings, rows)


def parse_arguments() -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("revisions", nargs=2, metavar="REV")
    parser.add_argument("--cache", type=Path, metavar="DIR", help="one that generate.py made")
    parser.add_argument("--size", default="10k", help="else a cache of this size is generated")
    parser.add_argument(
        "--work", type=Path, default=Path(tempfile.gettempdir()) / "fastprune-bench", metavar="DIR"
    )
    parser.add_argument("--runs", type=int, default=9)
    parser.add_argument("--cold", action="store_true", help="empty the caches before every run")
    return parser.parse_args()


def run_benchmark(arguments: argparse.Namespace) -> None:
    """Prepares the cache, compares and reports."""
    if arguments.cold and not can_drop_caches():
        raise MeasureError("--cold needs permission to write /proc/sys/vm/drop_caches")
    cache = (
        open_cache(arguments.cache)
        if arguments.cache
        else prepare_cache(arguments.work, arguments.size, seed=1)
    )
    print(show_machine(describe_machine(cache.root)))
    state = "cold" if arguments.cold else "warm"
    print(f"{cache.root}: {cache.manifests:,} manifests, {state}, {arguments.runs} runs each")
    print(f"1: {arguments.revisions[0]}, 2: {arguments.revisions[1]}\n")
    print(compare_revisions(arguments.revisions, cache, arguments.runs, cold=arguments.cold))


if __name__ == "__main__":
    sys.exit(exit_code_of("compare", lambda: run_benchmark(parse_arguments())))
