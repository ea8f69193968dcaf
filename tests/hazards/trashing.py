"""The steps of a prune into the trash and of putting a run back."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import anyio
from tests.support.cachebuilder import Stamp, snapshot

import fastprune
from fastprune import (
    ApplyOptions,
    DeleteLimits,
    Exclusion,
    Limits,
    PlanOptions,
    Policy,
    PruneReport,
)
from fastprune.deletion.deleter import Restorer
from fastprune.deletion.phases import RunContext
from fastprune.deletion.trashing import empty, restore
from fastprune.executors.inline import InlineExecutor
from fastprune.layouts.default import DEFAULT_LAYOUT
from fastprune.layouts.layout import Layout
from fastprune.trash.contents import read_run
from fastprune.trash.model import RunContents
from fastprune.trash.report import TrashReport
from fastprune.trash.tree import list_trash

RUN = "20261123T140501Z-3fa9c1"
LATER = "20261124T000000Z-000000"


def prune_to_trash(
    root: Path,
    policy: Policy,
    run: str = RUN,
    *,
    allow_broken: bool = False,
    skip_corrupt: bool = False,
) -> PruneReport:
    """Prunes into the trash, even if a server runs."""

    async def work() -> PruneReport:
        report = await fastprune.prune(
            root,
            policy,
            exclusion=Exclusion(force=True),
            applying=ApplyOptions(
                trash=True, run=run, delete_limits=DeleteLimits(allow_remove_all=True)
            ),
            planning=PlanOptions(allow_broken=allow_broken, skip_corrupt=skip_corrupt),
        )
        assert report is not None
        return report

    return anyio.run(work)


def contents_of(root: Path, run: str = RUN, layout: Layout = DEFAULT_LAYOUT) -> RunContents:
    """What a run holds."""
    return read_run(str(root), run, InlineExecutor(), layout=layout)


def restore_now(
    root: Path, run: str = RUN, *, restorer: Restorer | None = None, limits: Limits | None = None
) -> TrashReport:
    """Puts a run back, one batch at a time."""
    context = RunContext(limits or Limits(concurrency=1))
    work = partial(restore, str(root), contents_of(root, run), context, restorer=restorer)
    return anyio.run(work)


def empty_now(root: Path, *, limits: Limits | None = None) -> TrashReport:
    """Empties the trash, one batch at a time."""
    runs = [contents_of(root, run) for run in list_trash(str(root), DEFAULT_LAYOUT).runs]
    return anyio.run(empty, str(root), runs, RunContext(limits or Limits(concurrency=1)))


def entries(root: Path) -> dict[str, Stamp | str]:
    """The state of all files: names, contents, modes and times. Folders count by name only."""
    return {
        path: "folder" if stamp.kind == "directory" else stamp
        for path, stamp in snapshot(root).items()
    }


def in_trash(root: Path, run: str = RUN) -> set[str]:
    """The files of a run, relative to it."""
    folder = root / ".fastprune" / "trash" / run
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir()}
