"""Runs the real program with faults from outside: calls that fail or take long, or kills.

A small library, `injector.c`, makes the faults. It is compiled once and preloaded. The program
and its interpreter are the real ones and don't know of it. It counts the calls that concern the
cache, in all threads and processes together. So a test can choose any of them by its number.
"""

from __future__ import annotations

import atexit
import errno
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import Literal, NamedTuple

from tests.cli.program import Result, forking, run

CHANGES = ("unlink", "rmdir", "rename", "link", "mkdir", "fsync")
"""The calls that change something on a disk, or make a change durable."""

CALLS = (*CHANGES, "open", "preadv", "read", "readdir", "fstat", "stat", "flock")
"""All calls that can fail, except `CONVENIENCES` and `STARTS`."""

CONVENIENCES = ("noatime", "preadv", "fadvise")
"""Calls that a system may always refuse. The program must work without them.

`noatime` stands for calls of open that ask to leave access times alone.
"""

STARTS = ("thread", "fork")
"""The calls that start a thread or a process; they concern every cache."""

FOREVER = 1 << 30

_SOURCE = Path(__file__).with_name("injector.c")


class Fault(NamedTuple):
    """A fault: what happens, and at which calls.

    Attributes:
        calls: The kinds of calls that are counted, of `CALLS`, `CONVENIENCES` and `STARTS`.
        first: The number of the call at which it happens first, from 1; 0 for never.
        last: The number of the last such call; by default, only the first one fails.
        error: The errno with which the call fails.
        kill: Who gets SIGKILL before the call instead: the calling process, or its group.
    """

    calls: Sequence[str] = CALLS
    first: int = 0
    last: int | None = None
    error: int = 0
    kill: Literal["", "process", "group"] = ""

    def __str__(self) -> str:
        what = f"kill the {self.kill}" if self.kill else errno.errorcode.get(self.error, "nothing")
        calls = "call" if set(self.calls) == set(CALLS) else "/".join(self.calls)
        last = "" if self.last is None else " and on"
        return f"{what} at {calls} {self.first}{last}"


WHERE = ("first", "middle", "last")
"""Which of the calls of a kind `strike` lets fail."""

_TRIES = 5

Fresh = Callable[[], Path]


class Outcome(NamedTuple):
    """How a run with faults ended.

    Attributes:
        result: Exit code and output.
        calls: The calls that were counted, in order: kind, a space, path below the cache.
        struck: Whether the fault happened.
    """

    result: Result
    calls: list[str]
    struck: bool


def run_with(
    fault: Fault,
    *args: str | Path,
    cache: Path,
    prefix: Sequence[str] = (),
    under: Path | None = None,
) -> Outcome:
    """Runs the program on a cache, with a fault.

    Args:
        fault: The fault.
        args: Command and options.
        cache: The cache; only calls that concern it, or anything in it, count.
        prefix: A program, with its arguments, that starts fastprune.
        under: The folder that the calls have to concern instead.
    """
    with tempfile.TemporaryDirectory(prefix="fastprune-faults-") as folder:
        count, log = Path(folder, "count"), Path(folder, "log")
        count.write_bytes(bytes(8))
        log.touch()
        # A group of its own: a kill of the group must not reach the tests.
        alone = () if fault.kill != "group" else ("setsid", "--wait")
        prefixes = [*prefix, *alone]
        # What counts threads and processes sees the program from its start.
        whole = prefixes or set(fault.calls) & set(STARTS)
        result = run(
            *args,
            cache=cache,
            env=_settings(fault, under or cache, count, log),
            prefix=prefixes,
            fork_of=None if whole else forking(str(_injector())),
        )
        calls = log.read_text(encoding="utf-8").splitlines()
    return Outcome(result, calls, 0 < fault.first <= len(calls))


def strike(kind: str, where: str, number: int, *args: str | Path, fresh: Fresh) -> Outcome:
    """Runs the program with one call that fails.

    The calls of an undisturbed run are counted first. They are counted again if the other run makes
    fewer: each compares its cache with those of all servers on the machine, and tests start some.

    Args:
        kind: The kind of the call.
        where: Which of them: a word of `WHERE`.
        number: The errno.
        args: Command and options.
        fresh: Makes the cache as it was at the beginning.
    """
    for _ in range(_TRIES):
        total = len(run_with(Fault((kind,)), *args, cache=fresh()).calls)
        at = {"first": 1, "middle": (total + 1) // 2, "last": total}[where]
        outcome = run_with(Fault((kind,), first=at, error=number), *args, cache=fresh())
        if outcome.struck:
            break
    return outcome


def run_far_away(microseconds: int, *args: str | Path, cache: Path) -> Result:
    """Runs the program on a cache where each open and each stat takes longer.

    Args:
        microseconds: How much longer.
        args: Command and options.
        cache: The cache; only calls that concern it, or anything in it, take longer.
    """
    env = {
        "LD_PRELOAD": str(_injector()),
        "LATENCY_UNDER": os.path.realpath(cache),
        "LATENCY_US": str(microseconds),
    }
    return run(*args, cache=cache, env=env)


def _settings(fault: Fault, under: Path, count: Path, log: Path) -> dict[str, str]:
    return {
        "LD_PRELOAD": str(_injector()),
        "FAULTS_UNDER": os.path.realpath(under),
        "FAULTS_CALLS": f",{','.join(fault.calls)},",
        "FAULTS_FIRST": str(fault.first),
        "FAULTS_LAST": str(fault.first if fault.last is None else fault.last),
        "FAULTS_ERRNO": str(fault.error),
        "FAULTS_KILL": fault.kill,
        "FAULTS_LOG": str(log),
        "FAULTS_COUNT": str(count),
    }


@cache
def _injector() -> Path:
    """Compiles the library, once in a run of the tests."""
    compiler = tool("cc", "gcc libc6-dev")
    folder = tempfile.mkdtemp(prefix="fastprune-injector-")
    atexit.register(shutil.rmtree, folder)
    library = Path(folder, "injector.so")
    flags = ("-O2", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC")
    subprocess.run([compiler, *flags, str(_SOURCE), "-o", str(library), "-ldl"], check=True)
    return library


def tool(name: str, packages: str) -> str:
    """The path of a program that the tests need. If it is missing, says what to install."""
    path = shutil.which(name)
    assert path, f"these tests need {name}: run 'make tools', or install {packages}"
    return path


def kinds(calls: Iterable[str]) -> list[str]:
    """The kinds of some calls."""
    return [call.partition(" ")[0] for call in calls]
