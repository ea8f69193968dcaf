"""Opens, reads and parses every manifest of a cache, and does nothing else: the floor of a scan.

Usage: ``python benchmarks/floor.py DIR [--jobs N]``

A program in Python that parses each manifest with orjson can't do less: list the names, fork a
process per processor, open, read into one buffer, close, `orjson.loads`. It checks, keeps and sends
nothing. `bench_plan.py` runs it in turn with fastprune and ripgrep.
"""

from __future__ import annotations

import argparse
import gc
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import orjson

FOLDERS = ("img", "lts")
BUFFER_BYTES = 1 << 20
FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC


def read_and_parse(folder: int, names: Sequence[str]) -> None:
    """Reads and parses some files of an open folder, with the fewest calls."""
    buffer = memoryview(bytearray(BUFFER_BYTES))
    buffers = [buffer]
    for name in names:
        descriptor = os.open(name, FLAGS, dir_fd=folder)
        size = os.preadv(descriptor, buffers, 0)
        os.close(descriptor)
        orjson.loads(buffer[:size])


def read_share(root: Path, listings: Sequence[Sequence[str]], share: int, shares: int) -> None:
    """Reads every `shares`-th file, beginning with number `share`."""
    for name, names in zip(FOLDERS, listings, strict=True):
        folder = os.open(root / name, os.O_RDONLY | os.O_DIRECTORY)
        read_and_parse(folder, names[share::shares])
        os.close(folder)


def main() -> int:
    """Runs the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("cache", type=Path, metavar="DIR")
    parser.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)), metavar="N")
    arguments = parser.parse_args()
    gc.disable()
    listings = [os.listdir(arguments.cache / name) for name in FOLDERS]
    children = []
    for share in range(arguments.jobs):
        pid = os.fork()
        if not pid:
            try:
                read_share(arguments.cache, listings, share, arguments.jobs)
            except BaseException as error:
                print(f"floor: {error}", file=sys.stderr)
                os._exit(1)
            os._exit(0)
        children.append(pid)
    statuses = [os.waitpid(pid, 0)[1] for pid in children]
    print(sum(map(len, listings)))
    return int(any(statuses))


if __name__ == "__main__":
    sys.exit(main())
