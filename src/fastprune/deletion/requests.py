"""One request to the server: what is looked at before it, and what has become of its files.

Stage: apply. Input: rows of manifests that the server knew. Output: those that it can't reach.
I/O: asks the server; looks at files, and sets blobs aside by a second name, on threads.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import compress

import anyio
import numpy as np

from fastprune.deletion.accounts import manifest_batch
from fastprune.deletion.deleter import BatchResult, Outcome, all_of, look_at
from fastprune.deletion.live_run import LiveRun, part_of
from fastprune.deletion.looking import HALF_REMOVED, MISCOUNTED, blobs_of
from fastprune.deletion.pace import MOST_IN_REQUEST
from fastprune.errors import ServerError
from fastprune.executors.threads import in_thread
from fastprune.index.arrays import positions_in
from fastprune.index.cache_index import Rows
from fastprune.index.refcounts import Mask, references_of
from fastprune.model import file_names
from fastprune.reading.reader import reason_of
from fastprune.server.expressions import in_requests
from fastprune.server.unlisted import never_listed, never_to_prune

_NOT_REMOVED = "the server did not remove it"
_STILL_SERVED = (
    "the server still lists it, but its file is gone: run 'fastprune verify --repair' with the "
    "--server of this run"
)
_NO_FILE = "it needs a blob that is no regular file, and the server might remove that"
_MOST_FILES = 10_000


@dataclass(slots=True, eq=False)
class _Batch:
    """Manifests of a folder that one request is about.

    Attributes:
        rows: The manifests, ascending.
        urls: By which the server is asked for each.
        kept: The ids of their blobs that have a second name, ascending.
        safe: Whether the second names may go in the end.
    """

    kind: str
    folder: str
    rows: Rows
    urls: list[list[str]]
    kept: Rows
    safe: bool = True

    def only(self, which: Mask) -> None:
        """Leaves out some manifests: bool, one for each row; True stays."""
        self.urls = list(compress(self.urls, which.tolist()))
        self.rows = self.rows[which]

    @property
    def all_urls(self) -> list[str]:
        """All URLs of the request."""
        return [url for urls in self.urls for url in urls]


def first_part(run: LiveRun, rows: Rows) -> int:
    """How many of some manifests the next request is about: at least one."""
    urls = np.cumsum([len(urls) for urls in run.known.urls_of(rows[: run.sizes.urls])])
    files = np.cumsum(1 + run.plan.index.blob_counts[rows[: len(urls)]].astype(np.int64))
    most = run.phases.crew.at_once(_MOST_FILES)
    return max(1, int(((urls <= run.sizes.urls) & (files <= most)).sum()))


async def leave_what_is_half_removed(run: LiveRun, kind: str, folder: str, rows: Rows) -> Rows:
    """Leaves out manifests whose image URLs a server can't remove safely; gives the others."""
    pairs = zip(run.plan.index.urls(rows), run.known.urls_of(rows), strict=True)
    half = np.array(
        [any(map(never_to_prune, urls)) or (not urls and never_listed(url)) for url, urls in pairs],
        dtype=np.bool_,
    )
    failed = all_of(int(half.sum()), Outcome.FAILED, said=HALF_REMOVED)
    await run.note_manifests(kind, folder, rows[half], failed)
    return rows[~half & run.plan.removed[rows]]


async def ask_for(run: LiveRun, kind: str, folder: str, rows: Rows) -> Rows:
    """Asks the server to remove some manifests of a folder, and finds out what it did.

    Each still goes, and the server knew it when it was scanned.

    Returns:
        Those that the server can't reach, because it does not know them any more.

    Raises:
        ServerError: There was no answer, or not as it should be. What was done is accounted.
    """
    crew = run.phases.crew
    urls = run.known.urls_of(rows)
    began = run.clock()
    listed = (await run.server.listing([url for of_row in urls for url in of_row])).names
    seconds = run.clock() - began
    names = _names(run, rows)
    urls = [
        [url for url in of_row if listed.get(url) == name]
        for of_row, name in zip(urls, names, strict=True)
    ]
    batch = _Batch(kind, folder, rows, urls, rows[:0])
    reached = np.array([bool(of_row) for of_row in urls], dtype=np.bool_)
    away = rows[~reached]
    batch.only(reached)
    if not len(batch.rows):
        return away
    await crew.wait_for_slot(len(batch.rows) + _last_references(run, batch.rows))
    if crew.must_stop():
        return away
    with crew.stopping(f"what is in {folder}/ can't be looked at"):
        await _prepare(run, batch)
    if crew.must_stop() or not len(batch.rows):
        await in_thread(run.aside.discard, run.names(batch.kept))
        return away
    out_of_reach = [away]
    # From here on, what the server may do must be accounted for.
    with anyio.CancelScope(shield=True):
        out_of_reach.append(await _request(run, batch, seconds))
    return np.concatenate(out_of_reach)


