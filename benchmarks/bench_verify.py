"""Measures `verify --content`: against sha256sum, by the order of files, and where it was stopped.

Usage: ``python benchmarks/bench_verify.py [--size 4] [--runs 5] [--work DIR] [--json FILE]``

Blobs with real content are written from a seed, from 1 KiB to 1 GiB, and removed at the end. Three
of them are damaged. Each program must find these, and no other. Cold means that the kernel has
dropped the pages of the blobs (posix_fadvise), so nothing else on the machine is disturbed.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from measure import (
    STATE_DIR,
    Command,
    MeasureError,
    Series,
    compare,
    describe_machine,
    environment,
    exit_code_of,
    fastprune_argv,
    save_json,
    show_machine,
    table,
    tool_version,
)

GIB = 1 << 30
CLASSES = ((GIB, 0.25), (256 << 20, 0.25), (32 << 20, 0.25), (4 << 20, 0.15), (64 << 10, 0.1))
"""The size of the largest blobs of a class, and which part of all bytes the class has."""

DAMAGED = 3
BUFFER = 1 << 22
RACY_SECONDS = 3
JOBS = 2
FASTPRUNE = "verify --content"
LISTED = "the same, in the order of the names"
SHA256SUM = f"sha256sum, xargs -P{JOBS}"
HALF = "--content-since last, half is done"
NOTHING_LEFT = "--content-since last, nothing is left"

# What it was before: files by name, whatever their size.
BY_NAME = (
    "from fastprune.verification import blob_reading;"
    "blob_reading.largest_first = lambda blobs, sizes: blobs;"
    "from fastprune.cli.main import main; main()"
)


def sizes_of(total: int, seed: int) -> Iterator[int]:
    """Sizes of blobs, about so many bytes together."""
    chance = np.random.default_rng(seed)
    for largest, share in CLASSES:
        left = total * share
        while left > 0:
            size = int(largest * chance.uniform(0.25, 1)) if largest < GIB else GIB
            size = max(1024, min(size, int(left) + 1024))
            yield size
            left -= size


def write_blob(folder: Path, size: int, chance: np.random.Generator) -> Path:
    """Writes a blob of random bytes under its digest."""
    digest, new = hashlib.sha256(), folder.parent / "new"
    with new.open("wb") as file:
        for first in range(0, size, BUFFER):
            some = chance.bytes(min(BUFFER, size - first))
            digest.update(some)
            file.write(some)
    return new.rename(folder / digest.hexdigest())


def write_cache(root: Path, total: int, seed: int) -> list[Path]:
    """Writes blobs, of which some are damaged; gives these."""
    for folder in ("img", "lts", "blobs"):
        (root / folder).mkdir(parents=True)
    chance = np.random.default_rng(seed)
    paths = [write_blob(root / "blobs", size, chance) for size in sizes_of(total, seed)]
    damaged = [paths[0], paths[len(paths) // 3], paths[-1]]
    for path in damaged:
        with path.open("r+b") as file:
            file.seek(path.stat().st_size // 2)
            byte = file.read(1)
            file.seek(-1, os.SEEK_CUR)
            file.write(bytes([byte[0] ^ 1]))
    os.sync()
    # What changed right before it is read would not be remembered.
    time.sleep(RACY_SECONDS)
    return damaged


def evict(folder: Path) -> None:
    """Lets the kernel drop the pages of all blobs."""
    for entry in os.scandir(folder):
        descriptor = os.open(entry.path, os.O_RDONLY)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(descriptor)


def check_found(output: bytes, *, damaged: list[Path], blobs: Callable[[int], bool]) -> None:
    """Makes sure that the damaged blobs were found, and no other; and how many were read."""
    found = json.loads(output)
    names = {one["digest"].removeprefix("sha256:") for one in found["altered"]}
    if names != {path.name for path in damaged} or found["totals"]["missing_blobs"]:
        raise MeasureError(f"verify found {len(names)} altered blobs, and not those that are")
    if not blobs(found["content"]["blobs"]):
        raise MeasureError(f"verify read {found['content']['blobs']} blobs")


def check_sums(output: bytes, *, damaged: list[Path], count: int) -> None:
    """The same for the output of sha256sum."""
    lines = output.decode().splitlines()
    odd = {line[66:].rpartition("/")[2] for line in lines if line[:64] != line[-64:]}
    if len(lines) != count or odd != {path.name for path in damaged}:
        raise MeasureError(f"sha256sum gives {len(lines)} lines, and {len(odd)} other digests")


class Bench:
    """A cache, and the programs that read it."""

    def __init__(self, work: Path, total: int, seed: int, program: str | None) -> None:
        """Writes the cache."""
        self.root, self.state, self.kept = work / "cache", work / "state", work / "kept"
        self._program = program
        self.damaged = write_cache(self.root, total, seed)
        self.blobs = list((self.root / "blobs").iterdir())
        self.bytes = sum(path.stat().st_size for path in self.blobs)

    def argv(self, *options: str, program: tuple[str, ...] | None = None) -> tuple[str, ...]:
        """A command line of `verify --content`."""
        start = program or fastprune_argv(self._program)
        where = ("--image-path", str(self.root), "--jobs", str(JOBS))
        return (*start, "verify", "--content", "--format", "json", *options, *where)

    def remember(self, name: str, *options: str) -> Path:
        """Runs it once with a folder for state, and keeps what it leaves there."""
        shutil.rmtree(self.state, ignore_errors=True)
        argv = self.argv("--summary", *options)
        command = Command(name, argv, state=str(self.state))
        done = subprocess.run(
            argv, env=environment(command), stdout=subprocess.DEVNULL, check=False
        )
        if done.returncode not in (0, 3):
            raise MeasureError(f"verify ended with exit code {done.returncode}")
        return Path(shutil.copytree(self.state, self.kept / name))

    def commands(self, *, cold: bool) -> list[Command]:
        """What is compared."""
        count = len(self.blobs)
        half = self.remember(f"half-{cold}", "--sample", "50%", "--seed", "1")
        whole = self.remember(f"whole-{cold}")

        def before(kept: Path | None = None) -> None:
            if kept is not None:
                shutil.rmtree(self.state, ignore_errors=True)
                shutil.copytree(kept, self.state)
            if cold:
                evict(self.root / "blobs")

        def check(right: Callable[[int], bool]) -> Callable[[bytes], None]:
            return partial(check_found, damaged=self.damaged, blobs=right)

        every = check(lambda read: read == count)
        by_name = self.argv(program=(sys.executable, "-c", BY_NAME))
        sums = f"find {self.root}/blobs -type f -print0 | xargs -0 -n 16 -P {JOBS} sha256sum"
        check_lines = partial(check_sums, damaged=self.damaged, count=count)
        last = self.argv("--content-since", "last")
        state = str(self.state)
        left = check(lambda read: 0 < read <= (count + 1) // 2 + DAMAGED)
        known = check(lambda read: read == DAMAGED)
        codes = (3,)
        return [
            Command(SHA256SUM, ("sh", "-c", sums), prepare=before, check=check_lines),
            Command(FASTPRUNE, self.argv(), codes, prepare=before, check=every),
            Command(LISTED, by_name, codes, prepare=before, check=every),
            Command(HALF, last, codes, state, partial(before, half), left),
            Command(NOTHING_LEFT, last, codes, state, partial(before, whole), known),
        ]


def show(series: list[Series], size: int) -> None:
    """Prints a table."""
    base = series[0]
    rows = [
        (
            one.command.name,
            f"{one.seconds:.2f}",
            f"{one.processor:.2f}",
            f"{one.ratio_to(base):.2f}",
            f"{size / one.seconds / 1e9:.2f}",
        )
        for one in series
    ]
    print(table(("", "s", "processor s", "of sha256sum", "GB of the cache per s"), rows), "\n")


def measure(arguments: argparse.Namespace) -> None:
    """Runs the benchmark."""
    work = arguments.work / f"bench-verify-{os.getpid()}"
    work.mkdir(parents=True, mode=0o700)
    os.environ.pop(STATE_DIR, None)
    try:
        total = int(arguments.size * 1e9)
        bench = Bench(work, total, arguments.seed, arguments.fastprune)
        machine = describe_machine(work)
        machine["tools"] = {"sha256sum": tool_version("sha256sum")}
        machine["note"] = arguments.note
        print(show_machine(machine))
        print(f"{len(bench.blobs):,} blobs, {bench.bytes / 1e9:.2f} GB, {DAMAGED} damaged\n")
        results: dict[str, Any] = {
            "machine": machine,
            "blobs": len(bench.blobs),
            "bytes": bench.bytes,
            "runs": arguments.runs,
        }
        for name, cold in (("warm", False), ("cold", True)):
            print(name, flush=True)
            series = compare(bench.commands(cold=cold), arguments.runs)
            show(series, bench.bytes)
            results[name] = {
                one.command.name: one.as_json() | {"ratio_to_sha256sum": one.ratio_to(series[0])}
                for one in series
            }
        if arguments.json:
            save_json(arguments.json, results)
    finally:
        shutil.rmtree(work)


def main() -> int:
    """Runs the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--size", type=float, default=4, metavar="GB", help="of all blobs (4)")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--work", type=Path, default=Path("/var/tmp"), metavar="DIR")
    parser.add_argument("--fastprune", metavar="PROGRAM", help="instead of that beside Python")
    parser.add_argument("--note", default="", help="what else is worth knowing of the machine")
    parser.add_argument("--json", type=Path, metavar="FILE", help="save the results")
    return exit_code_of("bench_verify", partial(measure, parser.parse_args()))


if __name__ == "__main__":
    sys.exit(main())
