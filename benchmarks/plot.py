"""Draws the committed results: time and memory by size, deletions, scans again, ten million.

Usage: ``python benchmarks/plot.py [--results benchmarks/results] [--output docs/images]``

It needs matplotlib (``pip install --group bench``) and measures nothing.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("svg")

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter, StrMethodFormatter

HERE = Path(__file__).resolve().parent
OURS, THEIRS, MEMORY = "#0b6e99", "#c4561a", "#5b7f2b"
PRUNE, RIPGREP = "prune, small", "ripgrep"
KIND_NAMES = {"empty": "empty files", "4k": "4 KiB", "1m": "1 MiB"}
# The steps of `bench_scale.py` that are drawn: those that differ.
SCALE_STEPS = {
    "merge": "merge what workers read",
    "select --older-than": "select by age",
    "select --keep-last": "keep the last tags",
    "select --max-size, 50% of the bytes": "size target",
    "plan --older-than": "plan",
    "saved plan": "saved plan of a fifth",
    "list, text": "list all",
    "du --by repository, text": "du",
}
KIND_COLORS = {"empty": MEMORY, "4k": OURS, "1m": THEIRS}


def by_size(results: dict[str, Any], command: str, column: str) -> tuple[list[int], list[float]]:
    """A figure of a command for each size of cache, in order of the size."""
    points = sorted(
        (cache["content"]["manifests"], cache["commands"][command][column])
        for cache in results["caches"].values()
        if command in cache["commands"]
    )
    return [size for size, _ in points], [value for _, value in points]


def draw_scan(warm: dict[str, Any], cold: dict[str, Any], path: Path) -> None:
    """Seconds and peak memory of a dry run against the number of manifests."""
    figure, (times, memory) = plt.subplots(1, 2, figsize=(10, 4.2), layout="constrained")
    for results, state, style in ((warm, "warm", "-"), (cold, "cold", "--")):
        for command, name, color in ((PRUNE, "fastprune", OURS), (RIPGREP, "ripgrep", THEIRS)):
            sizes, seconds = by_size(results, command, "seconds")
            times.plot(sizes, seconds, style, marker="o", color=color, label=f"{name}, {state}")
    times.set(title="prune --dry-run, and ripgrep over the same files", ylabel="seconds")
    times.set_yscale("log")
    times.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    sizes, sampled = by_size(warm, PRUNE, "peak_bytes")
    memory.plot(sizes, [peak / 1e6 for peak in sampled], marker="o", color=MEMORY)
    for size, peak in zip(sizes, sampled, strict=True):
        memory.annotate(f"{peak / 1e6:.0f} MB", (size, peak / 1e6), (-8, 8), **_BESIDE_POINT)
    memory.set(title="peak memory, all processes", ylabel="MB", xlim=(5_000, 1.5 * max(sizes)))
    memory.set_ylim(0, max(sampled) / 1e6 * 1.2)
    _by_manifests(times, memory)
    times.legend(frameon=False)
    figure.savefig(path, metadata={"Date": None})


def draw_deletions(results: dict[str, Any], path: Path) -> None:
    """Files deleted per second against concurrency, with `rm -rf` as a level."""
    figure, axes = plt.subplots(figsize=(7, 4.2), layout="constrained")
    for kind, commands in results["kinds"].items():
        points = sorted(
            (int(name.partition(", ")[2]), command["apply_files_per_second"])
            for name, command in commands.items()
            if name.startswith("fastprune") and name.count(", ") == 1
        )
        color, name = KIND_COLORS[kind], KIND_NAMES[kind]
        threads, rates = zip(*points, strict=True)
        axes.plot(threads, rates, marker="o", color=color, label=f"fastprune, {name}")
        level = commands["rm -rf"]["files_per_second"]
        axes.axhline(level, color=color, linestyle=":", label=f"rm -rf, {name}")
    axes.set(title="deleting", xlabel="--concurrency", ylabel="files per second")
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter(FuncFormatter(_thousands))
    axes.yaxis.set_minor_formatter(NullFormatter())
    _tidy(axes)
    axes.legend(frameon=False, ncols=2, loc="upper center", bbox_to_anchor=(0.5, -0.15))
    figure.savefig(path, metadata={"Date": None})


def draw_rescans(measured: list[tuple[str, dict[str, Any]]], path: Path) -> None:
    """What scans of a cache that was scanned before take, of the time of a full scan.

    Args:
        measured: Titles, and the steps of the cache of each.
        path: The file to write.
    """
    figure = plt.figure(figsize=(4.2 * len(measured), 3.2), layout="constrained")
    row = figure.subplots(1, len(measured), sharey=True, squeeze=False)[0]
    for axes, (title, steps) in zip(row, measured, strict=True):
        cases = {
            name: case["ratio_to_full"]
            for step in steps.values()
            for name, case in step.items()
            if "read" in case
        }
        bars = axes.barh(list(cases), list(cases.values()), color=OURS)
        axes.bar_label(bars, fmt="{:.2f}", padding=3)
        axes.axvline(1, color=THEIRS, linestyle=":")
        axes.set(title=title, xlabel="of the time of a full scan", xlim=(0, 1.3))
        _tidy(axes)
    row[0].invert_yaxis()  # and with it all others
    figure.savefig(path, metadata={"Date": None})


def draw_scale(results: dict[str, Any], path: Path) -> None:
    """Processor time and peak memory of each step against the number of manifests, on arrays."""
    caches = sorted(results["caches"].values(), key=lambda cache: int(cache["manifests"]))
    figure, (times, memory) = plt.subplots(1, 2, figsize=(11, 5), layout="constrained")
    for number, (step, name) in enumerate(SCALE_STEPS.items()):
        color = f"C{number}"
        measured = [cache for cache in caches if step in cache["steps"]]
        sizes = [cache["manifests"] for cache in measured]
        costs = [cache["steps"][step] for cache in measured]
        seconds = [cost["processor_seconds"] for cost in costs]
        times.plot(sizes, seconds, marker="o", color=color, label=name)
        peaks = [cost["peak_bytes"] / 1e9 for cost in costs]
        memory.plot(sizes, peaks, marker="o", color=color, label=name)
    times.set(title="processor time of each step", ylabel="seconds")
    times.set_yscale("log")
    times.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    memory.set(title="peak memory, index included", ylabel="GB")
    memory.set_yscale("log")
    memory.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    memory.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    memory.yaxis.set_minor_formatter(NullFormatter())
    _by_manifests(times, memory)
    handles, labels = times.get_legend_handles_labels()
    figure.legend(handles, labels, frameon=False, loc="outside lower center", ncols=4)
    figure.savefig(path, metadata={"Date": None})


_BESIDE_POINT: dict[str, Any] = {"textcoords": "offset points", "ha": "right", "fontsize": 9}


def _by_manifests(*all_axes: Axes) -> None:
    """Makes the number of manifests the x-axis."""
    for axes in all_axes:
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter(FuncFormatter(_thousands))
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.set_xlabel("manifests")
        _tidy(axes)


def _thousands(value: float, _: object) -> str:
    if value >= 1_000_000:
        return f"{value / 1_000_000:g}M"
    return f"{value / 1_000:g}k" if value >= 1_000 else f"{value:g}"


def _tidy(axes: Axes) -> None:
    axes.grid(visible=True, which="major", color="#dddddd", linewidth=0.7)
    axes.spines[["top", "right"]].set_visible(False)


def main() -> None:
    """Reads the results and draws."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--results", type=Path, default=HERE / "results", metavar="DIR")
    parser.add_argument("--output", type=Path, default=HERE.parent / "docs/images", metavar="DIR")
    arguments = parser.parse_args()

    def read(name: str) -> dict[str, Any]:
        results: dict[str, Any] = json.loads((arguments.results / name).read_text())
        return results

    # The results of the largest caches are in a file of their own.
    warm = read("plan-warm.json")
    warm["caches"] |= read("plan-warm-2m.json")["caches"]

    # The same results give the same file, and its text can be searched.
    plt.rcParams |= {"svg.hashsalt": "fastprune", "svg.fonttype": "none"}
    arguments.output.mkdir(parents=True, exist_ok=True)
    draw_scan(warm, read("plan-cold.json"), arguments.output / "scan.svg")
    draw_deletions(read("apply.json"), arguments.output / "deletions.svg")
    rescans = [
        (f"{cache['content']['manifests']:,} manifests, {state}", cache["steps"])
        for state in ("warm", "cold")
        if (arguments.results / f"rescan-{state}.json").exists()
        for cache in read(f"rescan-{state}.json")["caches"].values()
    ]
    if rescans:
        draw_rescans(rescans, arguments.output / "rescans.svg")
    draw_scale(read("scale.json"), arguments.output / "scale.svg")


if __name__ == "__main__":
    main()