async def _request(run: LiveRun, batch: _Batch, seconds: float) -> Rows:
    """Sends a request and accounts for it; the rows that the server can't reach.

    `seconds` is how long the server took to list the same.
    """
    began, error = run.clock(), None
    try:
        for part in in_requests(batch.all_urls, MOST_IN_REQUEST):
            run.requests += 1
            await run.server.prune(part)
    except ServerError as failure:
        error = failure
    run.sizes.took(len(batch.all_urls), max(seconds, run.clock() - began))
    return await _account(run, batch, error)


def _names(run: LiveRun, rows: Rows) -> list[str]:
    return file_names(run.plan.index.digests[rows].tobytes())


def _last_references(run: LiveRun, rows: Rows) -> int:
    """How many blobs of the plan are needed by nothing but some manifests."""
    found, counts = np.unique(references_of(run.plan.index, rows), return_counts=True)
    blobs = found.astype(np.intp)
    return int((run.goes(blobs) & (run.look.counts(blobs) == counts)).sum())


def _rows_with(run: LiveRun, rows: Rows, wanted: Mask) -> Mask:
    """Which of some manifests refer to a blob that is wanted: bool (m,) gives bool, a row each."""
    index = run.plan.index
    counts = index.blob_counts[rows]
    hits = wanted[index.blob_ids[positions_in(index.blob_starts[rows], counts)]]
    owners = np.repeat(np.arange(len(rows)), counts)
    return np.bincount(owners[hits], minlength=len(rows)) > 0


async def _prepare(run: LiveRun, batch: _Batch) -> None:
    """Sets blobs aside, and leaves out what is not as it was: nothing went yet."""
    odd = await in_thread(_keep, run, batch)
    if run.phases.crew.must_stop():
        return
    # As late as possible: what is pulled after this is what the window of a request is about.
    result, shared = await in_thread(_look, run, batch)
    run.stop_if_unknown()
    if run.phases.crew.must_stop():
        return
    index = run.plan.index
    unchanged = np.frombuffer(result.outcomes, dtype=np.uint8) == Outcome.REMOVED
    left = np.flatnonzero(~unchanged).tolist()
    await run.note_manifests(batch.kind, batch.folder, batch.rows[left], part_of(result, left))
    run.look.went(batch.rows[result.where(Outcome.GONE)])
    for wrong, why in ((odd, _NO_FILE), (run.miscounted, MISCOUNTED)):
        held = np.flatnonzero(unchanged & _rows_with(run, batch.rows, wrong))
        failed = all_of(len(held), Outcome.FAILED, said=why)
        await run.note_manifests(batch.kind, batch.folder, batch.rows[held], failed)
        unchanged[held] = False
    run.shared += [index.path(row) for row in batch.rows[unchanged & shared].tolist()]
    run.plan = run.plan.without(batch.rows[unchanged & shared])
    # Without these, others may have to stay as well.
    batch.only(unchanged & ~shared & run.plan.removed[batch.rows])


def _keep(run: LiveRun, batch: _Batch) -> Mask:
    """Gives the blobs of a batch a second name; bool (m,): those that are no regular files."""
    index = run.plan.index
    odd = np.zeros(len(index.blob_digests), dtype=np.bool_)
    blobs = blobs_of(index, batch.rows)
    if not len(blobs):
        return odd
    result = run.aside.keep(run.names(blobs))
    batch.kept = blobs[result.where(Outcome.REMOVED)]
    odd[blobs[result.where(Outcome.CHANGED)]] = True
    for at in result.where(Outcome.FAILED)[:1]:
        run.phases.crew.stop(
            f"{index.layout.blob_folder}/{index.blob_name(int(blobs[at]))} can't be set aside: "
            f"{result.message(at)}"
        )
    return odd


def _look(run: LiveRun, batch: _Batch) -> tuple[BatchResult, Mask]:
    """Looks at the files of a batch, and for new manifests; which share a blob with one."""
    result = look_at(run.aside.cache[batch.folder], manifest_batch(run.plan.index, batch.rows))
    run.look.again_if_changed()
    wanted = np.zeros(len(run.plan.index.blob_digests), dtype=np.bool_)
    for blobs in (run.plan.blobs, run.held_by_pulls):
        wanted[blobs] = run.look.wanted(blobs)
    return result, _rows_with(run, batch.rows, wanted)


