"""Measures everything that the documentation shows, and saves it.

Usage: ``sudo python benchmarks/run_all.py --work DIR [--results DIR] [--ociregistry PATH]``

It takes two hours or so and 30 GB, most of it for the caches of one and two million
manifests, which are kept for the next time. Cold runs are left out without permission to empty the
kernel's caches; comparisons with the original are left out without --ociregistry.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

from measure import can_drop_caches

HERE = Path(__file__).resolve().parent


def runs(work: Path, results: Path, original: str | None) -> list[tuple[str, ...]]:
    """The benchmarks with their options; each writes one file of results.

    Args:
        work: Where the caches are.
        results: Where the files go.
        original: The program ociregistry, to compare with.
    """
    plan = ("bench_plan.py", "--work", str(work))
    compared = ("--ociregistry", original) if original else ()
    warm = (*plan, *compared, "--sizes", "10k,100k,1m", "--runs", "5")
    commands = [
        (*warm, "--json", str(results / "plan-warm.json")),
        (
            *("bench_apply.py", "--work", str(work), "--runs", "5"),
            *("--files", "20000", "--large-files", "1000", "--concurrency", "1,2,4,8,16,32"),
            *("--json", str(results / "apply.json")),
        ),
    ]
    rules = ("bench_rules.py", "--work", str(work), "--sizes", "100k,1m")
    commands.append((*rules, "--json", str(results / "rules.json")))
    large = ("--sizes", "2m", "--runs", "3")
    commands.append((*plan, *large, "--json", str(results / "plan-warm-2m.json")))
    scale = ("bench_scale.py", "--sizes", "100k,1m,2m,10m")
    commands.append((*scale, "--json", str(results / "scale.json")))
    for size in ("100k", "1m"):
        cache = str(work / f"cache-{size}-seed1")
        commands.append(("bench_parts.py", cache, "--json", str(results / f"parts-{size}.json")))
    cold = can_drop_caches()
    if cold:
        options = ("--sizes", "10k,100k", "--runs", "5", "--cold")
        commands.append((*plan, *options, "--json", str(results / "plan-cold.json")))
    verify = ("bench_verify.py", "--work", str(work), "--runs", "5")
    commands.append((*verify, "--json", str(results / "verify.json")))
    # Last, as they change the caches and put them back.
    rescan = ("bench_rescan.py", "--work", str(work), "--runs", "5")
    warm_json, cold_json = (str(results / f"rescan-{state}.json") for state in ("warm", "cold"))
    commands.append((*rescan, "--sizes", "100k,1m", "--json", warm_json))
    if cold:
        commands.append((*rescan, "--sizes", "100k", "--cold", "--json", cold_json))
    return commands


def main() -> int:
    """Runs the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--work", type=Path, required=True, metavar="DIR")
    parser.add_argument("--results", type=Path, default=HERE / "results", metavar="DIR")
    parser.add_argument("--ociregistry", metavar="PATH", help="the original, to compare with")
    arguments = parser.parse_args()
    for script, *options in runs(arguments.work, arguments.results, arguments.ociregistry):
        print(f"\n{script} {' '.join(options)}\n", flush=True)
        done = subprocess.run((sys.executable, str(HERE / script), *options), check=False)
        if done.returncode:
            return done.returncode
    return 0


if __name__ == "__main__":
    sys.exit(main())
