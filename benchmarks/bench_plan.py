"""Measures working out a prune, listing, and starting up, against ripgrep and the original.

Usage: ``python benchmarks/bench_plan.py [--sizes 10k,100k] [--cache DIR] [--runs 5] [--cold]``

A dry run of a prune reads every manifest file and deletes nothing. ripgrep, which counts a word
in the same files, shows how long reading takes. `floor.py` only reads and parses them. Before
anything is timed, the answers are compared with those that the generator worked out.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from answers import FORMAT_VERSION
from content import Settings
from generate import description_path, generate
from measure import (
    Command,
    MeasureError,
    Series,
    can_drop_caches,
    compare,
    describe_machine,
    exit_code_of,
    fastprune_argv,
    find_tool,
    peak,
    read_output,
    save_json,
    show_machine,
    table,
    tool_version,
)
from original import NAME as ORIGINAL
from original import Original, check_dry_run, check_listing

TIMED_PATTERNS = ("small", "registry")
COMPARED_PATTERN = TIMED_PATTERNS[0]
CHECKED_PATTERNS = (*TIMED_PATTERNS, "tag", "latest")
RIPGREP = "ripgrep"
FLOOR = "read and parse only"
BASES = {"ratio_to_ripgrep": RIPGREP, "ratio_to_floor": FLOOR}
"""The names of ratios, and the commands that they compare with."""

ORIGINAL_LIMIT = 200_000
MANY_JOBS = ("--jobs", "8")
MANY_JOBS_BELOW = 65_000
"""With fewer manifests, so many jobs get smaller pieces of work than two jobs do."""

UNITS = {"k": 1_000, "m": 1_000_000}


@dataclass(frozen=True, slots=True)
class Cache:
    """A generated cache and what is known about it."""

    root: Path
    description: dict[str, Any]

    @property
    def manifests(self) -> int:
        """Number of manifest files."""
        return int(self.description["manifests"])

    def pattern(self, name: str) -> str:
        """The regular expression of a recorded pattern."""
        return str(self.description["expected"][name]["pattern"])


@dataclass(frozen=True, slots=True)
class Tools:
    """The programs to measure.

    Attributes:
        fastprune: How to start it.
        ripgrep: Its path, if it is there.
        original: The path of ociregistry, if it is there.
        original_limit: The most manifests of a cache that it is run on.
    """

    fastprune: tuple[str, ...]
    ripgrep: str | None
    original: str | None = None
    original_limit: int = ORIGINAL_LIMIT

    def prune(self, cache: Cache, pattern: str, *options: str) -> tuple[str, ...]:
        """A dry run of fastprune."""
        return (*self.items(cache, pattern), "--summary", *options)

    def items(self, cache: Cache, pattern: str) -> tuple[str, ...]:
        """A dry run of fastprune that names every file that would go."""
        selection = ("--pattern", cache.pattern(pattern), "--dry-run")
        return (*self.fastprune, "--image-path", str(cache.root), "prune", *selection)

    def listing(self, cache: Cache) -> tuple[str, ...]:
        """A list of all manifests by fastprune."""
        return (*self.fastprune, "--image-path", str(cache.root), "list", "--format", "text")

    def original_on(self, cache: Cache) -> Original | None:
        """The original, unless there is none or the cache is too large for it."""
        if self.original is None or cache.manifests > self.original_limit:
            return None
        return Original(self.original, cache.root)


def open_cache(root: Path) -> Cache:
    """Reads the description beside a generated cache."""
    path = description_path(root)
    if not path.exists():
        raise MeasureError(f"{path} is missing: was {root} made by generate.py?")
    description = json.loads(path.read_text())
    if description["version"] != FORMAT_VERSION:
        raise MeasureError(f"{root} was made by another version of generate.py: delete it")
    return Cache(root.resolve(), description)


def prepare_cache(work: Path, size: str, seed: int) -> Cache:
    """Generates a cache under the work folder, unless an earlier run left it there."""
    root = work / f"cache-{size}-seed{seed}"
    if not description_path(root).exists():
        print(f"generating {root}", file=sys.stderr)
        generate(root, Settings(seed=seed, manifests=parse_size(size), tiny=False))
    return open_cache(root)


def add_cache_options(parser: argparse.ArgumentParser) -> None:
    """Adds the options that say which caches to measure."""
    parser.add_argument("--cache", type=Path, action="append", default=[], metavar="DIR")
    parser.add_argument("--sizes", help="caches to generate and keep, such as 10k,100k,1m")
    parser.add_argument(
        "--work", type=Path, default=Path(tempfile.gettempdir()) / "fastprune-bench", metavar="DIR"
    )
    parser.add_argument("--seed", type=int, default=1)


def caches_of(arguments: argparse.Namespace) -> list[Cache]:
    """The caches that are asked for; one of 10,000 manifests if none is."""
    sizes = arguments.sizes or ("" if arguments.cache else "10k")
    wanted = filter(None, sizes.split(","))
    return [
        *(open_cache(root) for root in arguments.cache),
        *(prepare_cache(arguments.work, size, arguments.seed) for size in wanted),
    ]


def parse_size(text: str) -> int:
    """A number of manifests such as 5000, 100k or 1m."""
    unit = UNITS.get(text[-1:].lower())
    return int(text[:-1]) * unit if unit else int(text)


def check_answers(cache: Cache, tools: Tools) -> None:
    """Compares the answers of fastprune with those that the generator worked out."""
    asked: list[tuple[str, tuple[str, ...]]] = [(name, ()) for name in CHECKED_PATTERNS]
    if cache.manifests < MANY_JOBS_BELOW:
        asked.append((COMPARED_PATTERN, MANY_JOBS))
    for name, options in asked:
        output = read_output(Command(name, tools.prune(cache, name, "--format", "json", *options)))
        totals = json.loads(output)["totals"]
        expected = cache.description["expected"][name]
        for key in ("manifests", "blobs"):
            if totals[key] != expected[key]:
                raise MeasureError(
                    f"{cache.root}: pattern {name} removes {totals[key]} {key}, not {expected[key]}"
                )
    listed = read_output(Command("list", tools.listing(cache)))
    lines = listed.count(b"\n")
    if lines != cache.manifests:
        raise MeasureError(f"{cache.root}: {lines} lines listed, not {cache.manifests}")
    if original := tools.original_on(cache):
        check_listing(listed, read_output(original.listing()))
        ours = read_output(Command("prune", tools.items(cache, COMPARED_PATTERN)))
        pattern = cache.pattern(COMPARED_PATTERN)
        check_dry_run(ours, read_output(original.prune("prune", pattern)))


def base_commands(cache: Cache, tools: Tools) -> list[Command]:
    """The commands of `BASES`: ripgrep, if it is there, and the floor."""
    commands = []
    if tools.ripgrep:
        options = ("-c", "--no-messages", "--hidden", "--no-ignore", "calico")
        folders = (str(cache.root / "img"), str(cache.root / "lts"))
        # Exit code 1: the word is in no file.
        commands.append(Command(RIPGREP, (tools.ripgrep, *options, *folders), codes=(0, 1)))
    floor = Path(__file__).with_name("floor.py")
    commands.append(Command(FLOOR, (sys.executable, str(floor), str(cache.root))))
    return commands


def cache_commands(cache: Cache, tools: Tools) -> list[Command]:
    """The commands that are measured on one cache."""
    commands = base_commands(cache, tools)
    commands += [Command(f"prune, {name}", tools.prune(cache, name)) for name in TIMED_PATTERNS]
    if cache.manifests < MANY_JOBS_BELOW:
        argv = tools.prune(cache, COMPARED_PATTERN, *MANY_JOBS)
        commands.append(Command(f"prune, {COMPARED_PATTERN}, {MANY_JOBS[1]} jobs", argv))
    commands.append(Command("list", tools.listing(cache)))
    if original := tools.original_on(cache):
        pattern = cache.pattern(COMPARED_PATTERN)
        commands.append(original.prune(f"prune, {COMPARED_PATTERN}", pattern))
        commands.append(original.listing())
    return commands


def measure_cache(
    cache: Cache,
    commands: Sequence[Command],
    rounds: int,
    *,
    cold: bool,
    bases: Mapping[str, str] = BASES,
) -> dict[str, Any]:
    """Times the commands on one cache, then samples their memory.

    Args:
        cache: The cache.
        commands: What to measure.
        rounds: How often.
        cold: Whether to empty the caches before every run.
        bases: The names of ratios, and the commands that they compare with.
    """
    measured = compare(commands, rounds, cold=cold)
    by_name = {series.command.name: series for series in measured}
    results: dict[str, Any] = {}
    for series in measured:
        name = series.command.name
        result = series.as_json()
        result["files_per_second"] = cache.manifests / series.seconds
        result["microseconds_per_manifest"] = series.seconds / cache.manifests * 1e6
        result["peak_bytes"] = peak(series.command).total
        for ratio, base in bases.items():
            if base in by_name:
                result[ratio] = series.ratio_to(by_name[base])
        original = by_name.get(f"{ORIGINAL} {name}")
        if original:
            result["original_ratio"] = original.ratio_to(series)
        results[name] = result
    return results


def measure_startup(tools: Tools, rounds: int) -> dict[str, Any]:
    """Times `--version` and `--help` against an interpreter that does nothing."""
    commands = [
        Command("python -c pass", (sys.executable, "-c", "pass")),
        Command("--version", (*tools.fastprune, "--version")),
        Command("--help", (*tools.fastprune, "--help")),
    ]
    measured: list[Series] = compare(commands, max(rounds, 11))
    results = {}
    for series in measured:
        result = series.as_json()
        results[series.command.name] = {**result, "ratio": series.ratio_to(measured[0])}
    return results


def show_cache(cache: Cache, results: dict[str, Any]) -> str:
    """The table of one cache."""
    rows = []
    for name, result in results.items():
        rows.append(
            (
                name,
                f"{result['seconds']:.3f}",
                f"{result['processor_seconds']:.2f}",
                f"{result['files_per_second']:,.0f}",
                f"{result['microseconds_per_manifest']:.2f}",
                f"{result['peak_bytes'] / 1e6:.0f}",
                show_ratio(result.get("ratio_to_ripgrep")),
                show_ratio(result["ratio_to_floor"]),
                show_ratio(result.get("original_ratio")),
            )
        )
    headings = (
        "command", "seconds", "cpu s", "files/s", "us/file", "peak MB", "/ ripgrep", "/ floor",
        "original /",
    )  # fmt: skip
    size = f"{cache.manifests:,} manifests, {cache.description['blobs']:,} blobs"
    return f"{cache.root}: {size}\n\n{table(headings, rows)}\n"


def show_startup(results: dict[str, Any]) -> str:
    """The table of starting up."""
    rows = [
        (name, f"{result['seconds'] * 1000:.1f}", f"{result['ratio']:.2f}")
        for name, result in results.items()
    ]
    return table(("start-up", "ms", "/ python"), rows) + "\n"


def show_ratio(ratio: float | None) -> str:
    """A ratio in a table; empty if it was not measured."""
    return "" if ratio is None else f"{ratio:.2f}"


def add_run_options(parser: argparse.ArgumentParser) -> None:
    """Adds the options that say how to measure."""
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--cold", action="store_true", help="empty the caches before every run")
    parser.add_argument("--rg", default=find_tool("rg"), metavar="PATH")
    parser.add_argument("--json", type=Path, metavar="FILE", help="save the results")


def check_cold(arguments: argparse.Namespace) -> None:
    """Makes sure that cold runs are possible, if they are wanted.

    Raises:
        MeasureError: They are not.
    """
    if arguments.cold and not can_drop_caches():
        raise MeasureError("--cold needs permission to write /proc/sys/vm/drop_caches")


def begin_results(
    arguments: argparse.Namespace, tools: Tools, caches: Sequence[Cache]
) -> dict[str, Any]:
    """Says what is measured, and on which machine; the results so far."""
    machine = describe_machine(*(cache.root for cache in caches))
    results: dict[str, Any] = {"machine": machine, "cold": arguments.cold, "caches": {}}
    print(show_machine(machine))
    if tools.ripgrep:
        results["ripgrep"] = tool_version(tools.ripgrep)
        print(f"{results['ripgrep']}: rg -c --no-messages --hidden --no-ignore calico img lts")
    if tools.original:
        results[ORIGINAL] = tool_version(tools.original, "version")
        print(f"{results[ORIGINAL]}: prune --pattern … --dry-run, list")
    state = "cold" if arguments.cold else "warm"
    print(f"medians of {arguments.runs} runs, {state}\n")
    return results


def parse_arguments() -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    add_cache_options(parser)
    add_run_options(parser)
    parser.add_argument("--ociregistry", metavar="PATH", help="the original, to compare with")
    parser.add_argument(
        "--ociregistry-limit",
        type=int,
        default=ORIGINAL_LIMIT,
        metavar="N",
        help="only up to N manifests",
    )
    parser.add_argument("--fastprune", metavar="PATH")
    return parser.parse_args()


def run_benchmark(arguments: argparse.Namespace) -> None:
    """Prepares the caches, checks the answers, measures and reports."""
    check_cold(arguments)
    tools = Tools(
        fastprune_argv(arguments.fastprune),
        arguments.rg,
        arguments.ociregistry,
        arguments.ociregistry_limit,
    )
    caches = caches_of(arguments)
    results = begin_results(arguments, tools, caches)
    for cache in caches:
        check_answers(cache, tools)
        commands = cache_commands(cache, tools)
        measured = measure_cache(cache, commands, arguments.runs, cold=arguments.cold)
        results["caches"][cache.root.name] = {"content": cache.description, "commands": measured}
        print(show_cache(cache, measured), flush=True)
    results["startup"] = measure_startup(tools, arguments.runs)
    print(show_startup(results["startup"]))
    if arguments.json:
        save_json(arguments.json, results)


if __name__ == "__main__":
    sys.exit(exit_code_of("bench_plan", lambda: run_benchmark(parse_arguments())))
