"""Runs the real program in a fresh process: through pipes, or on a pseudo terminal."""

from __future__ import annotations

import os
import pty
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache as once
from pathlib import Path
from typing import IO, NamedTuple

import pytest
from tests.cli.forking import Forking
from tests.support.remembering import STATE_VARIABLE

import fastprune

PROGRAM = (sys.executable, "-m", "fastprune")
TIMEOUT = 60
WIDTH = 100

_SOURCES = Path(fastprune.__file__).resolve().parent.parent


class Result(NamedTuple):
    """What became of a run.

    Attributes:
        code: Exit status; negative for a signal.
        out: What it wrote to stdout, with nothing translated.
        err: The same for stderr.
    """

    code: int
    out: str
    err: str


def command(*args: str | Path, cache: Path | None = None) -> list[str]:
    """The command line of a run.

    Args:
        args: Command and options.
        cache: What `--image-path` says, before the command.
    """
    path = [] if cache is None else ["--image-path", str(cache)]
    return [*PROGRAM, *path, *map(str, args)]


def environment(more: Mapping[str, str] | None = None) -> dict[str, str]:
    """An environment in which equal runs print equal lines, on every machine."""
    # Compiled once, not in every run.
    inherited = {
        name: value
        for name, value in os.environ.items()
        if name != "PYTHONDONTWRITEBYTECODE" and not name.startswith("FASTPRUNE_")
    }
    fixed = {
        "COLUMNS": str(WIDTH),
        "LC_ALL": "C.UTF-8",
        "PYTHONPATH": str(_SOURCES),
        "TERM": "xterm-256color",
        "TZ": "UTC",
        # No settings of the user who runs the tests.
        "XDG_CONFIG_HOME": os.devnull,
        STATE_VARIABLE: os.environ.get(STATE_VARIABLE, ""),
    }
    return inherited | fixed | dict(more or {})


@once
def forking(preload: str = "") -> Forking:
    """A process that forks for runs in the usual environment.

    Args:
        preload: The path of a library that it, and so each run, has preloaded.
    """
    return Forking(environment({"LD_PRELOAD": preload} if preload else None))


def run(
    *args: str | Path,
    cache: Path | None = None,
    env: Mapping[str, str] | None = None,
    stdin: str | None = None,
    cwd: Path | None = None,
    prefix: Sequence[str] = (),
    fork_of: Forking | None = None,
) -> Result:
    """Runs the program to its end, away from any terminal.

    With nothing but arguments, it is forked from a process that has its modules loaded, where
    that is safe: on Linux.

    Args:
        args: Command and options.
        cache: What `--image-path` says, before the command.
        env: Environment variables besides the usual ones.
        stdin: What it may read; by default nothing.
        cwd: Working directory.
        prefix: A program, with its arguments, that starts fastprune.
        fork_of: The process that forks for this run.
    """
    words = command(*args, cache=cache)
    plain = env is None and stdin is None and cwd is None and not prefix
    if fork_of is None and plain and sys.platform == "linux":
        fork_of = forking()
    if fork_of is not None:
        done = fork_of.run(words[len(PROGRAM) :], environment(env), TIMEOUT)
    else:
        done = subprocess.run(
            [*prefix, *words],
            input=(stdin or "").encode(),
            capture_output=True,
            env=environment(env),
            cwd=cwd,
            timeout=TIMEOUT,
            check=False,
        )
    return Result(done.returncode, done.stdout.decode(), done.stderr.decode())


def through_shell(script: str, *args: str | Path, cache: Path | None = None) -> Result:
    """Runs a shell script in which `"$@"` is the program with these arguments."""
    return run(*args, cache=cache, prefix=["sh", "-c", script, "sh"])


def without_privileges() -> list[str]:
    """A prefix that starts a program without privileges, so that file permissions apply to it.

    Root loses its capabilities. If that can't be done, the test is skipped.
    """
    if os.geteuid() != 0:
        return []
    if shutil.which("setpriv") is None:
        pytest.skip("root without setpriv may do everything")
    return ["setpriv", "--bounding-set=-all", "--inh-caps=-all", "--"]


