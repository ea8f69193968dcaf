"""The signals that ask the program to end.

Stage: all. Input: none. Output: signal numbers. I/O: sets which signals reach this thread.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""Ctrl-C, a service manager or scheduler, and a terminal or a connection that goes away."""


def heeded() -> tuple[signal.Signals, ...]:
    """Those of `ENDING` that are not ignored: nohup ignores SIGHUP, a shell's & SIGINT."""
    return tuple(one for one in ENDING if signal.getsignal(one) is not signal.SIG_IGN)


@contextmanager
def signals_wait() -> Iterator[None]:
    """Lets the signals of `ENDING` wait until this is over; then the first one takes effect.

    For steps that an exception must not cut short: Python drops what a handler raises during a
    fork, and a thread that was started needs somebody who stops it. Threads that are started
    meanwhile never take these signals, so that the main thread does.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
