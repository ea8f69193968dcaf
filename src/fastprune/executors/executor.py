"""Where pieces of work run; knows nothing of manifests.

An executor maps a function over items and gives back what it yields, in any order. The
function and its arguments and results must be picklable, the function importable by
name, so that every executor can run the same work: here, in worker processes, or one
day on other machines.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Protocol, TypeVar

T = TypeVar("T")
R = TypeVar("R")

_LEAST_IN_PIECE = 64
_PIECES_PER_JOB = 8


class Executor(Protocol):
    """Runs a generator function over items."""

    @property
    def jobs(self) -> int:
        """How many items can be worked on at the same time."""
        ...

    def map_unordered(
        self, function: Callable[[T], Iterable[R]], items: Iterable[T]
    ) -> Iterator[R]:
        """Yields everything that `function(item)` yields, for all items, in any order.

        Items are drawn as workers become free, so `items` may be lazy.

        Raises:
            WorkerError: A worker died; the results so far are not the whole.
        """
        ...

    def close(self) -> None:
        """Ends the workers; safe to call twice."""
        ...


def piece_size(total: int, jobs: int, most: int) -> int:
    """How many files to put into a piece of work: few enough that all workers have some.

    Args:
        total: How many files there are.
        jobs: How many pieces are worked on at the same time.
        most: The most in a piece.
    """
    return min(most, max(_LEAST_IN_PIECE, total // (jobs * _PIECES_PER_JOB)))
