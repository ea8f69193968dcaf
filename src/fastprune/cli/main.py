"""The entry point of the program.

It is fast to import: each command imports what it needs when it runs.
"""

from __future__ import annotations

import codecs
import gc
import io
import os
import sys
from typing import cast

from fastprune.cli.signals import end_at_once_on_signals


def main() -> None:
    """The entry point of the program `fastprune`."""
    end_at_once_on_signals()
    _open_closed_streams()
    _buffer_stdout()
    if sys.argv[1:] == ["--version"]:
        # Scripts ask for this most often, and it needs no parser.
        from fastprune.version import __version__

        try:
            print(f"fastprune {__version__}", flush=True)
        except OSError as error:
            from fastprune.cli.refusals import say_unwritten

            sys.exit(say_unwritten(error))
        return
    # Do not stop at a character that the terminal can't show.
    codecs.register_error("fastprune", _escape)
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="fastprune")  # type: ignore[union-attr]
    # The program makes few cycles, and collecting garbage while a million names are listed
    # takes longer than listing them.
    gc.set_threshold(100_000, 50, 50)
    # numpy's linear algebra is not used; its threads would only cost start-up and memory.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    from fastprune.cli.app import run

    run()


def _escape(error: UnicodeError) -> tuple[str, int]:
    r"""Replaces what can't be encoded by `\u` escapes, so that JSON stays the same document."""
    assert isinstance(error, UnicodeEncodeError)
    units = error.object[error.start : error.end].encode("utf-16-be", "surrogatepass")
    escapes = (f"\\u{units[at : at + 2].hex()}" for at in range(0, len(units), 2))
    return "".join(escapes), error.end


def _open_closed_streams() -> None:
    """Makes sure that descriptors 0, 1 and 2 are taken, if only by /dev/null.

    A caller may have closed them. Then the next file that is opened would get their
    numbers, and what is printed would end up in it.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
        if getattr(sys, name) is None:
            mode = "r" if number == 0 else "w"
            stream = open(number, mode, encoding="utf-8", closefd=False)  # noqa: SIM115
            setattr(sys, name, stream)


def _buffer_stdout() -> None:
    """Makes sure that stdout has a buffer, whatever PYTHONUNBUFFERED says.

    Without a buffer, Python makes one call to write. If a signal or a full disk cuts that short,
    the rest is lost without an error (docs.python.org, RawIOBase.write).
    """
    stream = cast(io.TextIOWrapper, sys.stdout)
    if not isinstance(getattr(stream, "buffer", None), io.RawIOBase):
        return
    encoding, errors = stream.encoding, stream.errors
    raw = cast(io.RawIOBase, stream.detach())
    sys.stdout = io.TextIOWrapper(
        io.BufferedWriter(raw), encoding=encoding, errors=errors, line_buffering=raw.isatty()
    )
