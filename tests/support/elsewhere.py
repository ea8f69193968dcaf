"""Workers elsewhere, played in this process: they see another copy of the cache."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from fastprune.executors.executor import View

T = TypeVar("T")
R = TypeVar("R")


class Elsewhere:
    """An executor whose workers find another folder at the path of the cache.

    Attributes:
        required: What the workers were required to see.
    """

    jobs = 3
    remote = True

    def __init__(self, root: Path, seen: Path) -> None:
        """Does nothing yet.

        Args:
            root: The path of the cache.
            seen: The folder that the workers see there.
        """
        self.required: list[View] = []
        self._root, self._seen = str(root), str(seen)

    def map_unordered(
        self, function: Callable[[T], Iterable[R]], items: Iterable[T], *, ahead: int = 1
    ) -> Iterator[R]:
        """Has all done as a worker elsewhere would do it; `ahead` makes no difference."""
        del ahead
        for item in items:
            yield from function(self._there(item))

    def require(self, view: View) -> None:
        """Believes that all is the same."""
        self.required.append(view)

    def close(self) -> None:
        """There is nothing to end."""

    def _there(self, value: Any) -> Any:
        """The same with the paths of what the workers see."""
        if isinstance(value, str) and value.startswith(self._root):
            return self._seen + value.removeprefix(self._root)
        if isinstance(value, tuple) and hasattr(value, "_fields"):
            return type(value)(*map(self._there, value))
        return value