async def _account(run: LiveRun, batch: _Batch, error: ServerError | None) -> Rows:
    """Puts back what is needed, and finds out what the server did.

    `error` is what came instead of an answer. Then the server may still be at work, so second
    names stay. The error is raised in the end.

    Returns:
        Manifests that the server does not know any more, and whose files are there.
    """
    went = await in_thread(_rescue, run, batch)
    listed: dict[str, str] | None = None
    if error is None:
        try:
            listed = (await run.server.listing(batch.all_urls)).names
        except ServerError as failure:
            error = failure
    batch.safe &= error is None
    outcomes, away = await in_thread(_judge, run, batch, went, listed)
    try:
        await _have_written(run, batch, outcomes, listed or {})
    except ServerError as failure:
        error = error or failure
        batch.safe = False
    for outcome, said in (
        (Outcome.REMOVED, ""),
        (Outcome.CHANGED, ""),
        (Outcome.FAILED, _NOT_REMOVED),
        (_SERVED, _STILL_SERVED),
    ):
        rows = batch.rows[outcomes == outcome]
        sizes = run.plan.index.file_sizes[rows].tolist() if outcome == Outcome.REMOVED else ()
        became = Outcome.FAILED if outcome == _SERVED else Outcome(outcome)
        result = all_of(len(rows), became, freed=sizes, said=said)
        await run.note_manifests(batch.kind, batch.folder, rows, result)
    gone = await in_thread(_put_back_what_stays, run, batch)
    removed = all_of(len(gone), Outcome.REMOVED, freed=run.sizes_of(gone).tolist())
    await run.note_blobs(gone, removed)
    for folder in (batch.folder, run.plan.index.layout.blob_folder):
        durable = await run.settle(folder)
        batch.safe &= durable
    if batch.safe:
        await in_thread(run.aside.discard, run.names(batch.kept))
    run.stop_if_unknown()
    if error is not None:
        raise error
    return away


async def _have_written(
    run: LiveRun, batch: _Batch, outcomes: Rows, listed: dict[str, str]
) -> None:
    """Lets the server write the files again of what it lists although its file is gone.

    Such an image was pulled in the moment in which the server removed it by another of its tags.
    When it is asked for, the server writes its file; then it is an image that was pulled again,
    and `outcomes` says so.
    """
    index = run.plan.index
    for at in np.flatnonzero(outcomes == _SERVED).tolist():
        row = batch.rows[at : at + 1]
        (name,) = _names(run, row)
        await run.server.head(next(url for url in batch.urls[at] if listed.get(url) == name))
        if (await in_thread(run.aside.missing, [name], batch.folder))[0]:
            continue
        outcomes[at] = Outcome.CHANGED
        if any(await in_thread(run.aside.missing, run.names(blobs_of(index, row)))):
            run.disturbed.add(index.path(int(row[0])))


_SERVED = 254
"""Like an `Outcome`: the file is gone, and the server lists it all the same."""
_OPEN = 255
"""Like an `Outcome`: not known, or not done."""


def _rescue(run: LiveRun, batch: _Batch) -> Mask:
    """Puts back at once what a manifest needs; which files of the batch are gone."""
    gone = np.array(run.aside.missing(_names(run, batch.rows), batch.folder), dtype=np.bool_)
    run.look.went(batch.rows[gone])
    unsure = False
    try:
        run.look.again()
    except OSError as error:
        unsure = True
        run.phases.crew.stop(f"the manifests can't be listed once more: {reason_of(error)}")
    missing = batch.kept[run.aside.missing(run.names(batch.kept))]
    if not (unsure or run.look.unknown):
        missing = missing[run.look.needed(missing)]
    batch.safe &= run.back(run.names(missing)) and not unsure
    run.disturbed.update(run.look.that_need(missing))
    return gone


def _judge(
    run: LiveRun, batch: _Batch, went: Mask, listed: dict[str, str] | None
) -> tuple[Rows, Rows]:
    """What became of each manifest of a batch.

    `went` says whose files were gone right after the request. `listed` are the digests that the
    server lists for their URLs since; None if it did not say.

    Returns:
        What became of each, an `Outcome` or a value like one; the rows that are out of reach.
    """
    names = _names(run, batch.rows)
    found = look_at(run.aside.cache[batch.folder], manifest_batch(run.plan.index, batch.rows))
    outcomes = np.full(len(batch.rows), _OPEN, dtype=np.intp)
    away, late = [], []
    for at, (name, urls) in enumerate(zip(names, batch.urls, strict=True)):
        is_gone = found.outcomes[at] == Outcome.GONE
        is_listed = listed is not None and any(listed.get(url) == name for url in urls)
        if is_gone:
            outcomes[at] = _SERVED if is_listed else Outcome.REMOVED
            if not went[at]:
                late.append(at)
        elif went[at] or found.outcomes[at] == Outcome.CHANGED:
            # It was pulled again.
            outcomes[at] = Outcome.CHANGED
        elif is_listed:
            outcomes[at] = Outcome.FAILED
        elif listed is not None:
            away.append(at)
    run.look.went(batch.rows[late])
    return outcomes, batch.rows[away]


def _put_back_what_stays(run: LiveRun, batch: _Batch) -> Rows:
    """Puts back the blobs that are not to go after all; the ids of those that are gone."""
    missing = batch.kept[run.aside.missing(run.names(batch.kept))]
    gone = run.goes(missing) & ~run.look.needed(missing) & (not run.look.unknown)
    batch.safe &= run.back(run.names(missing[~gone]))
    return missing[gone]
