"""Measures commands in fresh processes: time, processor time, peak memory; describes the machine.

Every benchmark uses this file, so that all figures mean the same:

* Time is the wall time from starting the process to its end; processor time is user and system
  time of the process and of every child it waited for.
* Commands that are compared run in turn, round after round. A ratio is the median of the ratios
  within each round: a slow minute of a noisy machine changes it far less than a ratio of medians.
* Memory is sampled in a separate run, so that sampling never disturbs the time.
"""

from __future__ import annotations

import dataclasses
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from memory import TreeMemory, shared_files, tree_memory

DROP_CACHES = Path("/proc/sys/vm/drop_caches")
SAMPLE_SECONDS = 0.02
NO_BYTECODE = "PYTHONDONTWRITEBYTECODE"
PACKAGES = ("fastprune", "numpy", "orjson", "google-re2", "anyio", "uvloop", "typer", "aiofiles")


class MeasureError(Exception):
    """A command failed, or gave a wrong answer."""


@dataclasses.dataclass(frozen=True, slots=True)
class Command:
    """A command line to measure.

    Attributes:
        name: Its name in the tables.
        argv: Program and arguments.
        codes: Exit codes that count as success.
    """

    name: str
    argv: tuple[str, ...]
    codes: tuple[int, ...] = (0,)


@dataclasses.dataclass(frozen=True, slots=True)
class Run:
    """One run of a command."""

    seconds: float
    user: float
    system: float


@dataclasses.dataclass(frozen=True, slots=True)
class Series:
    """All runs of one command, in the order of the rounds."""

    command: Command
    runs: tuple[Run, ...]

    @property
    def seconds(self) -> float:
        """Median wall time."""
        return statistics.median(run.seconds for run in self.runs)

    @property
    def processor(self) -> float:
        """Median processor time, user and system."""
        return statistics.median(run.user + run.system for run in self.runs)

    def ratio_to(self, other: Series) -> float:
        """Median of the ratios of this command's time to another's in the same round."""
        pairs = zip(self.runs, other.runs, strict=True)
        return statistics.median(mine.seconds / its.seconds for mine, its in pairs)

    def as_json(self) -> dict[str, Any]:
        """The values for the results file: every run, not rounded."""
        return {
            "command": [_last_name(argument) for argument in self.command.argv],
            "seconds": self.seconds,
            "processor_seconds": self.processor,
            "runs": [dataclasses.asdict(run) for run in self.runs],
        }


def _last_name(argument: str) -> str:
    """A program or a folder without its path, which is different on other machines."""
    return Path(argument).name if os.path.isabs(argument) else argument


def exit_code_of(program: str, work: Callable[[], None]) -> int:
    """Runs a benchmark and returns its exit code; a `MeasureError` becomes a message."""
    try:
        work()
    except MeasureError as error:
        print(f"{program}: {error}", file=sys.stderr)
        return 1
    return 0


def environment() -> dict[str, str]:
    """The environment of measured programs: Python may keep its compiled modules.

    Without that, every start would compile the program anew, and that time would be measured.
    No scan is remembered, unless a benchmark gives --state-dir: each run reads everything.
    """
    kept = {name: value for name, value in os.environ.items() if name != NO_BYTECODE}
    return kept | {"FASTPRUNE_STATE_DIR": ""}


def run(command: Command, output: Path | None = None) -> Run:
    """Runs a command once.

    Args:
        command: What to run.
        output: File for its standard output; without one a temporary file takes it, since some
            programs do less when they see that they write to `/dev/null`.

    Returns:
        Its times.

    Raises:
        MeasureError: The exit code says that it failed.
    """
    with tempfile.TemporaryFile() as errors, tempfile.TemporaryFile() as scratch:
        with output.open("wb") if output else scratch as stream:
            start = time.perf_counter()
            process = subprocess.Popen(
                command.argv,
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=errors,
                env=environment(),
            )
            _, status, usage = os.wait4(process.pid, 0)
            seconds = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode not in command.codes:
            errors.seek(0)
            message = errors.read().decode(errors="replace").strip()
            line = " ".join(command.argv)
            raise MeasureError(f"exit code {process.returncode} from: {line}\n{message}")
    return Run(seconds, usage.ru_utime, usage.ru_stime)


