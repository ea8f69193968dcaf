"""Where pieces of work run; knows nothing of manifests.

An executor maps a function over items and gives back what it yields, in any order. The
function and its arguments and results must be picklable, the function importable by
name, so that every executor can run the same work: here, in worker processes, or on other
machines.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Protocol, TypeVar

T = TypeVar("T")
R = TypeVar("R")

PIECES_PER_JOB = 8
"""So many pieces of work for each worker: then all end at about the same time."""

_LEAST_IN_PIECE = 64


class View(Protocol):
    """What a worker has to see as this process does, such as the same files at a path.

    Picklable. A view is made for one run, and is not equal to that of another.
    """

    def differs_here(self) -> str:
        """Says how what the calling process sees is not the same; empty if it is."""

    def renewed(self) -> View:
        """What the calling process sees now."""


class Executor(Protocol):
    """Runs a generator function over items.

    Attributes:
        remote: Whether the work is done where files may be seen otherwise than here, and where
            each item costs a message over a network.
    """

    remote: bool

    @property
    def jobs(self) -> int:
        """How many items can be worked on at the same time."""

    def map_unordered(
        self, function: Callable[[T], Iterable[R]], items: Iterable[T], *, ahead: int = 1
    ) -> Iterator[R]:
        """Yields everything that `function(item)` yields, for all items, in any order.

        Items are drawn as workers become free, so `items` may be lazy.

        Args:
            function: What to do with an item.
            items: The items; they are begun in this order.
            ahead: How many items a worker is handed while it works on another, so that it never
                waits for the next. 0 where items take long, and not equally long: then none waits
                behind another while a worker is free.

        Raises:
            WorkerError: A worker died; the results so far are not the whole.
        """

    def require(self, view: View) -> None:
        """From now on, only workers that see the same as this process do any work.

        There is nothing to compare for workers that are not `remote`.

        Raises:
            WorkerError: A worker sees something else; the message names it.
        """

    def close(self) -> None:
        """Ends the workers; safe to call twice."""


def piece_size(total: int, jobs: int, most: int) -> int:
    """How many files to put into a piece of work: few enough that all workers have some."""
    return min(most, max(_LEAST_IN_PIECE, total // (jobs * PIECES_PER_JOB)))
