"""What a running server can't remove: it is moved to the live run, if nothing needs it.

Stage: apply. Input: manifests that the server does not know, and the blobs that still go. Output:
what became of them. I/O: moves files, looks at them again, and asks the server.

Nothing is deleted here. What was moved is deleted by the next run, which looks once more.
"""

from __future__ import annotations

import anyio
import numpy as np

from fastprune.deletion.accounts import manifest_batch
from fastprune.deletion.deleter import Batch, BatchResult, Outcome, look_at
from fastprune.deletion.live_run import MOVED, LiveRun, part_of
from fastprune.errors import ServerError
from fastprune.executors.threads import in_thread
from fastprune.guard.drift import replaced_blobs, young_blobs
from fastprune.index.cache_index import Rows
from fastprune.model import file_names
from fastprune.reading.reader import reason_of

_MOST_MANIFESTS = 256
_MOST_BLOBS = 2_048


async def move_manifests(run: LiveRun, kind: str, folder: str, rows: Rows) -> None:
    """Moves manifests that the server does not know.

    A pull of one may begin at any time, and writes its file. If that was before the file was
    moved, the moved file shows it. If it was after, there is a new file.

    Raises:
        ServerError: The server does not say whether it knows them now; those are put back.
    """
    crew = run.phases.crew
    most = crew.at_once(_MOST_MANIFESTS)
    while len(rows := rows[run.plan.removed[rows]]):
        some, rows = rows[:most], rows[most:]
        await crew.wait_for_slot(len(some))
        if crew.must_stop():
            return
        with anyio.CancelScope(shield=True):
            await _move_some(run, kind, folder, some)


async def _move_some(run: LiveRun, kind: str, folder: str, rows: Rows) -> None:
    batch = manifest_batch(run.plan.index, rows)
    result = await in_thread(run.mover.remove, run.aside.cache[folder], batch)
    moved = result.where(Outcome.REMOVED)
    back = await in_thread(_changed_meanwhile, run, folder, batch, moved)
    error: ServerError | None = None
    try:
        known = await _known_by_now(run, folder, rows, moved)
        back |= known
    except ServerError as failure:
        # Whether a pull was under way is not known.
        error, back = failure, set(moved)
    names = [batch.names[at] for at in sorted(back)]
    if await in_thread(run.back, names, folder):
        await in_thread(run.aside.discard, names, folder)
    for at in back:
        result.outcomes[at], result.freed[at] = Outcome.CHANGED, 0
    await run.note_manifests(kind, folder, rows, result, action=MOVED)
    run.look.went(rows[result.where(Outcome.REMOVED, Outcome.GONE)])
    await run.phases.settle(folder, run.mover.settle, run.aside.cache[folder])
    if error is not None:
        raise error


def _changed_meanwhile(run: LiveRun, folder: str, batch: Batch, moved: list[int]) -> set[int]:
    """Which of the files that were moved were written between the last look and the move."""
    assert batch.checks is not None
    names, checks = [batch.names[at] for at in moved], [batch.checks[at] for at in moved]
    found = look_at(run.aside.trash[folder], Batch(names, [0] * len(names), checks))
    return set(moved).difference(moved[at] for at in found.where(Outcome.REMOVED))


async def _known_by_now(run: LiveRun, folder: str, rows: Rows, positions: list[int]) -> set[int]:
    """Which of some manifests of a folder the server lists by now, as files of this folder."""
    if not positions:
        return set()
    index, some = run.plan.index, rows[positions]
    folder_of = index.layout.manifest_folder_of
    urls = [
        {url for url in (shown, *known) if folder_of(url) == folder}
        for shown, known in zip(index.urls(some), run.known.urls_of(some), strict=True)
    ]
    listed = (await run.server.listing(sorted(set().union(*urls)))).names
    names = file_names(index.digests[some].tobytes())
    return {
        at
        for at, name, of_row in zip(positions, names, urls, strict=True)
        if any(listed.get(url) == name for url in of_row)
    }


async def move_blobs(run: LiveRun, went: Rows) -> None:
    """Moves the blobs of the plan but those that went already, if nothing needs them.

    Raises:
        ServerError: The server does not say which blobs it counts references to.
        OSError: What is there can't be looked at.
    """
    crew, index = run.phases.crew, run.plan.index
    blobs = np.setdiff1d(run.plan.blobs, went)
    if not len(blobs) or not await crew.may_begin():
        return
    held = np.isin(blobs, run.look.ids_of((await run.server.counted_blobs()).digests))
    run.counted = int(held.sum())
    blobs = blobs[~held]
    young = await in_thread(young_blobs, index, blobs, run.grace)
    blobs = np.setdiff1d(blobs, young)
    run.plan = run.plan.sparing(np.union1d(run.plan.spared_blobs, young))
    odd = await in_thread(replaced_blobs, index, blobs)
    run.phases.leave_alone(run.files_of_blobs(blobs[odd]))
    blobs = blobs[~odd]
    # The largest first, as without a server.
    blobs = blobs[np.argsort(-run.sizes_of(blobs), kind="stable")]
    most = crew.at_once(_MOST_BLOBS)
    for first in range(0, len(blobs), most):
        some = blobs[first : first + most]
        await crew.wait_for_slot(len(some))
        if crew.must_stop():
            return
        with anyio.CancelScope(shield=True):
            moved, result = await in_thread(_move_unneeded, run, some)
            await run.note_blobs(moved, result, action=MOVED)
            folder = index.layout.blob_folder
            await run.phases.settle(folder, run.mover.settle, run.aside.cache[folder])
        run.stop_if_unknown()


def _move_unneeded(run: LiveRun, blobs: Rows) -> tuple[Rows, BatchResult]:
    """Moves blobs, and puts back those that a manifest needs by then.

    Returns:
        Those that were not put back, and what became of each.
    """
    index, look = run.plan.index, run.look
    look.again_if_changed()
    blobs = blobs[~look.needed(blobs)]
    batch = Batch(run.names(blobs), run.sizes_of(blobs).tolist())
    result = run.mover.remove(run.aside.cache[index.layout.blob_folder], batch)
    back = np.frombuffer(result.outcomes, dtype=np.uint8) == Outcome.REMOVED
    try:
        look.again()
    except OSError as error:
        run.phases.crew.stop(f"the manifests can't be listed once more: {reason_of(error)}")
    else:
        if not look.unknown:
            back &= look.needed(blobs)
    names = run.names(blobs[back])
    if run.back(names):
        run.aside.discard(names)
    run.disturbed.update(look.that_need(blobs[back]))
    stay = np.flatnonzero(~back)
    return blobs[stay], part_of(result, stay.tolist())