def start(
    *args: str | Path,
    cache: Path | None = None,
    stdout: int | IO[bytes] = subprocess.PIPE,
    stderr: int | IO[bytes] = subprocess.PIPE,
    process_group: int | None = None,
) -> subprocess.Popen[bytes]:
    """Starts the program and does not wait for it. `finish` waits; see also `started`."""
    return subprocess.Popen(
        command(*args, cache=cache),
        stdin=subprocess.DEVNULL,
        stdout=stdout,
        stderr=stderr,
        env=environment(),
        process_group=process_group,
    )


@contextmanager
def started(
    *args: str | Path,
    cache: Path | None = None,
    stdout: int | IO[bytes] = subprocess.PIPE,
    stderr: int | IO[bytes] = subprocess.PIPE,
    process_group: int | None = None,
) -> Iterator[subprocess.Popen[bytes]]:
    """Starts the program. At the end, kills it if it still runs."""
    with start(
        *args, cache=cache, stdout=stdout, stderr=stderr, process_group=process_group
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def finish(process: subprocess.Popen[bytes]) -> Result:
    """Waits for a started program."""
    out, err = process.communicate(timeout=TIMEOUT)
    return Result(process.returncode, (out or b"").decode(), (err or b"").decode())


def wait_until(condition: Callable[[], bool], seconds: float = TIMEOUT) -> None:
    """Waits until a condition is true, and asks for it often."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.001)


def holds_open(process: subprocess.Popen[bytes], path: Path) -> bool:
    """Whether a process has a file or folder open (proc(5), /proc/pid/fd)."""
    descriptors = Path(f"/proc/{process.pid}/fd")
    try:
        return any(link.readlink() == path for link in descriptors.iterdir())
    except OSError:
        return False


class Terminal:
    """The program on a pseudo terminal, which is its controlling terminal as well.

    Attributes:
        shown: All that it has shown so far.
    """

    def __init__(self, process: subprocess.Popen[bytes], descriptor: int) -> None:
        self.shown = ""
        self._process, self._descriptor = process, descriptor

    @property
    def pid(self) -> int:
        """The process id of the program."""
        return self._process.pid

    def type(self, text: str) -> None:
        """Types; `\\x03` is Ctrl-C, `\\x04` the end of input."""
        os.write(self._descriptor, text.encode())

    def kill(self) -> None:
        """Ends the program as a crash does."""
        self._process.send_signal(signal.SIGKILL)

    def hang_up(self) -> None:
        """Closes the terminal, as a lost connection does."""
        null = os.open(os.devnull, os.O_RDWR)
        os.dup2(null, self._descriptor)
        os.close(null)

    def wait_for(self, text: str) -> None:
        """Reads until the program has shown a text."""
        deadline = time.monotonic() + TIMEOUT
        while text not in self.shown:
            assert time.monotonic() < deadline, f"never shown: {text!r}; shown: {self.shown!r}"
            if not self._read(0.1) and self._process.poll() is not None:
                raise AssertionError(f"it ended without {text!r}; shown: {self.shown!r}")

    def wait(self, seconds: float = TIMEOUT) -> int:
        """Reads on until the program ends, and returns its exit status."""
        deadline = time.monotonic() + seconds
        while self._process.poll() is None:
            assert time.monotonic() < deadline, f"still running; shown: {self.shown!r}"
            self._read(0.02)
        while self._read(0):
            pass
        return self._process.returncode

    def _read(self, seconds: float) -> bool:
        if not select.select([self._descriptor], [], [], seconds)[0]:
            return False
        try:
            block = os.read(self._descriptor, 65536)
        except OSError:  # EIO: nobody has the other end open any more.
            return False
        self.shown += block.decode(errors="replace")
        return bool(block)


@contextmanager
def on_terminal(
    *args: str | Path, cache: Path | None = None, redirections: str = ""
) -> Iterator[Terminal]:
    """Starts the program on a terminal. At the end, kills it if it still runs.

    Args:
        args: Command and options.
        cache: What `--image-path` says, before the command.
        redirections: Of the shell, as `</dev/null`, for what should not be the terminal.
    """
    ours, theirs = pty.openpty()
    try:
        # A session leader that opens a terminal gets it as its controlling terminal.
        process = subprocess.Popen(
            [
                *("sh", "-c", f'exec "$@" <>"$0" >&0 2>&0 {redirections}', os.ttyname(theirs)),
                *command(*args, cache=cache),
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=environment(),
            start_new_session=True,
        )
    finally:
        os.close(theirs)
    try:
        yield Terminal(process, ours)
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
        os.close(ours)
