"""Measures scans of a cache that was scanned before, against scans that read everything.

Usage: ``python benchmarks/bench_rescan.py [--sizes 10k,100k] [--cache DIR] [--runs 5] [--cold]``

The cache is changed step by step. After each step a dry run with memory, which begins with what a
scan before the step has left, runs in turn with one without memory, with ripgrep and with
`floor.py`. Every run must give the answer of the one without memory. At the end the cache is put
back as it was. Nothing else may use it meanwhile.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import shutil
import sys
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from bench_plan import (
    BASES,
    COMPARED_PATTERN,
    Cache,
    Tools,
    add_cache_options,
    add_run_options,
    base_commands,
    begin_results,
    caches_of,
    check_answers,
    check_cold,
    measure_cache,
    show_ratio,
)
from changes import Changes, every
from fastprune.executors.processes import ProcessExecutor, available_jobs
from fastprune.progress import NoProgress
from fastprune.reading.identities import RACY_NANOSECONDS
from fastprune.scanning.memory import StateFolder
from fastprune.scanning.scanner import ScanOptions, scan_cache
from measure import (
    Command,
    MeasureError,
    exit_code_of,
    fastprune_argv,
    read_output,
    save_json,
    table,
)

FULL = "full scan"
FIRST = "first scan"
UNCHANGED = "unchanged"
REWRITTEN = "1 % rewritten"
NEW_AND_REMOVED = "1 % new, 1 % removed"
ALL_CHANGES = "1 % rewritten, 1 % new, 1 % removed"
PRUNED = "after a prune"
PRUNED_PATTERN = "tag"
ONE_PERCENT = 100  # one manifest in so many
LISTS_PER_CHILD = 2  # at most, on average
VARYING = (b"Time: ", b"Estimated time ")  # lines of a dry run that differ from run to run


@dataclass(frozen=True, slots=True)
class Case:
    """A dry run with memory.

    Attributes:
        name: What happened to the cache since it was scanned.
        state: The folder with what that scan left; None if there was no scan.
        changed: How many manifests are not as that scan saw them. They have to be read.
        new: How many of these were not there. A list that names one of them is read again.
    """

    name: str
    state: Path | None
    changed: int
    new: int = 0

    def check_read(self, count: int) -> None:
        """Makes sure that about as many were read as have to be.

        Raises:
            MeasureError: What was remembered was not believed, or something else was not read.
        """
        if not self.changed <= count <= self.changed + LISTS_PER_CHILD * self.new:
            raise MeasureError(f"{self.name}: {count} manifests were read; {self.changed} changed")


class CountRemembered(NoProgress):
    """Counts the manifests that a scan did not have to read."""

    def __init__(self) -> None:
        """Counts from zero."""
        self.count = 0

    def remembered(self, count: int) -> None:
        """See `Progress.remembered`."""
        self.count += count


def answer(output: bytes) -> bytes:
    """What a dry run or a list says, without its times."""
    lines = output.splitlines(keepends=True)
    return b"".join(line for line in lines if not line.startswith(VARYING))


def check_same(name: str, expected: bytes, output: bytes) -> None:
    """Compares the output of a run with that of a full scan.

    Raises:
        MeasureError: It says something else.
    """
    if answer(output) != expected:
        raise MeasureError(f"{name}: the output is not that of a full scan")


def wait_until_believed(change: str) -> None:
    """Waits until a scan believes that files changed no more after it looked at them."""
    seconds = RACY_NANOSECONDS / 1e9 + 0.1
    print(f"{change}; waiting {seconds} s, since later changes could not be told", file=sys.stderr)
    time.sleep(seconds)


class Rescans:
    """The cases on one cache."""

    def __init__(self, cache: Cache, tools: Tools, rounds: int, *, cold: bool) -> None:
        """Makes a folder for what scans leave, beside the cache."""
        self._cache, self._tools, self._rounds, self._cold = cache, tools, rounds, cold
        self._states = cache.root.with_name(f"{cache.root.name}.state")
        self._current = self._states / "current"
        # When each file of a state was used last, which decides whether it is written anew.
        self._used: dict[Path, int] = {}

    def measure(self) -> dict[str, Any]:
        """Measures all cases: the results of the commands for each step."""
        changes = Changes(self._cache.root)
        shutil.rmtree(self._states, ignore_errors=True)
        try:
            check_answers(self._cache, self._tools)
            return self._measure_steps(changes)
        finally:
            changes.put_back()
            shutil.rmtree(self._states, ignore_errors=True)
            changes.check_put_back()

    def _measure_steps(self, changes: Changes) -> dict[str, Any]:
        quarter = ONE_PERCENT // 4
        rewritten, new, rewritten_later, removed = (
            every(self._cache.root, ONE_PERCENT, first * quarter) for first in range(4)
        )
        wait_until_believed("the cache is as it was generated")
        state = self._remember("generated")
        cases = (Case(FIRST, None, self._cache.manifests), Case(UNCHANGED, state, 0))
        results = {UNCHANGED: self._compare(*cases)}

        count = changes.pull_again(rewritten)
        wait_until_believed(f"{count} manifests were rewritten")
        results[REWRITTEN] = self._compare(Case(REWRITTEN, state, count))

        changes.take_out(new)
        wait_until_believed(f"{len(new)} manifests were taken out")
        earlier = self._remember("before later rewriting")
        count = changes.pull_again(rewritten_later)
        wait_until_believed(f"{count} other manifests were rewritten")
        later = self._remember("after later rewriting")
        changes.put_in(new)
        changes.take_out(removed)
        wait_until_believed(f"{len(new)} are new, and {len(removed)} were removed")
        cases = (
            Case(NEW_AND_REMOVED, later, len(new), new=len(new)),
            Case(ALL_CHANGES, earlier, len(new) + count, new=len(new)),
        )
        results[NEW_AND_REMOVED] = self._compare(*cases)

        changes.put_in(removed)
        wait_until_believed(f"{len(removed)} were put back")
        state, gone = self._prune(changes)
        wait_until_believed(f"{gone} manifests were pruned")
        results[PRUNED] = self._compare(Case(PRUNED, state, 0))
        return results

    def _command(self, name: str, argv: tuple[str, ...], state: Path | None = None) -> Command:
        """A command with memory, which begins with a copy of a state; None for an empty folder."""
        prepare = partial(self._begin_with, state)
        return Command(name, argv, state=str(self._current), prepare=prepare)

    def _begin_with(self, state: Path | None) -> None:
        shutil.rmtree(self._current, ignore_errors=True)
        self._current.mkdir(mode=0o700, parents=True)
        for file in state.iterdir() if state else ():
            # fastprune replaces its file and never writes to it, so another name is a copy. But it
            # notes there that it was used.
            os.utime(file, ns=(self._used[file], self._used[file]))
            os.link(file, self._current / file.name)
        # Else the disk is still busy with what an earlier run wrote.
        os.sync()

    def _remember(self, name: str) -> Path:
        argv = self._tools.prune(self._cache, COMPARED_PATTERN)
        return self._keep(name, self._command(name, argv))

    def _keep(self, name: str, command: Command) -> Path:
        """Runs a command, and keeps what it remembers."""
        read_output(command)
        if not list(self._current.iterdir()):
            raise MeasureError(
                f"{self._cache.root}: nothing is remembered; --log-level debug says why"
            )
        state = self._states / name
        os.rename(self._current, state)
        self._used |= {file: file.stat().st_mtime_ns for file in state.iterdir()}
        return state

    def _prune(self, changes: Changes) -> tuple[Path, int]:
        """Prunes the cache; what that leaves, and how many manifests went."""
        argv = self._tools.items(self._cache, PRUNED_PATTERN)
        report = json.loads(read_output(Command("dry run", (*argv, "--format", "json"))))
        manifests = [item["path"] for item in report["manifests"]]
        blobs = [f"blobs/{item['digest'].removeprefix('sha256:')}" for item in report["blobs"]]
        changes.copy_aside((*manifests, *blobs))
        real = (*(word for word in argv if word != "--dry-run"), "--yes", "--summary")
        state = self._keep("pruned", self._command("prune", real))
        if any((self._cache.root / path).exists() for path in (*manifests, *blobs)):
            raise MeasureError(f"{self._cache.root}: the prune left files that should go")
        return state, len(manifests)

    def _compare(self, *cases: Case) -> dict[str, Any]:
        """Checks and measures dry runs with memory against one without."""
        manifests = self._check_answers(cases)
        read = {case.name: manifests - self._remembered(case) for case in cases}
        for case in cases:
            case.check_read(read[case.name])
        dry_run = self._tools.prune(self._cache, COMPARED_PATTERN)
        expected = answer(read_output(Command(FULL, dry_run)))

        def checked(command: Command) -> Command:
            return dataclasses.replace(command, check=partial(check_same, command.name, expected))

        without = (*base_commands(self._cache, self._tools), checked(Command(FULL, dry_run)))
        commands = [
            *(dataclasses.replace(command, prepare=os.sync) for command in without),
            *(checked(self._command(case.name, dry_run, case.state)) for case in cases),
        ]
        content = {**self._cache.description, "manifests": manifests}
        results = measure_cache(
            Cache(self._cache.root, content),
            commands,
            self._rounds,
            cold=self._cold,
            bases={**BASES, "ratio_to_full": FULL},
        )
        for name, count in read.items():
            results[name]["read"] = count
        return results

    def _check_answers(self, cases: tuple[Case, ...]) -> int:
        """Compares all that can be listed with what a full scan lists.

        Returns:
            How many manifests there are.
        """
        items = self._tools.items(self._cache, PRUNED_PATTERN)
        listing = self._tools.listing(self._cache)
        for argv in (items, listing):
            expected = answer(read_output(Command(FULL, argv)))
            for case in cases:
                command = self._command(case.name, argv, case.state)
                check_same(case.name, expected, read_output(command))
        return expected.count(b"\n")

    def _remembered(self, case: Case) -> int:
        """How many manifests a scan takes from memory."""
        self._begin_with(case.state)
        executor, progress = ProcessExecutor(available_jobs()), CountRemembered()
        options = ScanOptions(state=StateFolder(str(self._current)))
        try:
            scan_cache(str(self._cache.root), lambda _: executor, options, progress=progress)
        finally:
            executor.close()
        return progress.count


def show_cache(cache: Cache, steps: dict[str, Any]) -> str:
    """The table of one cache."""
    rows = []
    for step in steps.values():
        for name, result in step.items():
            main = result["main_seconds"]
            rows.append(
                (
                    name,
                    f"{result['read']:,}" if "read" in result else "",
                    f"{result['seconds']:.3f}",
                    f"{main:.2f}",
                    f"{result['processor_seconds'] - main:.2f}",
                    f"{result['peak_bytes'] / 1e6:.0f}",
                    show_ratio(result["ratio_to_full"]),
                    show_ratio(result.get("ratio_to_ripgrep")),
                    show_ratio(result["ratio_to_floor"]),
                )
            )
    headings = (
        "command", "read", "seconds", "main cpu s", "workers cpu s", "peak MB", "/ full",
        "/ ripgrep", "/ floor",
    )  # fmt: skip
    return f"{cache.root}: {cache.manifests:,} manifests\n\n{table(headings, rows)}\n"


def parse_arguments() -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    add_cache_options(parser)
    add_run_options(parser)
    return parser.parse_args()


def run_benchmark(arguments: argparse.Namespace) -> None:
    """Prepares the caches, measures and reports."""
    check_cold(arguments)
    tools = Tools(fastprune_argv(None), arguments.rg)
    caches = caches_of(arguments)
    results = begin_results(arguments, tools, caches)
    for cache in caches:
        steps = Rescans(cache, tools, arguments.runs, cold=arguments.cold).measure()
        results["caches"][cache.root.name] = {"content": cache.description, "steps": steps}
        print(show_cache(cache, steps), flush=True)
    if arguments.json:
        save_json(arguments.json, results)


if __name__ == "__main__":
    sys.exit(exit_code_of("bench_rescan", lambda: run_benchmark(parse_arguments())))
