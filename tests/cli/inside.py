"""Runs a command inside the process of the tests: the same but for the start of a program."""

from __future__ import annotations

import importlib
from pathlib import Path

from tests.cli.program import Result
from typer.testing import CliRunner

from fastprune.cli.app import app


def run_inside(*args: str | Path, cache: Path) -> Result:
    """Runs a command on a cache, away from any terminal.

    Args:
        args: Command and options.
        cache: What `--image-path` says, before the command.
    """
    importlib.import_module(f"fastprune.cli.{args[0]}")
    words = ["--image-path", str(cache), *map(str, args)]
    done = CliRunner().invoke(app, words, catch_exceptions=False)
    return Result(done.exit_code, done.stdout, done.stderr)
