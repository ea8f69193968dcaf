"""Pieces of work for workers, which import them by name."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from fastprune.errors import FastpruneError


class Counted(NamedTuple):
    """A piece that notes each of its runs.

    Attributes:
        number: What it yields.
        folder: A folder where it makes a file for each run.
        seconds: How long it takes.
    """

    number: int
    folder: str
    seconds: float = 0


def count(piece: Counted) -> Iterator[int]:
    """Notes that it runs, and yields its number."""
    (Path(piece.folder) / f"{piece.number}-{os.getpid()}-{time.monotonic_ns()}").touch()
    time.sleep(piece.seconds)
    yield piece.number


def runs(folder: Path) -> list[int]:
    """The numbers of all pieces that began to run, once for each time."""
    return [int(name.partition("-")[0]) for name in os.listdir(folder)]


def squares_up_to(number: int) -> Iterator[int]:
    """Yields a number of results."""
    yield from (one * one for one in range(number))


def enlarged(size: int) -> Iterator[bytes]:
    """Yields a large result."""
    yield bytes(size)


def process_id(seconds: float) -> Iterator[int]:
    """Yields which process it runs in."""
    time.sleep(seconds)
    yield os.getpid()


def fail_at_three(number: int) -> Iterator[int]:
    """Yields, and then fails with an error of ours."""
    yield number
    if number == 3:
        raise FastpruneError("three is too many")


def fail_with_what_can_t_be_sent(number: int) -> Iterator[int]:
    """Fails with an error that can't be pickled."""
    yield number
    raise ValueError(lambda: None)


def yield_what_can_t_be_sent(_: object) -> Iterator[object]:
    """Yields something that can't be pickled."""
    yield lambda: None


def run_out_of_memory(_: object) -> Iterator[int]:
    """Fails as Python does if memory runs out."""
    raise MemoryError
    yield 0


def end_the_worker(_: object) -> Iterator[int]:
    """Ends its process, as the kernel does when memory is short."""
    os._exit(9)
    yield 0


def wait_for(marker: str) -> Iterator[str]:
    """Runs until there is a file."""
    while not Path(marker).exists():
        time.sleep(0.005)
    yield marker


def wait_unless_short(marker: str) -> Iterator[str]:
    """Runs until there is a file, or if none is named, for a moment."""
    if marker:
        yield from wait_for(marker)
    else:
        time.sleep(0.05)
        yield ""
