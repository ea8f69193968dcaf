"""Starts the stand-in as a process of its own, so that it looks like a server to all others."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

_ROOT = Path(__file__).resolve().parents[3]


class ServerProcess(NamedTuple):
    """A process that serves.

    Attributes:
        process: The process.
        url: Where it listens.
    """

    process: subprocess.Popen[str]
    url: str

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])


@contextmanager
def server_process(root: Path, *arguments: str | Path, port: int = 0) -> Iterator[ServerProcess]:
    """Starts the stand-in; kills it at the end if it still runs.

    Args:
        root: The image path.
        arguments: More options, such as `--upstream`.
        port: The port; 0 for any that is free.
    """
    command = [sys.executable, "-m", "tests.support.stand_in", "--image-path", str(root)]
    command += ["--port", str(port), *map(str, arguments), "serve"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=_ROOT, text=True) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line.startswith("listening on "), f"{command} did not start: {line}"
        try:
            yield ServerProcess(process, line.split()[-1])
        finally:
            process.kill()
