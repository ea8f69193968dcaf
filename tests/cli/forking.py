"""Processes that run the program without loading its modules: see `tests.cli.forked`.

To load them and the libraries takes ten times as long as all that a small command does.
"""

from __future__ import annotations

import atexit
import json
import os
import selectors
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from tests.support.remembering import RACY_NANOSECONDS

_FORKED = Path(__file__).with_name("forked.py")
_BLOCK = 1 << 16


class Forking:
    """A process that forks for each run."""

    def __init__(self, env: Mapping[str, str]) -> None:
        """Starts it.

        Args:
            env: Its environment, which holds all that Python and the libraries read when they load.
        """
        self._connection, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, str(_FORKED), str(theirs.fileno())],
                # Python asks only at its start what kind of files these are: as those of a run.
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                # As the program does before it loads numpy. A process with threads must not fork.
                env={**env, "OPENBLAS_NUM_THREADS": "1"},
                pass_fds=[theirs.fileno()],
            )
        atexit.register(self._end)

    def run(
        self, words: Sequence[str], env: Mapping[str, str], timeout: float
    ) -> subprocess.CompletedProcess[bytes]:
        """Runs the program to its end, with nothing to read: as `subprocess.run` does.

        Args:
            words: Its command line, without the program.
            env: All its environment variables.
            timeout: After how many seconds it is killed.

        Raises:
            subprocess.TimeoutExpired: It took longer.
        """
        values = {"words": words, "env": dict(env), "folder": os.getcwd()}
        message = json.dumps(values | {"racy": RACY_NANOSECONDS})
        stdin = os.open(os.devnull, os.O_RDONLY)
        out, stdout = os.pipe()
        err, stderr = os.pipe()
        socket.send_fds(self._connection, [message.encode()], [stdin, stdout, stderr])
        for descriptor in (stdin, stdout, stderr):
            os.close(descriptor)
        pid = self._answer()
        try:
            texts = _read_all([out, err], words, timeout)
        except BaseException:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            raise
        finally:
            status = self._answer()
        return subprocess.CompletedProcess(words, os.waitstatus_to_exitcode(status), *texts)

    def _answer(self) -> int:
        answer = self._connection.recv(_BLOCK)
        assert answer, f"it ended: {self._process.communicate()[1].decode()}"
        return int(answer)

    def _end(self) -> None:
        self._connection.close()
        self._process.communicate()


def _read_all(pipes: Sequence[int], words: Sequence[str], timeout: float) -> list[bytes]:
    """Reads and closes pipes, as long as anybody may still write to one of them."""
    texts = dict.fromkeys(pipes, b"")
    deadline = time.monotonic() + timeout
    with selectors.DefaultSelector() as selector:
        for pipe in pipes:
            selector.register(pipe, selectors.EVENT_READ)
        try:
            while selector.get_map():
                left = deadline - time.monotonic()
                if left <= 0:
                    raise subprocess.TimeoutExpired(list(words), timeout)
                for key, _ in selector.select(left):
                    block = os.read(key.fd, _BLOCK)
                    texts[key.fd] += block
                    if not block:
                        selector.unregister(key.fd)
        finally:
            for pipe in pipes:
                os.close(pipe)
    return list(texts.values())
