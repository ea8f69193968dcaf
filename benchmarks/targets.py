"""Compares the committed results with the targets of the project.

Usage: ``python benchmarks/targets.py [--results benchmarks/results] [--write]``

Prints the table that stands in `benchmarks/README.md`, and with ``--write`` puts it there; a test
compares the two. It measures nothing: `run_all.py` does.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

HERE = Path(__file__).resolve().parent
BEGIN, END = "<!-- targets -->\n", "<!-- /targets -->"
PRUNE, LIST = "prune, small", "list"
DEFAULT_THREADS = "fastprune, 32"
FIRST, UNCHANGED, ALL_CHANGES = (
    "first scan",
    "unchanged",
    "1 % rewritten, 1 % new, 1 % removed",
)
K100, M1, M10 = 100_000, 1_000_000, 10_000_000


class Target(NamedTuple):
    """A target, and the value that was measured.

    Attributes:
        what: The quantity, in words.
        wanted: Its bound.
        measured: Its value.
        at_least: Whether the bound is a floor rather than a cap.
        unit: The unit of both numbers.
    """

    what: str
    wanted: float
    measured: float
    at_least: bool
    unit: str

    @property
    def met(self) -> bool:
        """Whether the measured value is on the right side."""
        return self.measured >= self.wanted if self.at_least else self.measured <= self.wanted

    @property
    def row(self) -> str:
        """A row of the table."""
        bound = "at least" if self.at_least else "at most"
        met = "yes" if self.met else "**no**"
        return (
            f"| {self.what} | {bound} {self.wanted:g}{self.unit} "
            f"| {self.measured:.2f}{self.unit} | {met} |"
        )


class Results(NamedTuple):
    """What the benchmarks have saved; None for what was not measured.

    Attributes:
        warm: Results of `bench_plan.py`.
        cold: The same with `--cold`.
        apply: Results of `bench_apply.py`.
        rules: Results of `bench_rules.py`.
        rescan: Results of `bench_rescan.py`.
        rescan_cold: The same with `--cold`.
        scale: Results of `bench_scale.py`.
    """

    warm: dict[str, Any]
    cold: dict[str, Any]
    apply: dict[str, Any]
    rules: dict[str, Any]
    rescan: dict[str, Any] | None = None
    rescan_cold: dict[str, Any] | None = None
    scale: dict[str, Any] | None = None


def targets(results: Results) -> Iterator[Target]:
    """Every target that can be measured on one machine, in the order of the table.

    Targets that compare with the original, and those about scans with memory, are left out if that
    was not measured.

    Args:
        results: What the benchmarks have saved.
    """
    warm, cold, apply, rules, rescan, rescan_cold, scale = results
    hundred, million = _commands(warm, K100), _commands(warm, M1)
    times = " times"
    for command, name, wanted in ((PRUNE, "prune --dry-run", 18), (LIST, "list", 4.5)):
        if ratio := hundred[command].get("original_ratio"):
            yield _floor(f"{name}, 100k warm: faster than the original", wanted, ratio, times)
    floor = "prune --dry-run, {}: time of floor.py"
    yield _cap(floor.format("100k warm"), 1.9, hundred[PRUNE]["ratio_to_floor"], times)
    yield _cap(floor.format("1M warm"), 1.7, million[PRUNE]["ratio_to_floor"], times)
    if share := million[PRUNE].get("main_share"):
        what = "processor time of the main process at 1M, of that of the workers"
        yield _cap(what, 0.12, share, times)
    each = "microseconds_per_manifest"
    growth = million[PRUNE][each] / hundred[PRUNE][each]
    yield _cap("time per manifest at 1M, of that at 100k", 1.15, growth, times)
    faster = 1 / _commands(cold, K100)[PRUNE]["ratio_to_ripgrep"]
    yield _floor("prune --dry-run, 100k cold: faster than ripgrep", 2, faster, times)
    yield from _rescans(rescan, rescan_cold)
    peak = million[PRUNE]["peak_bytes"] / 1e6
    yield _cap("peak memory at 1M", 350, peak, " MB")
    yield _cap(
        "memory per manifest at 1M, of that at 100k",
        1,
        (million[PRUNE]["peak_bytes"] / hundred[PRUNE]["peak_bytes"])
        / (_manifests(warm, M1) / _manifests(warm, K100)),
        times,
    )
    deleting = "the deletion alone, files of {}: faster than rm -rf"
    for kind, name, wanted in (("4k", "4 KiB", 3), ("empty", "0 bytes", 1), ("1m", "1 MiB", 1)):
        rate = apply["kinds"][kind][DEFAULT_THREADS]["apply_ratio_to_rm"]
        yield _floor(deleting.format(name), wanted, rate, times)
    largest = max(rules["caches"].values(), key=lambda cache: int(cache["manifests"]))
    yield _cap("all rules together at 1M, of the scan", 0.25, largest["share_of_scan"], times)
    startup = warm["startup"]
    yield _cap("--version, of python -c pass", 8, startup["--version"]["ratio"], times)
    yield _cap("--help, of python -c pass", 12, startup["--help"]["ratio"], times)
    if scale:
        yield from _scale(scale)


def _rescans(warm: dict[str, Any] | None, cold: dict[str, Any] | None) -> Iterator[Target]:
    """The targets about scans with memory."""
    full, times = "time of a full scan", " times"
    if warm:
        hundred, million = _cases(warm, K100), _cases(warm, M1)
        for size, cases, of_full, of_ripgrep in (
            ("100k warm", hundred, 0.3, 1.3),
            ("1M warm", million, 0.2, 0.7),
        ):
            case = cases[UNCHANGED]
            yield _cap(f"{UNCHANGED}, {size}: {full}", of_full, case["ratio_to_full"], times)
            if ratio := case.get("ratio_to_ripgrep"):
                yield _cap(f"{UNCHANGED}, {size}: time of ripgrep", of_ripgrep, ratio, times)
        changed = million[ALL_CHANGES]["ratio_to_full"]
        yield _cap(f"{ALL_CHANGES}, 1M warm: {full}", 0.35, changed, times)
    if cold:
        ratio = _cases(cold, K100)[UNCHANGED]["ratio_to_full"]
        yield _cap(f"{UNCHANGED}, 100k cold: {full}", 0.35, ratio, times)
    if warm:
        for size, cases in (("100k", hundred), ("1M", million)):
            what = f"{FIRST} that is remembered, {size} warm: time of one that is not"
            yield _cap(what, 1.08, cases[FIRST]["ratio_to_full"], times)
        peak = max(case["peak_bytes"] for case in million.values() if "read" in case) / 1e6
        yield _cap("peak memory at 1M, with memory of scans", 350, peak, " MB")


def _scale(scale: dict[str, Any]) -> Iterator[Target]:
    """The targets about ten million manifests on arrays."""
    million, ten = (_steps(scale, manifests) for manifests in (M1, M10))
    growth = {
        name: _per_manifest(step) / _per_manifest(million[name]) for name, step in ten.items()
    }
    slowest = max(growth, key=growth.__getitem__)
    what = f"10M on arrays, {slowest}: time per manifest, of that at 1M"
    yield _cap(what, 1.3, growth[slowest], " times")
    largest = max(ten, key=lambda name: float(ten[name]["peak_bytes"]))
    peak = ten[largest]["peak_bytes"] / 1e6
    yield _cap(f"10M on arrays, {largest}: peak memory", 3_200, peak, " MB")


def _steps(scale: dict[str, Any], manifests: int) -> dict[str, dict[str, Any]]:
    """The steps of the cache of about so many manifests, each with their exact number."""
    caches: list[dict[str, Any]] = list(scale["caches"].values())
    cache = min(caches, key=lambda one: abs(one["manifests"] - manifests))
    return {name: step | {"manifests": cache["manifests"]} for name, step in cache["steps"].items()}


def _per_manifest(step: dict[str, Any]) -> float:
    return float(step["processor_seconds"]) / int(step["manifests"])


def _cap(what: str, wanted: float, measured: float, unit: str) -> Target:
    return Target(what, wanted, measured, at_least=False, unit=unit)


def _floor(what: str, wanted: float, measured: float, unit: str) -> Target:
    return Target(what, wanted, measured, at_least=True, unit=unit)


def _cache(results: dict[str, Any], manifests: int) -> dict[str, Any]:
    caches: list[dict[str, Any]] = list(results["caches"].values())
    return min(caches, key=lambda cache: abs(cache["content"]["manifests"] - manifests))


def _commands(results: dict[str, Any], manifests: int) -> dict[str, Any]:
    commands: dict[str, Any] = _cache(results, manifests)["commands"]
    return commands


def _cases(results: dict[str, Any], manifests: int) -> dict[str, Any]:
    """The cases of all steps. Those that occur in each step are from any of them."""
    steps: dict[str, dict[str, Any]] = _cache(results, manifests)["steps"]
    return {name: case for step in steps.values() for name, case in step.items()}


def _manifests(results: dict[str, Any], manifests: int) -> int:
    return int(_cache(results, manifests)["content"]["manifests"])


def read_results(folder: Path) -> Results:
    """Reads the files that `run_all.py` has saved."""

    def read(name: str) -> dict[str, Any]:
        results: dict[str, Any] = json.loads((folder / name).read_text())
        return results

    def read_if_there(name: str) -> dict[str, Any] | None:
        return read(name) if (folder / name).exists() else None

    return Results(
        warm=read("plan-warm.json"),
        cold=read("plan-cold.json"),
        apply=read("apply.json"),
        rules=read("rules.json"),
        rescan=read_if_there("rescan-warm.json"),
        rescan_cold=read_if_there("rescan-cold.json"),
        scale=read_if_there("scale.json"),
    )


def markdown(folder: Path) -> str:
    """The table."""
    rows = [target.row for target in targets(read_results(folder))]
    return "\n".join(("| what | target | measured | met |", "| --- | --- | --- | --- |", *rows))


def embedded(page: str, table: str) -> str:
    """The page with this table between its two marks."""
    before, rest = page.split(BEGIN)
    return f"{before}{BEGIN}{table}\n{END}{rest.split(END)[1]}"


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--results", type=Path, default=HERE / "results", metavar="DIR")
    parser.add_argument("--write", action="store_true", help="put it into README.md as well")
    arguments = parser.parse_args()
    table = markdown(arguments.results)
    print(table)
    if arguments.write:
        page = HERE / "README.md"
        page.write_text(embedded(page.read_text(), table))


if __name__ == "__main__":
    main()
