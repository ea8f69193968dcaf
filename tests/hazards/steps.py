"""The steps of a prune, one by one, so that a test can change the cache in between."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import anyio
import pytest
from tests.support.clock import nothing_is_racy, wait_for_the_clock

import fastprune
from fastprune import (
    CacheIndex,
    Limits,
    Policy,
    PrunePlan,
    PruneReport,
    Reading,
    ScanOptions,
    make_plan,
)
from fastprune.deletion.deleter import Batch, BatchResult, Deleter, Outcome, Unlinker
from fastprune.deletion.phases import RunContext
from fastprune.deletion.pruning import carry_out
from fastprune.progress import Progress
from fastprune.scanning.memory import StateFolder


@contextmanager
def listing_again(times: int = 2) -> Iterator[None]:
    """Folders list each name several times, as those of mergerfs may do."""
    real = os.scandir

    @contextmanager
    def scandir(folder: int) -> Iterator[Iterator[os.DirEntry[str]]]:
        with real(folder) as entries:
            yield iter([*entries] * times)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "scandir", scandir)
        yield


def scan_now(
    root: Path, progress: Progress | None = None, *, state: StateFolder | None = None
) -> CacheIndex:
    """Scans a cache in this process. With `state`, however new its files are, all are known."""

    async def scan() -> CacheIndex:
        options, reading = ScanOptions(state=state), Reading(jobs=1, progress=progress)
        return await fastprune.scan(root, options, reading=reading)

    if state is None:
        return anyio.run(scan)
    wait_for_the_clock(root)
    with nothing_is_racy():
        index = anyio.run(scan)
    assert index.identities.any(axis=1).all()
    wait_for_the_clock(root)
    return index


def plan_for(
    root: Path,
    *patterns: str,
    created_before: str | None = None,
    skip_corrupt: bool = False,
    state: StateFolder | None = None,
) -> PrunePlan:
    """Scans a cache and plans to prune what meets the criteria."""
    policy = Policy(patterns=patterns, created_before=created_before)
    return make_plan(scan_now(root, state=state), policy, skip_corrupt=skip_corrupt)


def carry_out_now(plan: PrunePlan, deleter: Deleter | None = None) -> PruneReport:
    """Carries out a plan, one batch at a time."""

    async def work() -> PruneReport:
        return await carry_out(plan, deleter or Unlinker(), RunContext(Limits(concurrency=1)))

    return anyio.run(work)


class OneByOne:
    """Deletes file by file. Base class of deleters that do something in between."""

    batch_size = 3

    def __init__(self) -> None:
        self._unlinker = Unlinker()

    def remove(self, folder: int, batch: Batch) -> BatchResult:
        """See `Deleter.remove`."""
        outcomes, freed = bytearray(), list[int]()
        errors: dict[int, int] = {}
        for position, name in enumerate(batch.names):
            here = slice(position, position + 1)
            checks = None if batch.checks is None else batch.checks[here]
            one = batch._replace(names=[name], checks=checks)
            result = self.remove_one(folder, one)
            outcomes += result.outcomes
            freed += result.freed
            for number in result.errors.values():
                errors[position] = number
        return BatchResult(outcomes, freed, errors)

    def remove_one(self, folder: int, one: Batch) -> BatchResult:
        """Removes a batch of one file."""
        return self._unlinker.remove(folder, one)

    def settle(self, folder: int) -> None:
        """See `Deleter.settle`."""
        self._unlinker.settle(folder)


class Failing(OneByOne):
    """Deletes files, but fails to delete some of them."""

    def __init__(self, names: Iterable[str], number: int = errno.EIO) -> None:
        """Fails at these file names, with this errno."""
        super().__init__()
        self._names, self._number = set(names), number

    def remove_one(self, folder: int, one: Batch) -> BatchResult:
        """See `OneByOne.remove_one`."""
        if one.names[0] in self._names:
            return BatchResult(bytearray([Outcome.FAILED]), [0], {0: self._number})
        return super().remove_one(folder, one)


def folder_name(descriptor: int) -> str:
    """The name of an open folder (proc(5), /proc/self/fd)."""
    return os.path.basename(os.readlink(f"/proc/self/fd/{descriptor}"))
