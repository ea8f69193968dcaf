"""A real server as a process, if the environment names its program.

I/O: starts processes; writes their configuration beside the cache.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from .http import held_port

VARIABLE = "FASTPRUNE_TEST_OCIREGISTRY"
"""Names the program."""

PROGRAM = os.environ.get(VARIABLE, "")
REASON = f"{VARIABLE} names no program of a real server"


class RealServer:
    """A real server on a cache, with the same ways to end as the stand-in.

    Attributes:
        root: The image path.
        url: Where it listens.
        process: What runs.
    """

    def __init__(self, root: Path, registry: str = "", *, air_gapped: bool = False) -> None:
        """Sets it up; it starts with `start`.

        Args:
            root: The image path.
            registry: Address and port of the upstream, which it reaches by plain HTTP.
            air_gapped: It does not pull.
        """
        self.root = root
        self._air_gapped = air_gapped
        self._held = held_port()
        self._port = self._held.getsockname()[1]
        self.url = f"http://127.0.0.1:{self._port}"
        self._config = root.with_name(f"{root.name}-server.yaml")
        self._config.write_text(
            f"registries:\n- name: {registry}\n  scheme: http\n" if registry else "registries: []\n"
        )
        self.process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.kill()
        self._held.close()

    def start(self) -> None:
        """Starts it and waits until it listens."""
        options = ["--image-path", str(self.root), "--port", str(self._port)]
        options += ["--host", "127.0.0.1", *(["--air-gapped"] if self._air_gapped else [])]
        command = [PROGRAM, "--config-file", str(self._config), "serve", *options]
        log = self._config.with_suffix(".log")
        with open(log, "ab") as output:
            self.process = subprocess.Popen(command, stdout=output, stderr=output)
        for _ in range(600):
            assert self.process.poll() is None, f"{command} ended: {log.read_text()}"
            try:
                socket.create_connection(("127.0.0.1", self._port)).close()
            except ConnectionRefusedError:
                time.sleep(0.05)
            else:
                return
        raise AssertionError(f"{command} does not listen: {log.read_text()}")

    def stop(self) -> None:
        """Ends it as an administrator does."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """Ends it at once."""
        self._end(signal.SIGKILL)

    def restart(self) -> None:
        """Kills it and starts it again."""
        self.kill()
        self.start()

    def _end(self, number: signal.Signals) -> None:
        if self.process is not None:
            self.process.send_signal(number)
            self.process.wait(120)
        self.process = None
