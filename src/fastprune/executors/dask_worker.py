"""What runs on a Dask worker: one piece of work at a time, if the worker is fit for it.

Stage: rim. Input: the bytes of a piece. Output: the bytes of an answer. I/O: what the function
of the piece does, and what its view looks at.

Pieces and answers are pickles of our own, as between us and the workers of our own pool: Dask
takes them as bytes and does not look for tasks in them. A worker of another version must not
unpickle what it may know by another meaning: versions are compared first.
"""

from __future__ import annotations

import pickle
import platform
import sys
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from fastprune.errors import WorkerError
from fastprune.executors.executor import View
from fastprune.version import __version__

_MOST_REMEMBERED = 64
# What this worker was asked to see, and does see.
_agreed: set[bytes] = set()


class Surroundings(NamedTuple):
    """What has to be the same for a worker to give the same results: the versions.

    That of Python is without the last number.
    """

    fastprune: str
    python: str


class Answer(NamedTuple):
    """What became of a piece.

    `error` is what the function raised after these results, if anything. `refusal` says why the
    worker did not begin; empty if it did.
    """

    results: list[Any]
    error: Exception | None = None
    refusal: str = ""
    worker: str = ""


def surroundings() -> Surroundings:
    """The surroundings of this process."""
    return Surroundings(__version__, ".".join(platform.python_version_tuple()[:2]))


def pack_demands(view: View | None) -> bytes:
    """The bytes that say what a worker has to be like: as this process is.

    It has to see the view, if there is one.
    """
    return pickle.dumps((tuple(surroundings()), _packed(view)))


def pack_piece(demands: bytes, function: Callable[[Any], Iterable[Any]], item: object) -> bytes:
    """The bytes of a piece of work.

    Args:
        demands: See `pack_demands`.
        function: A generator function that can be imported by name.
        item: What it is called with.
    """
    return _packed((demands, _packed((function, item))))


def run_piece(piece: bytes) -> bytes:
    """Runs what `pack_piece` gave, unless this worker is not as it has to be.

    Returns:
        The bytes of an `Answer`, for `unpack_answer`.
    """
    demands, work = pickle.loads(piece)  # noqa: S301 - from our own client, as all that Dask sends
    if refusal := refusal_of(demands):
        return _packed(Answer([], refusal=refusal, worker=_name()))
    function, item = pickle.loads(work)  # noqa: S301 - as above
    results: list[Any] = []
    error: Exception | None = None
    try:
        results.extend(function(item))
    except Exception as raised:
        error = raised
    try:
        return _packed(Answer(results, error, worker=_name()))
    except Exception as unsent:
        problem = WorkerError(f"what a worker has found can't be sent: {unsent}")
        return _packed(Answer([], problem, worker=_name()))


def unpack_answer(answer: bytes) -> Answer:
    """The answer of a worker that passed its check, or that refused."""
    unpacked: Answer = pickle.loads(answer)  # noqa: S301 - a worker runs our own code
    return unpacked


def refusal_of(demands: bytes) -> str:
    """Says why this worker is not as `pack_demands` says that it has to be; empty if it is.

    A worker that agreed once is not asked again: a view has a mark of its own in each run.
    """
    if demands in _agreed:
        return ""
    wanted, view = pickle.loads(demands)  # noqa: S301 - as above
    reason = _other_surroundings(Surroundings(*wanted[:2]))
    if not reason:
        seen: View | None = pickle.loads(view)  # noqa: S301 - as above
        reason = "" if seen is None else seen.differs_here()
    if not reason:
        if len(_agreed) >= _MOST_REMEMBERED:
            _agreed.clear()
        _agreed.add(demands)
    return reason


async def answer_demands(demands: bytes) -> str:
    """`refusal_of` on a thread: a mount that hangs must not keep the worker from its heartbeat."""
    import asyncio

    return await asyncio.to_thread(refusal_of, demands)


def _other_surroundings(wanted: Surroundings) -> str:
    here = surroundings()
    if here.fastprune != wanted.fastprune:
        return f"it has fastprune {here.fastprune}, and this is {wanted.fastprune}"
    if here.python != wanted.python:
        return f"it has Python {here.python}, and this is {wanted.python}"
    return ""


def _name() -> str:
    """The address of the worker that this is."""
    # Where this runs, it is there already.
    distributed = sys.modules.get("distributed")
    try:
        return str(distributed.get_worker().address) if distributed else ""
    except ValueError:
        return ""


def _packed(value: object) -> bytes:
    return pickle.dumps(value, protocol=pickle.HIGHEST_PROTOCOL)
