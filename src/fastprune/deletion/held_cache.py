"""A cache that is held: the one way to change it, for the library and for the command line.

Stage: apply. Input: the path of a cache. Output: plans, findings and contents of the trash, and
reports of what became of them. I/O: reads, and carries out. Reading blocks: until something goes,
a signal ends the command line by an exception. What changes the cache is asynchronous.

A held cache carries out only what it has worked out itself, and that once: a plan that was made
while the cache was not locked may be out of date.
"""

from __future__ import annotations

import os
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Protocol, TypeVar, runtime_checkable

from fastprune.deletion.cache_reader import CacheReader
from fastprune.deletion.pace import Limits
from fastprune.errors import UsageError
from fastprune.guard.exclusive import Exclusion, Hold, hold
from fastprune.pipeline import TimedPlan
from fastprune.policy.delete_limits import DeleteLimits
from fastprune.progress import NoProgress
from fastprune.trash.run_ids import RUN_ID_RANDOM_BYTES, live_run_id, make_run_id

if TYPE_CHECKING:
    from fastprune.deletion.deleter import Deleter
    from fastprune.deletion.journal import Journal
    from fastprune.deletion.phases import RunContext
    from fastprune.guard.server_findings import ServerFinding
    from fastprune.index.cache_index import CacheIndex
    from fastprune.plan.prune_plan import PrunePlan
    from fastprune.report.prune_report import PruneReport
    from fastprune.report.run_report import RunReport
    from fastprune.server.asked import Server
    from fastprune.trash.model import RunContents
    from fastprune.trash.report import TrashReport
    from fastprune.verification.findings import Findings
    from fastprune.verification.repair_plan import RepairPlan
    from fastprune.verification.repair_report import RepairReport

LEAST_GRACE = 3600.0
"""With a running server, younger blobs are never moved: seconds."""

Report = TypeVar("Report", "PruneReport", "RepairReport")
AnyReport = TypeVar("AnyReport", bound="RunReport")


@runtime_checkable
class RunJournal(Protocol):
    """A `Journal` that is told as well how a run begins and how it ends."""

    async def begin(self, plan: PrunePlan | RepairPlan, run: str, action: str) -> None:
        """Before anything goes; `action` is delete or trash.

        Raises:
            UsageError: It can't be recorded; so nothing goes.
        """

    async def end(self, report: PruneReport | RepairReport, stopped: str) -> None:
        """The run came to its end, or to a stop: `stopped` says why it was to stop, if it was."""

    async def fail(self, error: BaseException) -> None:
        """An error has ended the run."""


@dataclass(frozen=True, slots=True)
class ApplyOptions:
    """How a plan or a repair is carried out.

    Attributes:
        trash: Move files to the trash of the cache instead of deleting them; a repair always
            does.
        run: The id of the run in the trash and in the audit log; None makes one.
        delete_limits: What a plan may come to at most. By default one manifest has to be left.
        limits: Pace and end.
        journal: Is told what became of every file: one of your own, or what `open_audit_log`
            gives.
        server: The server that serves this cache: it is asked to remove what the plan says. The
            plan must be of a scan with its list. None if no server runs.
        grace: With a server: blobs that were written in the last so many seconds are not moved.
    """

    trash: bool = False
    run: str | None = None
    delete_limits: DeleteLimits = field(default_factory=DeleteLimits)
    limits: Limits = field(default_factory=Limits)
    journal: Journal | None = None
    server: Server | None = None
    grace: float = LEAST_GRACE


