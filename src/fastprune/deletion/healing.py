"""Heals what a running server has in memory although it is damaged on disk: the server forgets it.

Stage: apply. Input: `Findings` or a `RepairPlan`, and a `Server`. Output: findings with what the
server has in memory; what was healed. I/O: asks the server, and looks at files.

The server is asked to prune exactly the image URLs that it lists with the digest that is damaged,
right before each request. It forgets them, and removes what of them is there. The next pull
brings the image anew.

With an image the server removes the blobs that no image in its memory needs, those of a pull under
way too. So an image waits if a manifest that has come meanwhile, or that seems to be pulled just
now, needs one of its blobs.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import numpy as np

from fastprune.deletion.batches import Crew
from fastprune.deletion.journal import Journal, JournalEntry
from fastprune.deletion.looking import HALF_REMOVED, MISCOUNTED, Look, blobs_of, miscounted
from fastprune.errors import JournalError, ServerError
from fastprune.executors.threads import in_thread
from fastprune.guard.agreement import check_loaded, listed_entries, lost_entries
from fastprune.index.cache_index import Rows
from fastprune.reading.folders import status_of
from fastprune.reading.marks import FileMark
from fastprune.server.asked import Server
from fastprune.server.expressions import in_requests
from fastprune.server.unlisted import never_to_prune
from fastprune.verification.comparing import find_served
from fastprune.verification.findings import Findings
from fastprune.verification.repair_plan import SECONDS_OF_A_PULL
from fastprune.verification.served import ServedManifest, ServedReason
from fastprune.verification.verifier import VerifyOptions

# While the server works on a request, its clients wait.
_MOST_IN_REQUEST = 50
# The server deletes; a repair by itself moves to the trash.
_ACTION = "delete"
_IS_PULLED = "an image that is pulled just now needs one of its blobs; repair again later"
_BLOB_REASON = "last-reference-removed"


async def with_list(server: Server, options: VerifyOptions) -> VerifyOptions:
    """The options with what the server says that it knows, for a scan right after this.

    Raises:
        ServerError: The server gives no answer, or one that is not as it should be.
    """
    return replace(options, scan=replace(options.scan, listing=await server.listing()))


async def with_served(server: Server, findings: Findings) -> Findings:
    """Adds what the server has in memory to findings, of a scan with its list.

    Raises:
        WrongServerError: It serves another cache, as far as its list tells.
        ServerError: The server gives no answer, or one that is not as it should be.
    """
    lost = await lost_entries(server, findings.index)
    check_loaded(findings.index)
    return replace(findings, served=find_served(findings, lost))


class Healing:
    """A repair of what the server has in memory.

    Attributes:
        healed: What the server has forgotten.
        unhealed: What it has not, and why.
        left: How many it was not asked for, because the run was stopped.
    """

    def __init__(
        self, server: Server, findings: Findings, crew: Crew, journal: Journal | None, touched: str
    ) -> None:
        """Asks for nothing yet; the findings have `served`.

        `touched` is a path that was written only to see whether the server writes here.
        """
        self.healed: list[ServedManifest] = []
        self.unhealed: list[tuple[ServedManifest, str]] = []
        self.left = 0
        self._server, self._findings, self._crew = server, findings, crew
        self._journal, self._touched = journal, touched
        self._index = index = findings.index
        self._row_of = {index.path(row): row for row in findings.damaged_rows.tolist()}
        self._look = Look(index)
        self._pulled = np.zeros(len(index.blob_digests), dtype=np.bool_)
        self._pulled[blobs_of(index, self._pulls())] = True
        self._miscounted = np.zeros(len(index.blob_digests), dtype=np.bool_)

    async def heal(self, served: Sequence[ServedManifest]) -> None:
        """Asks the server to forget manifests, once. An answer that is odd ends the run."""
        by_url = {one.url: one for one in served}
        done = 0
        try:
            # Before the server forgets anything of its list.
            if (known := self._index.known) is not None:
                counts = await self._server.counted_blobs()
                self._miscounted = miscounted(self._look, known, counts)
        except ServerError as error:
            self._crew.stop(str(error))
        for urls in in_requests(list(by_url), _MOST_IN_REQUEST):
            if not await self._crew.may_begin():
                break
            try:
                await self._heal([by_url[url] for url in urls])
            except (ServerError, JournalError) as error:
                self._crew.stop(str(error))
            except OSError as error:
                self._crew.stop(f"the cache can't be looked at: {error.strerror}")
            done += len(urls)
        self.left = len(by_url) - done

    async def _heal(self, some: Sequence[ServedManifest]) -> None:
        """One request.

        Raises:
            ServerError: There was no answer, or an odd one; what has become of each is noted.
            JournalError: The journal can't be written.
        """
        import anyio

        listed = await listed_entries(self._server, [one.url for one in some])
        # Someone else has healed what is not listed any more.
        self.healed += [one for one in some if one.entry not in listed]
        some = [one for one in some if one.entry in listed]
        back = await in_thread(lambda: {one for one in some if self._is_back(one)})
        some = self._without(some, back.__contains__, "it is whole again; verify again")
        some = self._without(some, lambda one: never_to_prune(one.url), HALF_REMOVED)
        some = self._without(some, self._is_miscounted, MISCOUNTED)
        # As late as possible: a pull may begin at any time.
        shared = await in_thread(self._shared, some)
        some = self._without(some, shared.__contains__, _IS_PULLED)
        if not some:
            return
        before = await in_thread(self._there, some)
        # What the server may have removed has to be accounted for.
        with anyio.CancelScope(shield=True):
            error: ServerError | None = None
            try:
                await self._server.prune([one.url for one in some])
            except ServerError as failure:
                error = failure
            await self._account(some, before, error)

    async def _account(
        self, some: Sequence[ServedManifest], before: dict[str, int], error: ServerError | None
    ) -> None:
        """Finds out what became of each: by the list and the files, not by the answer."""
        try:
            listed = await listed_entries(self._server, [one.url for one in some])
        except ServerError as failure:
            error = error or failure
            self.unhealed += [(one, str(error)) for one in some]
            listed = None
        after = await in_thread(self._there, some)
        if listed is not None:
            forgotten = self._without(
                some, lambda one: one.entry in listed, "the server lists it still, or again"
            )
            self.healed += self._without(
                forgotten,
                lambda one: one.path in after,
                "the server has forgotten it, but its file is still there",
            )
        if self._journal is not None:
            await self._journal.note(list(self._entries(some, before, after)))
            await self._journal.settle()
        if error is not None:
            raise error

    def _without(
        self, some: Sequence[ServedManifest], fails: Callable[[ServedManifest], bool], why: str
    ) -> list[ServedManifest]:
        """Notes that those which fail are not healed, and why; gives the others."""
        self.unhealed += [(one, why) for one in some if fails(one)]
        return [one for one in some if not fails(one)]

    def _is_back(self, one: ServedManifest) -> bool:
        """Whether what was missing has come since it was found."""
        index = self._index
        if one.reason is ServedReason.NO_FILE:
            path = os.path.join(index.root, one.path)
            return one.path != self._touched and os.path.lexists(path)
        if one.reason is not ServedReason.MISSING_BLOB:
            return False
        missing = index.blob_names(np.intersect1d(self._blobs([one]), self._findings.missing))
        folder = os.path.join(index.root, index.layout.blob_folder)
        return all(os.path.lexists(os.path.join(folder, name)) for name in missing)

    def _is_miscounted(self, one: ServedManifest) -> bool:
        """Whether the server counts too few references to a blob, as a failed pull leaves it."""
        return bool(self._miscounted[self._blobs([one])].any())

    def _pulls(self) -> list[int]:
        """The rows that may belong to pulls that were under way when the cache was scanned."""
        findings, known = self._findings, self._index.known
        if known is None:
            return []
        loaded = known.loaded(len(self._index))
        written = findings.marks[:, FileMark._fields.index("mtime")]
        young = findings.marked_rows[written >= (time.time() - SECONDS_OF_A_PULL) * 1e9]
        return [row for row in np.intersect1d(young, findings.broken).tolist() if not loaded[row]]

    def _shared(self, some: Sequence[ServedManifest]) -> set[ServedManifest]:
        """Those that share a blob with an image that is pulled now.

        Those without a file are not among them: nobody knows their blobs.
        """
        self._look.again()
        shared = set()
        for one in some:
            blobs = self._blobs([one])
            wanted = self._pulled[blobs] | self._look.wanted(blobs)
            if wanted.any() or (self._look.unknown and len(blobs)):
                shared.add(one)
        return shared

    def _blobs(self, some: Sequence[ServedManifest]) -> Rows:
        """The blobs of those that have a row."""
        rows = [self._row_of[one.path] for one in some if one.path in self._row_of]
        return blobs_of(self._index, rows)

    def _there(self, some: Sequence[ServedManifest]) -> dict[str, int]:
        """Which of the files of some manifests are there, blobs too: path -> bytes."""
        index = self._index
        names = index.blob_names(self._blobs(some))
        paths = [one.path for one in some]
        paths += [f"{index.layout.blob_folder}/{name}" for name in names]
        found = {path: status_of(os.path.join(index.root, path)) for path in paths}
        return {path: status.st_size for path, status in found.items() if status is not None}

    def _entries(
        self, some: Sequence[ServedManifest], before: dict[str, int], after: dict[str, int]
    ) -> Iterator[JournalEntry]:
        """What the journal is told: of each manifest, and of each blob that has gone."""
        gone = {path: size for path, size in before.items() if path not in after}
        failed = {one.url: why for one, why in self.unhealed}
        for one in some:
            row, kind = self._row_of.get(one.path), "unreadable"
            if row is not None:
                kind = "list" if self._index.is_list[row] else "image"
            # Several URLs may lead to a file: its bytes count once.
            size, error = gone.pop(one.path, 0), failed.get(one.url)
            became = "failed" if error else "removed"
            yield JournalEntry(
                kind, one.path, one.url, one.reason.text, size, became, error, action=_ACTION
            )
        for path, size in sorted(gone.items()):
            yield JournalEntry(
                "blob", path, None, _BLOB_REASON, size, "removed", None, action=_ACTION
            )
