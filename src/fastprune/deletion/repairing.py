"""Carries out a repair: moves bad blobs, then what needs them, to the trash.

Stage: apply. Input: a `RepairPlan` and what moves files. Output: a `RepairReport`. I/O: none of
its own; what moves, moves by `fastprune.deletion.phases`.

A file that is not what it was when it was found damaged is left alone.
`fastprune.verification.repair_plan` says why blobs go first.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from functools import partial

from fastprune.deletion.checks import still_has
from fastprune.deletion.deleter import Batch, Deleter, Outcome
from fastprune.deletion.healing import Healing
from fastprune.deletion.journal import Fact
from fastprune.deletion.phases import Files, Phases, RunContext, batch_of
from fastprune.index.cache_index import CacheIndex
from fastprune.reading.marks import FileMark
from fastprune.server.asked import Server
from fastprune.verification.repair_plan import RepairGroup, RepairPlan, plan_repair
from fastprune.verification.repair_report import RepairReport


async def carry_out(
    plan: RepairPlan,
    mover: Deleter,
    context: RunContext | None = None,
    *,
    server: Server | None = None,
    touched: str = "",
) -> RepairReport:
    """Carries out a repair, once.

    The caller holds the lock on the cache. If a server runs on it, that is asked first to forget
    what the plan heals. For `touched`, see `Healing`.

    Returns:
        What was moved, and what was not and why. A folder that can't be opened or made
        durable ends the repair, before anything that relies on it.
    """
    started = time.monotonic()
    context = context or RunContext()
    phases = Phases(context, batch_size=mover.batch_size)
    index, narrowed = plan.findings.index, plan
    begun: list[tuple[RepairGroup, Files]] = []

    async def move(group: RepairGroup) -> Files:
        files = _files(group, index)
        begun.append((group, files))
        if await phases.crew.may_begin():
            await phases.remove(files, index.root, mover)
        return files

    healing = None
    with phases.under_way("moving", plan.files):
        if server is not None:
            healing = Healing(server, plan.findings, phases.crew, context.journal, touched)
            await healing.heal(plan.healing)
        for group in plan.blobs:
            files = await move(group)
            stay = ~files.are(Outcome.REMOVED, Outcome.GONE)
            if stay.any():
                narrowed = plan_repair(plan.findings, staying=plan.findings.bad_blobs[stay])
        for group in narrowed.manifests:
            await move(group)
    total = plan.count("blob") + sum(len(group.digests) for group in narrowed.manifests)
    return RepairReport(
        plan=plan,
        dry_run=False,
        moved=tuple((group, files.are(Outcome.REMOVED)) for group, files in begun),
        changed=phases.changed,
        already_gone=phases.count(Outcome.GONE),
        staying=plan.files - total,
        left=total - phases.tried if phases.crew.stopped else 0,
        seconds=time.monotonic() - started,
        healed=tuple(healing.healed) if healing else (),
        unhealed=tuple(healing.unhealed) if healing else (),
        unasked=healing.left if healing else 0,
        **phases.account,
    )


def _files(group: RepairGroup, index: CacheIndex) -> Files:
    def batch(at: slice) -> Batch:
        checks = [partial(still_has, FileMark(*mark)) for mark in group.marks[at].tolist()]
        return batch_of(group.digests[at], group.sizes[at], checks)

    def facts(at: slice) -> Iterator[Fact]:
        reasons = group.reason_texts(at)
        urls = index.urls(group.rows[at]) if len(group.rows) else [None] * len(reasons)
        return map(Fact, urls, reasons)

    return Files(group.kind, group.folder, len(group.digests), batch, facts)
