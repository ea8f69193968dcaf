"""A cache with a folder for state: each scan is compared with one that has none."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.property.decoding import decoded
from tests.support.clock import wait_for_the_clock
from tests.support.scanning import scanned

from fastprune import CacheIndex, ScanOptions
from fastprune.executors.executor import Executor
from fastprune.executors.inline import InlineExecutor
from fastprune.progress import NoProgress
from fastprune.scanning.memory import StateFolder
from fastprune.scanning.scanner import scan_cache


class Counting(NoProgress):
    """Counts the manifests that were asked for, and those of them that were remembered."""

    def __init__(self) -> None:
        self.done = self.known = 0
        self._counts = False

    def start(self, step: str, total: int | None, unit: str) -> None:
        self._counts = step == "scanning"

    def advance(self, count: int, size: int = 0) -> None:
        self.done += count if self._counts else 0

    def remembered(self, count: int) -> None:
        self.known += count


class Remembering:
    """A cache and a folder for state.

    Attributes:
        root: The cache.
        folder: The folder for state, beside it.
    """

    def __init__(self, root: Path) -> None:
        self.root, self.folder = root, root.parent / "state"

    @property
    def file(self) -> Path:
        """The file of the remembered scan; there must be just one."""
        (file,) = self.folder.glob("*.scan")
        return file

    def scan(
        self, executor: Executor | None = None, *, rescan: bool = False, **options: Any
    ) -> tuple[CacheIndex, int]:
        """Scans the cache with its state; gives the index, and how many files were read."""
        counting, chosen = Counting(), executor or InlineExecutor()
        state = StateFolder(str(self.folder), rescan)
        index = scan_cache(
            str(self.root),
            lambda manifests: chosen,
            ScanOptions(state=state, **options),
            progress=counting,
        )
        return index, counting.done - counting.known

    def read_by_scan(self, executor: Executor | None = None, **options: Any) -> int:
        """Scans with the state and without it, and compares; gives how many files were read."""
        wait_for_the_clock(self.root)
        index, read = self.scan(executor, **options)
        options.pop("rescan", None)
        assert decoded(index) == decoded(scanned(self.root, **options))
        return read


@contextmanager
def warnings_of(caplog: Any) -> Iterator[list[str]]:
    """Collects the warnings that are logged meanwhile."""
    messages: list[str] = []
    caplog.clear()
    with caplog.at_level(logging.WARNING, "fastprune"):
        yield messages
    messages += [record.getMessage() for record in caplog.records]
