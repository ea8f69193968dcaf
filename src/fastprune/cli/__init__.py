"""The command line: flags -> options -> the library -> a report -> an exit code.

One module per command; no logic of the library is in here, and the library never
imports typer. `main` is light: what a command needs is imported when it runs.
"""

from __future__ import annotations

import sys


def main() -> None:
    """The entry point of the program `fastprune`."""
    if sys.argv[1:] == ["--version"]:
        # The question that scripts ask most; it needs no parser.
        from fastprune import __version__

        print(f"fastprune {__version__}")
        return
    from fastprune.cli.app import run

    run()
