"""The signals that ask the program to end.

Stage: all. Input: none. Output: signal numbers. No I/O.
"""

from __future__ import annotations

import signal

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""Ctrl-C, a service manager or scheduler, and a terminal or a connection that goes away."""


def heeded() -> tuple[signal.Signals, ...]:
    """Those of `ENDING` that are not ignored: nohup ignores SIGHUP, a shell's & SIGINT."""
    return tuple(one for one in ENDING if signal.getsignal(one) is not signal.SIG_IGN)
