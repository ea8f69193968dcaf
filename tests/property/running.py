"""Runs the library on a cache on disk, for tests that are not asynchronous themselves."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import TypeVar

import anyio
from tests.support.scanning import scanned
from tests.support.strategies import Request

import fastprune
from fastprune import (
    ApplyOptions,
    CacheIndex,
    DeleteLimits,
    Exclusion,
    PlanOptions,
    Policy,
    PruneReport,
)

T = TypeVar("T")


def run(work: Callable[[], Awaitable[T]]) -> T:
    """Runs asynchronous work in a loop of its own."""
    results: list[T] = []

    # Not the result of the task: asyncio would make its repr, and that of an index is long.
    async def keep_result() -> None:
        results.append(await work())

    anyio.run(keep_result)
    return results[0]


def policy_of(request: Request) -> Policy:
    """The policy of a request; one without a criterion is for orphans only."""
    if not request.patterns and request.created_before is None:
        return Policy(orphans_only=True)
    return Policy(
        patterns=request.patterns,
        exclude=request.exclude,
        created_before=request.created_before,
    )


def prune(root: Path, request: Request, *, dry_run: bool = False) -> PruneReport:
    """Prunes as a request says."""

    async def work() -> PruneReport:
        report = await fastprune.prune(
            root,
            policy_of(request),
            dry_run=dry_run,
            planning=PlanOptions(
                allow_broken=request.allow_broken, skip_corrupt=request.skip_corrupt
            ),
            # Otherwise it would look at all processes of this machine, for a server.
            exclusion=Exclusion(force=True),
            applying=ApplyOptions(delete_limits=DeleteLimits(allow_remove_all=True)),
        )
        assert report is not None
        return report

    return run(work)


def manifest_paths(report: PruneReport, rows: Iterable[int]) -> set[str]:
    """The relative paths of manifests, by row."""
    return {report.plan.index.path(int(row)) for row in rows}


def blob_paths(index: CacheIndex, blobs: Iterable[int]) -> set[str]:
    """The relative paths of blobs, by id."""
    return {f"blobs/{index.blob_digests[int(blob)].tobytes().hex()}" for blob in blobs}


def make_sizes_true(root: Path) -> None:
    """Gives every blob the size that the manifests state. In a random cache, few have it."""
    index = scanned(root)
    for blob in range(index.blobs_present):
        name = index.blob_digests[blob].tobytes().hex()
        os.truncate(root / "blobs" / name, int(index.blob_sizes[blob]))
