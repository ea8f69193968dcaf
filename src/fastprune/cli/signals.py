"""Runs the part of a command that deletes: event loop, signals, exit code.

Before this part, a signal ends the process by an exception: nothing has been deleted. So it ends
the wait for an answer of a server as well (`run_unless_ended`). While the program starts, and when
all is done, it ends the process at once (`end_at_once_on_signals`, `leave`). During this part, the
first SIGINT, SIGTERM or SIGHUP ends the work between two batches, and a report that is being
written is finished; a second SIGINT or SIGTERM ends the process at once. No needed file is lost
either way: see the order of deletion in `fastprune.deletion.pruning`.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING, NoReturn, TypeVar

from fastprune.executors.ending_signals import heeded

if TYPE_CHECKING:
    from anyio.abc import TaskStatus


def end_at_once_on_signals() -> None:
    """Lets a signal end the process without a message: there is nothing to clean up.

    Python itself would show a traceback.
    """
    for number in heeded():
        signal.signal(number, _end_at_once)


def leave(code: int) -> NoReturn:
    """Ends the process at once. What was printed has to be flushed.

    Python would take apart all that was imported, which takes time for nothing. Meanwhile it gives
    its handlers of signals back, so that a signal would end the process with another exit code.
    """
    os._exit(code)


def _end_at_once(number: int, _: FrameType | None) -> None:
    os._exit(128 + number)


T = TypeVar("T")

_LOOKS_EVERY = 0.05

_ended_by: list[int] = []


def end_on_signals() -> None:
    """Lets a signal end the process by an exception.

    So workers end, metrics are written, and a progress bar gives the cursor back.
    """
    for number in heeded():
        signal.signal(number, _end)


def _end(number: int, _: FrameType | None) -> None:
    _ended_by.append(number)
    if not _says_it_again(number, _ended_by[:-1]):
        _raise(number)


def _says_it_again(number: int, before: Sequence[int]) -> bool:
    """Whether a signal only repeats those before: the user does not ask to hurry.

    When a terminal goes away, its shell and the kernel both send SIGHUP; and a service manager
    may send it along with SIGTERM (systemd.kill(5), SendSIGHUP=).
    """
    return number == signal.SIGHUP and bool(before)


def _raise(number: int) -> NoReturn:
    if number == signal.SIGINT:
        raise KeyboardInterrupt
    sys.exit(128 + number)


def end_if_told() -> None:
    """Ends the process if a signal came whose exception got lost.

    Python drops what is raised while it forks a process or destroys an object.
    """
    if _ended_by:
        _raise(_ended_by[0])


@contextmanager
def signals_held_back() -> Iterator[Callable[[], str]]:
    """Holds back signals that would end the process, until the work has cleaned up.

    Yields:
        A function that returns the name of the first signal that came, or an empty text.
    """
    arrived: list[int] = []

    def note(number: int, _: FrameType | None) -> None:
        arrived.append(number)

    before = {number: signal.signal(number, note) for number in heeded()}
    try:
        yield lambda: signal.Signals(arrived[0]).name if arrived else ""
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        if arrived:
            signal.raise_signal(arrived[0])


def run_unless_ended(work: Callable[[], Awaitable[T]]) -> T:
    """Runs asynchronous work that changes nothing, in an event loop.

    A signal cancels the work, and then ends the process by an exception. If the exception came
    in the middle of the event loop, it could be lost, or leave the loop in disorder.
    """
    import anyio

    done: list[T] = []
    end_if_told()
    with signals_held_back() as stopped:

        async def run() -> None:
            async with anyio.create_task_group() as tasks:

                async def watch() -> None:
                    # A handler of signals can't set an event of the loop.
                    while not stopped():  # noqa: ASYNC110
                        await anyio.sleep(_LOOKS_EVERY)
                    tasks.cancel_scope.cancel()

                tasks.start_soon(watch)
                done.append(await work())
                tasks.cancel_scope.cancel()

        _in_event_loop(run)
    return done[0]


def run_until_signal(work: Callable[[Callable[[], str]], Awaitable[T]]) -> tuple[T, int | None]:
    """Runs asynchronous work in an event loop (uvloop where there is one).

    Args:
        work: Gets a function that returns why to stop, or an empty text if no signal came.

    Returns:
        The result of the work; and 128 plus the number of the signal, or None.
    """
    import anyio

    end_if_told()

    numbers = heeded()
    arrived: list[signal.Signals] = []

    def stopped() -> str:
        return arrived[0].name if arrived else ""

    def arrive(number: int, _: FrameType | None = None) -> None:
        if _says_it_again(number, arrived):
            return
        if arrived:
            os._exit(128 + number)
        arrived.append(signal.Signals(number))

    async def watch(*, task_status: TaskStatus[None]) -> None:
        with anyio.open_signal_receiver(*numbers) as signals:
            task_status.started()
            async for number in signals:
                arrive(number)

    async def run() -> T:
        try:
            async with anyio.create_task_group() as tasks:
                # Nothing is deleted before signals are handled.
                await tasks.start(watch)
                result = await work(stopped)
                tasks.cancel_scope.cancel()
        finally:
            # The loop handles no more signals, and the report is still to be written.
            for number in numbers:
                signal.signal(number, arrive)
        return result

    result = _in_event_loop(run)
    return result, 128 + arrived[0] if arrived else None


def _in_event_loop(run: Callable[[], Awaitable[T]]) -> T:
    # Imported here, because it is slow and most commands don't need it.
    from importlib.util import find_spec

    import anyio

    has_uvloop = find_spec("uvloop") is not None
    try:
        return anyio.run(run, backend_options={"use_uvloop": has_uvloop})
    except LookupError as error:
        # anyio raises this if it can't load the event loop, for example without memory.
        raise error.__cause__ if isinstance(error.__cause__, ImportError) else error from None
    except BaseExceptionGroup as group:
        # A task group wraps what its body raises; there is only the one.
        raise _only(group) from None


def _only(group: BaseExceptionGroup[BaseException]) -> BaseException:
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error