class HeldCache:
    """A cache on which no server runs and that no other fastprune changes.

    Attributes:
        reader: Works out what can be carried out: plans, findings, contents of the trash.
        overridden: Servers that were found and that `force` overrides.
        unlocked: Why the cache is not locked; empty if it is.
    """

    def __init__(self, held: Hold, reader: CacheReader) -> None:
        """Reads nothing yet; `reader` does."""
        self.reader = replace(reader, made=self._remember)
        self.overridden, self.unlocked = held.overridden, held.unlocked
        self._held, self._root = held, held.root
        self._is_held = True
        self._made: list[object] = []
        self._used: list[object] = []
        self._seconds: dict[int, dict[str, float]] = {}

    def let_go(self) -> None:
        """Refuses all that is asked from now on, as the cache is held no more."""
        self._is_held = False

    def _remember(self, result: TimedPlan | Findings | RunContents) -> None:
        """Remembers what was worked out here, so that it can be carried out."""
        if isinstance(result, TimedPlan):
            self._seconds[id(result.plan)] = result.seconds
            self._made.append(result.plan)
        else:
            self._made.append(result)

    async def apply(self, plan: PrunePlan, options: ApplyOptions) -> PruneReport:
        """See `LockedCache.apply`."""
        options.delete_limits.enforce(plan)
        if options.server is not None and options.trash:
            raise UsageError("trash=True can't be combined with a server: it deletes by itself")
        if options.server is not None and plan.index.known is None:
            raise UsageError("the plan must be of a scan with the list of the server")
        self._use(plan, "plan", "plan or replan")
        self._check_server(options)
        if options.server is not None:
            report = await self._ask(plan, options, options.server)
        else:
            from fastprune.deletion.pruning import carry_out

            carry = partial(carry_out, plan)
            report = await self._carry_out(plan, plan.index, carry, options, trash=options.trash)
        seconds = self._seconds[id(plan)] | report.seconds
        return replace(report, trash=options.trash, seconds=seconds)

    async def _ask(self, plan: PrunePlan, options: ApplyOptions, server: Server) -> PruneReport:
        """Carries out a plan by asking a running server, once that is known to be the right one."""
        from fastprune.deletion.asking import carry_out
        from fastprune.deletion.deleter import Unlinker
        from fastprune.deletion.leftovers import live_runs
        from fastprune.deletion.proving import proved
        from fastprune.deletion.pruning import carry_out as nothing
        from fastprune.executors.threads import in_thread
        from fastprune.report.prune_report import AskedServer

        plan = await proved(plan, server)
        run = live_run_id(options.run or _new_run_id())
        context, grace = self._context(options.limits, options.journal), options.grace
        carry = partial(carry_out, plan, run=run, server=server, context=context, grace=grace)

        async def work() -> PruneReport:
            if plan.is_empty and not await in_thread(live_runs, self._root, plan.index.layout):
                # Where nothing goes, the trash gets no run.
                return replace(await nothing(plan, Unlinker(), context), asked=AskedServer())
            report = await _with_trash(plan.index, run, carry)
            moved = report.asked is not None and report.asked.moved
            return replace(report, trash_run=run if moved else "")

        return self._with_guards(await _with_journal(options, plan, run, "delete", work))

    async def repair(self, findings: Findings, options: ApplyOptions) -> RepairReport:
        """See `LockedCache.repair`."""
        self._use(findings, "findings", "verify")
        self._check_server(options)
        from fastprune.deletion.repairing import carry_out
        from fastprune.verification.repair_plan import plan_repair, plan_repair_beside

        if options.server is None:
            carry = partial(carry_out, plan := plan_repair(findings))
        elif findings.served is None:
            raise UsageError("the findings must come from with_served, as there is a server")
        else:
            plan = plan_repair_beside(findings, time.time())
            touched = ""
            if not plan.is_empty:
                from fastprune.guard.agreement import make_sure

                proof = await make_sure(options.server, findings.index, healing=True)
                touched = proof.path if proof else ""
            carry = partial(carry_out, plan, server=options.server, touched=touched)
        return await self._carry_out(plan, findings.index, carry, options, trash=True)

    async def with_served(self, findings: Findings, server: Server) -> Findings:
        """Adds what a running server has in memory to findings; see `healing.with_served`.

        The findings are what `verify` of this cache gave, after a scan with the server's list.
        Those that are returned can be carried out with this server instead of them.
        """
        from fastprune.deletion.healing import with_served

        self._use(findings, "findings", "verify")
        asked = await with_served(server, findings)
        self._remember(asked)
        return asked

    def _check_server(self, options: ApplyOptions) -> None:
        """Makes sure that a server that may run on the cache is asked."""
        if self._held.exclusion.named is not None and options.server is None:
            raise UsageError(
                f"{self._root} is held with a server on it, so that server must be asked"
            )

    async def _carry_out(
        self,
        plan: PrunePlan | RepairPlan,
        index: CacheIndex,
        carry_out: Callable[[Deleter, RunContext], Awaitable[Report]],
        options: ApplyOptions,
        *,
        trash: bool,
    ) -> Report:
        """Deletes or moves what is planned, and tells a journal of runs how it began and ended."""
        from fastprune.deletion.deleter import Unlinker

        run = options.run or _new_run_id()
        context = self._context(options.limits, options.journal)

        async def work() -> Report:
            # Where nothing goes, the trash gets no run.
            if plan.is_empty or not trash:
                return await carry_out(Unlinker(), context)
            report = await _with_trash(index, run, lambda mover: carry_out(mover, context))
            return replace(report, trash_run=run if report.removed_any else "")

        action = "trash" if trash else "delete"
        return self._with_guards(await _with_journal(options, plan, run, action, work))

    async def restore(self, contents: RunContents, limits: Limits) -> TrashReport:
        """Puts a run that this cache has read back, once; see `trashing.restore`."""
        self._use(contents, "run", "read_trash")
        from fastprune.deletion.trashing import restore

        return self._with_guards(await restore(self._root, contents, self._context(limits)))

    async def empty(self, runs: Sequence[RunContents], limits: Limits) -> TrashReport:
        """Deletes runs that this cache has read for good, once; see `trashing.empty`."""
        for contents in runs:
            self._use(contents, "run", "read_trash", in_trash=True)
        self._check_held()
        from fastprune.deletion.trashing import empty

        return self._with_guards(await empty(self._root, runs, self._context(limits)))

    def _context(self, limits: Limits, journal: Journal | None = None) -> RunContext:
        from fastprune.deletion.phases import RunContext

        progress = self.reader.progress() or NoProgress()
        return RunContext(limits, progress, journal, self._held.look)

    def _with_guards(self, report: AnyReport) -> AnyReport:
        """The report with the servers that were overridden, and why the cache is not locked."""
        return replace(report, overridden=self.overridden, no_lock=self.unlocked)

    def _use(self, made: object, what: str, by: str, *, in_trash: bool = False) -> None:
        """Makes sure that something can be carried out, and remembers that it was."""
        self._check_held()
        if self._held.exclusion.trash_only and not in_trash:
            raise UsageError(f"{self._root} is held with trash_only: only runs can be deleted")
        if not any(one is made for one in self._made):
            raise UsageError(f"the {what} must come from {by} of the same locked cache")
        if any(one is made for one in self._used):
            raise UsageError(f"the {what} can be used only once; call {by} again")
        self._used.append(made)

    def _check_held(self) -> None:
        if not self._is_held:
            raise UsageError(f"{self._root} is not locked any more; nothing was changed")


