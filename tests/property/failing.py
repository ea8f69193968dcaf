"""A deleter that fails where it is told to."""

from __future__ import annotations

import errno
import os
from collections.abc import Collection
from pathlib import Path

from tests.support.cachebuilder import FOLDERS

from fastprune.deletion.deleter import Batch, BatchResult, Outcome, Unlinker


class FailingDeleter:
    """Removes files, but for some, which can't be removed.

    Attributes:
        batch_size: Files that are handed to it at once.
        failing: Relative paths of the files that can't be.
        tried: Relative paths of all files, in the order of the attempts.
    """

    def __init__(self, root: Path, failing: Collection[str], batch_size: int = 2) -> None:
        self.batch_size = batch_size
        self.failing = failing
        self.tried: list[str] = []
        self._folders = {os.stat(root / folder).st_ino: folder for folder in FOLDERS}
        self._unlinker = Unlinker()

    def remove(self, folder: int, batch: Batch) -> BatchResult:
        """See `Deleter.remove`."""
        prefix = self._folders[os.fstat(folder).st_ino]
        outcomes = bytearray(len(batch.names))
        freed = [0] * len(batch.names)
        errors: dict[int, int] = {}
        for position, name in enumerate(batch.names):
            self.tried.append(f"{prefix}/{name}")
            if f"{prefix}/{name}" in self.failing:
                outcomes[position] = Outcome.FAILED
                errors[position] = errno.EPERM
                continue
            checks = None if batch.checks is None else [batch.checks[position]]
            result = self._unlinker.remove(folder, Batch([name], [batch.sizes[position]], checks))
            outcomes[position], freed[position] = result.outcomes[0], result.freed[0]
        return BatchResult(outcomes, freed, errors)

    def settle(self, folder: int) -> None:
        """See `Deleter.settle`."""
