"""Runs a command's asynchronous work: event loop, signals, exit code.

The first SIGINT or SIGTERM ends the work between two steps, the second at once. Nothing
is lost either way: see the order of deletion in `fastprune.deleter`.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Awaitable, Callable
from typing import TypeVar

import typer

T = TypeVar("T")


class Interruption:
    """Whether a signal came, and whether the work can stop by itself.

    Attributes:
        signal_name: `SIGINT` or `SIGTERM`, or empty.
        graceful: Set it once the work asks `reason` between two steps. Before, a
            signal cancels the work.
    """

    def __init__(self) -> None:
        """Nothing has come yet."""
        self.signal_name = ""
        self.graceful = False

    def reason(self) -> str:
        """Why to stop; empty if there is no reason."""
        return self.signal_name

    @property
    def exit_code(self) -> int | None:
        """128 and the number of the signal, or None."""
        return 128 + signal.Signals[self.signal_name] if self.signal_name else None


def run_async(work: Callable[[Interruption], Awaitable[T]]) -> tuple[T, Interruption]:
    """Runs the work in an event loop (uvloop where there is one).

    Raises:
        typer.Exit: A signal ended it before it could stop by itself.
    """
    # Commands come here when their scan workers have begun to start.
    import anyio

    interruption = Interruption()
    results: list[T] = []

    async def watch(scope: anyio.CancelScope) -> None:
        with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
            async for number in signals:
                if interruption.signal_name:
                    os._exit(128 + number)
                interruption.signal_name = number.name
                if not interruption.graceful:
                    scope.cancel()

    async def run() -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(watch, tasks.cancel_scope)
            results.append(await work(interruption))
            tasks.cancel_scope.cancel()

    try:
        anyio.run(run, backend_options={"use_uvloop": _has_uvloop()})
    except BaseExceptionGroup as group:
        # A task group wraps what its body raises; there is only the one.
        raise _only(group) from None
    if not results:
        raise typer.Exit(interruption.exit_code or 1)
    return results[0], interruption


def _only(group: BaseExceptionGroup[BaseException]) -> BaseException:
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error


def _has_uvloop() -> bool:
    from importlib.util import find_spec

    return find_spec("uvloop") is not None