def _new_run_id() -> str:
    return make_run_id(datetime.now(UTC), os.urandom(RUN_ID_RANDOM_BYTES))


@contextmanager
def held_cache(
    reader: CacheReader,
    exclusion: Exclusion,
    *,
    overriding: Callable[[tuple[ServerFinding, ...]], None] = lambda found: None,
) -> Iterator[HeldCache]:
    """Holds a cache, so that it can be changed; see `hold`. Blocking.

    The checkpoint of the reader is called while the lock is waited for.
    """
    asks = reader.checkpoint
    with hold(reader.root, reader.layout, exclusion, asks, overriding=overriding) as held:
        cache = HeldCache(held, reader)
        try:
            yield cache
        finally:
            cache.let_go()


async def _with_journal(
    options: ApplyOptions,
    plan: PrunePlan | RepairPlan,
    run: str,
    action: str,
    work: Callable[[], Awaitable[Report]],
) -> Report:
    """Does work, and tells a journal of runs how it began and how it ended."""
    journal = options.journal
    if not isinstance(journal, RunJournal):
        return await work()
    import anyio

    await journal.begin(plan, run, action)
    try:
        report = await work()
    except BaseException as error:
        with anyio.CancelScope(shield=True):
            await journal.fail(error)
        raise
    await journal.end(report, options.limits.stopped())
    return report


async def _with_trash(
    index: CacheIndex, run: str, work: Callable[[Deleter], Awaitable[Report]]
) -> Report:
    """Does work with what moves files to a new run in the trash."""
    import anyio

    from fastprune.deletion.deleter import moving_to_trash
    from fastprune.executors.threads import in_thread

    moving = moving_to_trash(index.root, run, index.layout)
    mover = await in_thread(moving.__enter__)
    try:
        return await work(mover)
    finally:
        with anyio.CancelScope(shield=True):
            await in_thread(moving.__exit__, None, None, None)
