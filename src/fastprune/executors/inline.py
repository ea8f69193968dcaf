"""Runs the work in this process, one item after the other."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


class InlineExecutor:
    """The executor without workers: for small caches, one processor, and tests."""

    jobs = 1

    def map_unordered(
        self, function: Callable[[T], Iterable[R]], items: Iterable[T], *, ahead: int = 1
    ) -> Iterator[R]:
        """See `Executor.map_unordered`; nothing is handed out ahead."""
        del ahead
        for item in items:
            yield from function(item)

    def close(self) -> None:
        """There is nothing to end."""
