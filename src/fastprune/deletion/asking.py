"""Carries out a plan while a server runs on the cache: asks it to remove what it knows.

Stage: apply. Input: a `PrunePlan` with the URLs by which the server knows its manifests. Output: a
`PruneReport`. I/O: asks the server; looks at the files before and after. What fastprune changes
itself, it changes by `fastprune.deletion.deleter`: it moves files into a live run of the trash, and
puts them back.

Why no pull can lose a blob by this. A pull writes its manifest first. Then it looks at each blob,
and fetches what is not there. Then the server adds the manifest to its memory, and counts the
references. So a prune by the server removes a blob that a pull under way has just seen; so would
fastprune. Against that stands one rule: a blob is deleted only after the manifests were listed
once more since it left its place. A pull whose manifest is in that listing gets its blobs back. A
pull whose manifest is not had not begun, so it looks for the blobs later and fetches them.

1. Before a request, each blob that the server may remove for it gets a second name in a live run
   of the trash (`aside`). After it, the manifests are listed (`looking`), and what one of them
   needs gets its first name back. Only then the second names go.
2. What the server does not know is moved to the live run, and the manifests are listed then. What
   one needs is moved back. What was moved is deleted by the next run, which looks again before
   that (`leftovers`).
3. What the server counts references to, for whatever reason, is not moved: it may give it to a
   client.

A crash at any point leaves files in the live run, and the next run decides about them by what the
manifests say then. Folders of manifests are made durable before second names go: if a power cut
brings a manifest back, its blobs are still set aside.

A window is left. If a pull begins after the last look before a request, finds a blob there, and
ends before the blob is back, its client gets an error, and the server may have counted the blobs of
this image wrongly. The report names such images.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime
from itertools import compress

import numpy as np

from fastprune.deletion.accounts import Account
from fastprune.deletion.aside import opened_aside
from fastprune.deletion.deleter import Deleter, Unlinker
from fastprune.deletion.leftovers import Tidied, tidy
from fastprune.deletion.live_run import LiveRun
from fastprune.deletion.looking import Look, blobs_of, miscounted
from fastprune.deletion.phases import Phases, RunContext
from fastprune.deletion.requests import ask_for, first_part, leave_what_is_half_removed
from fastprune.deletion.unreached import move_blobs, move_manifests
from fastprune.errors import ServerError
from fastprune.executors.threads import in_thread
from fastprune.guard.drift import young_manifests
from fastprune.index.cache_index import Rows
from fastprune.index.refcounts import list_levels
from fastprune.plan.prune_plan import PrunePlan, freed
from fastprune.report.prune_report import AskedServer, PruneReport
from fastprune.server.asked import Server


async def carry_out(
    plan: PrunePlan,
    mover: Deleter,
    run: str,
    server: Server,
    context: RunContext,
    *,
    grace: float,
    clock: Callable[[], float] = time.monotonic,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> PruneReport:
    """Carries out a plan beside a running server, once.

    The caller holds the lock on the cache, and has made sure that this server serves it. The plan
    is of a scan with its list. The mover moves files to the live run of this id. For `grace` and
    `clock`, see `LiveRun`.

    Returns:
        What was removed, and what was not and why. An error of the server ends the run.

    Raises:
        ServerError: The server did not answer as it should, and nothing was removed.
        TrashError: Blobs can't be set aside; nothing was removed.
        UsageError: The plan knows nothing of the server.
    """
    phases, account = Phases(context, batch_size=mover.batch_size), Account(plan)
    look = await in_thread(Look, plan.index)
    with ExitStack() as opened:
        aside = await in_thread(opened.enter_context, opened_aside(plan.index, run))
        live = LiveRun(plan, server, mover, phases, account, look, aside, clock, grace)
        return await _Asking(live, context, run, now()).carry_out()


class _Asking:
    """One plan being carried out."""

    def __init__(self, live: LiveRun, context: RunContext, run: str, now: datetime) -> None:
        self._live, self._context, self._run, self._now = live, context, run, now
        self._tidied = Tidied()

    async def carry_out(self) -> PruneReport:
        started, live = time.monotonic(), self._live
        planned, crew, error = live.plan, live.phases.crew, None
        with live.phases.under_way("removing", live.account.total):
            try:
                with crew.stopping("the cache or its trash can't be looked at"):
                    await self._begin()
                    for level in list_levels(planned.index, planned.lists):
                        await self._manifests("list", level[live.plan.removed[level]])
                    await self._manifests("image", live.plan.images)
                    await move_blobs(live, live.account.removed("blob")[0])
                    await self._look_for_ghosts()
            except ServerError as failure:
                error = failure
                crew.stop(str(failure))
        report = live.account.report(live.plan, live.phases, time.monotonic() - started)
        if error is not None and not report.removed_any:
            raise error
        return replace(report, asked=self._asked())

    def _asked(self) -> AskedServer:
        live, tidied = self._live, self._tidied
        moved, size = live.account.moved()
        return AskedServer(
            requests=live.requests,
            put_back=live.put_back + tidied.put_back,
            moved=moved,
            bytes_moved=size,
            emptied=tidied.files,
            bytes_emptied=tidied.size,
            counted=live.counted,
            shared=tuple(sorted(live.shared)),
            disturbed=tuple(sorted(live.disturbed)),
        )

    async def _begin(self) -> None:
        """Looks at the cache, tries what all rests on, and empties earlier live runs."""
        live, index = self._live, self._live.plan.index
        if not await live.phases.crew.may_begin():
            return
        await in_thread(self._look)
        live.stop_if_unknown()
        images = live.plan.images[live.known.loaded(len(index))[live.plan.images]]
        # Their blobs will have to be set aside. Some of them are enough to try that.
        some = live.names(blobs_of(index, images[:100]))
        await in_thread(live.aside.check_links, some)
        live.miscounted = miscounted(live.look, live.known, await live.server.counted_blobs())
        if live.phases.crew.must_stop():
            return
        phases = Phases(RunContext(self._context.limits), batch_size=Unlinker.batch_size)
        self._tidied = await tidy(index, live.look, live.server, phases, self._run, self._now)
        live.phases.failures += phases.failures
        if self._tidied.failed:
            live.phases.crew.stop(f"files that can't be put back: {self._tidied.failed[0]}")

    def _look(self) -> None:
        """Looks at the cache, and for pulls that the scan has seen under way. Blocking.

        The server did not know these manifests when they were scanned, and they are young.
        """
        live = self._live
        index = live.plan.index
        stay = ~(live.known.loaded(len(index)) | live.plan.removed | index.is_list)
        pulled = young_manifests(index, np.flatnonzero(stay), live.grace)
        live.look.is_new(pulled)
        with_them = live.plan.removed.copy()
        with_them[pulled] = True
        live.held_by_pulls = freed(index, with_them) if len(pulled) else pulled
        live.look.again()

    async def _look_for_ghosts(self) -> None:
        """Finds what the server lists although its file went by a request of this run.

        A pull by another tag may have written the same file, before the server removed it for
        the tag that it was asked for. It adds the manifest to its memory only after that.
        """
        live, index = self._live, self._live.plan.index
        went = np.concatenate([live.account.removed(kind)[0] for kind in ("list", "image")])
        if not live.requests or not len(went):
            return
        paths = {index.path(row) for row in went.tolist()}
        folder_of = index.layout.manifest_folder_of
        names = (await live.server.listing()).names
        listed = {f"{folder_of(url)}/{name}": url for url, name in names.items()}
        missing = await in_thread(self._missing, sorted(paths.intersection(listed)))
        live.disturbed.update(missing)
        for path in missing:
            # The server writes the file: what it lists has a file, as the next run expects it.
            await live.server.head(listed[path])

    def _missing(self, paths: list[str]) -> list[str]:
        """Which of some files are not in the cache."""
        parts = [path.partition("/") for path in paths]
        missing = [self._live.aside.missing([name], folder)[0] for folder, _, name in parts]
        return list(compress(paths, missing))

    async def _manifests(self, kind: str, rows: Rows) -> None:
        """Removes lists or images: those that the server knows by asking, the others by moving."""
        live, crew = self._live, self._live.phases.crew
        if not len(rows) or not await crew.may_begin():
            return
        loaded = live.known.loaded(len(live.plan.index))
        for folder, *ends in live.plan.index.folder_rows:
            here = rows[slice(*np.searchsorted(rows, ends))]
            here = await leave_what_is_half_removed(live, kind, folder, here)
            asked, away = here[loaded[here]], here[~loaded[here]]
            while len(asked := asked[live.plan.removed[asked]]) and not crew.must_stop():
                part = first_part(live, asked)
                out_of_reach = await ask_for(live, kind, folder, asked[:part])
                away, asked = np.union1d(away, out_of_reach), asked[part:]
            await move_manifests(live, kind, folder, away)
