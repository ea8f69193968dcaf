"""Runs a command of the program in this process, which is much faster than in another one."""

from __future__ import annotations

import io
import json
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

from tools.command_tree import typer_program

from fastprune.cli.messages import set_up_messages
from fastprune.cli.options import GlobalOptions


class Output(NamedTuple):
    """How a command ended.

    Attributes:
        code: Its exit code.
        out: What it wrote to stdout.
        err: The same for stderr.
    """

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        """What it wrote to stdout, as JSON."""
        return json.loads(self.out)

    @property
    def lines(self) -> list[Any]:
        """The same, as lines of JSON."""
        return [json.loads(line) for line in self.out.splitlines()]


def invoke(*args: str | Path, cache: Path | None) -> Output:
    """Runs a command, with one worker: this process.

    Args:
        args: Command and options.
        cache: The value of `--image-path`, if it should be given.
    """
    out, err = io.StringIO(), io.StringIO()
    path = [] if cache is None else ["--image-path", str(cache)]
    arguments = [*path, "--jobs", "1", *map(str, args)]
    # No settings of the user who runs the tests.
    environment = {"COLUMNS": "100", "TZ": "UTC", "XDG_CONFIG_HOME": os.devnull}
    with (
        patch.dict(os.environ, environment),
        redirect_stdout(out),
        redirect_stderr(err),
        _signals_as_they_were(),
    ):
        code = typer_program()(arguments, standalone_mode=False)
    set_up_messages(GlobalOptions())
    return Output(code, out.getvalue(), err.getvalue())


@contextmanager
def _signals_as_they_were() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