def read_output(command: Command) -> bytes:
    """Runs a command once, untimed, and returns its standard output."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "output"
        run(command, path)
        return path.read_bytes()


def drop_caches() -> None:
    """Empties the page cache and the caches of names and inodes."""
    os.sync()
    DROP_CACHES.write_text("3")


def can_drop_caches() -> bool:
    """Whether cold runs are possible here."""
    return os.access(DROP_CACHES, os.W_OK)


def compare(commands: Sequence[Command], rounds: int, *, cold: bool = False) -> list[Series]:
    """Runs some commands in turn, round after round.

    Args:
        commands: What to compare; the order changes from round to round.
        rounds: How often each runs.
        cold: Empty the caches before every run; otherwise each has one untimed run first.
    """
    runs: list[list[Run]] = [[] for _ in commands]
    if not cold:
        for command in commands:
            run(command)
    for number in range(rounds):
        for step in range(len(commands)):
            position = (number + step) % len(commands)
            if cold:
                drop_caches()
            runs[position].append(run(commands[position]))
    return [Series(command, tuple(done)) for command, done in zip(commands, runs, strict=True)]


def peak(command: Command) -> TreeMemory:
    """Runs a command once under sampling and returns the peak of its memory."""
    before = shared_files().keys()
    with tempfile.TemporaryFile() as scratch:
        process = subprocess.Popen(
            command.argv,
            stdin=subprocess.DEVNULL,
            stdout=scratch,
            stderr=subprocess.DEVNULL,
            env=environment(),
        )
        highest = TreeMemory(0, 0)
        while process.poll() is None:
            sample = tree_memory(process.pid, before)
            highest = max(highest, sample, key=lambda memory: memory.total)
            time.sleep(SAMPLE_SECONDS)
    if process.returncode not in command.codes:
        raise MeasureError(f"exit code {process.returncode} from: {' '.join(command.argv)}")
    return highest


def fastprune_argv(program: str | None) -> tuple[str, ...]:
    """How to start fastprune: as given, else the script beside this Python, else as a module."""
    if program:
        return (program,)
    script = Path(sys.executable).with_name("fastprune")
    return (str(script),) if script.exists() else (sys.executable, "-m", "fastprune")


def describe_machine(*folders: Path) -> dict[str, Any]:
    """The machine of the figures: processor, kernel, file systems, versions."""
    versions = {}
    for name in PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return {
        "processor": _processor_model(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_mb": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 1_000_000,
        "kernel": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "packages": versions,
        "file_systems": {folder.name: describe_file_system(folder) for folder in folders},
        "time": time.strftime("%Y-%m-%dT%H:%M:%S"),
    }


def _processor_model() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "model name":
            return value.strip()
    return platform.machine()


def describe_file_system(folder: Path) -> str:
    """Type and mount options of the file system that a folder is on."""
    device = folder.stat().st_dev
    number = f"{os.major(device)}:{os.minor(device)}"
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        mount, _, rest = line.partition(" - ")
        if mount.split()[2] == number:
            return f"{rest.split()[0]} ({mount.split()[5]}; {rest.split()[2]})"
    return "unknown"


def tool_version(program: str, argument: str = "--version") -> str:
    """The first line of `program --version`."""
    done = subprocess.run([program, argument], capture_output=True, text=True, check=False)
    return (done.stdout or done.stderr).partition("\n")[0].strip()


def find_tool(name: str) -> str | None:
    """The path of an installed program, if there is one."""
    return shutil.which(name)


def table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A plain text table: the first column to the left, the others to the right."""
    lines = [list(headings), *[list(row) for row in rows]]
    widths = [max(len(line[column]) for line in lines) for column in range(len(headings))]
    texts = []
    for line in lines:
        first, *others = [text.rjust(width) for text, width in zip(line, widths, strict=True)]
        texts.append("  ".join([line[0].ljust(len(first)), *others]).rstrip())
    texts.insert(1, "-" * max(map(len, texts)))
    return "\n".join(texts)


def show_machine(machine: Mapping[str, Any]) -> str:
    """The description of the machine as text."""
    packages = ", ".join(f"{name} {version}" for name, version in machine["packages"].items())
    lines = [
        f"{machine['processor']}, {machine['cores']} cores, {machine['memory_mb']} MB",
        f"{machine['kernel']}, Python {machine['python']}, {packages}",
    ]
    lines += [f"{folder}: {system}" for folder, system in machine["file_systems"].items()]
    return "\n".join(lines)


def save_json(path: Path, results: Mapping[str, Any]) -> None:
    """Writes a results file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(results, indent=2) + "\n")
