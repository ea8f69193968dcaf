"""Runs the work in this process, one item after the other."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from fastprune.executors.executor import Executor, R, T, View


class InlineExecutor:
    """The executor without workers: for small caches, one processor, and tests."""

    jobs = 1
    remote = False

    def map_unordered(
        self, function: Callable[[T], Iterable[R]], items: Iterable[T], *, ahead: int = 1
    ) -> Iterator[R]:
        """See `Executor.map_unordered`; nothing is handed out ahead."""
        del ahead
        for item in items:
            yield from function(item)

    def require(self, view: View) -> None:
        """This process sees what it sees."""

    def close(self) -> None:
        """There is nothing to end."""


def here_if_remote(executor: Executor) -> Executor:
    """Where to look once more at what is odd: in this process, if the workers are elsewhere.

    A worker elsewhere may not see what is there: so nothing is gone or damaged for its word alone.
    """
    return InlineExecutor() if executor.remote else executor
