"""After a repair, a damaged random cache is sound; and `trash restore` undoes the repair."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from pathlib import Path

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.hazards.trashing import LATER, RUN, entries, in_trash, restore_now
from tests.property.profile import examples
from tests.property.running import run
from tests.property.test_findings import damaged, verify
from tests.property.test_trash_and_back import CutOffMover, Power, PowerCutError
from tests.support.cachebuilder import FOLDERS, files
from tests.support.damage import Damage, SoundCache, damages, sound_caches
from tests.support.oracle import load
from tests.support.verify_oracle import Found, expected_findings

import fastprune
from fastprune import ApplyOptions, Limits, Policy, Reading, RepairReport, VerifyOptions, make_plan
from fastprune.deletion.deleter import moving_to_trash
from fastprune.deletion.phases import RunContext
from fastprune.deletion.repairing import carry_out
from fastprune.errors import UnreadableManifestsError
from fastprune.executors.inline import InlineExecutor
from fastprune.layouts.default import DEFAULT_LAYOUT
from fastprune.trash.tree import list_trash
from fastprune.verification.repair_plan import plan_repair
from fastprune.verification.repair_report import as_document, planned_report


def repair(root: Path, trash_run: str = RUN, *, content: bool = True) -> RepairReport:
    async def work() -> RepairReport:
        async with fastprune.locked(root, force=True, reading=Reading(InlineExecutor())) as cache:
            findings = await cache.verify(VerifyOptions(content=content))
            return await cache.repair(findings, ApplyOptions(run=trash_run, limits=Limits(1)))

    return run(work)


def must_move(root: Path, found: Found) -> set[str]:
    """The damaged files, and the images that need a bad blob."""
    bad = found.resized | found.altered
    needing = {
        image.path
        for image in load(root).manifests.values()
        if bad & {f"blobs/{blob}" for blob in image.blobs}
    }
    broken = {path for path, _ in found.broken}
    unreadable = found.unreadable - load(root).unknown
    return set(bad | unreadable | found.mismatched) | broken | needing


def moved(report: RepairReport) -> set[str]:
    return {item["path"] for item in as_document(report, summary=False)["moved"]}


@examples(60)
@given(sketch=sound_caches, what=damages, content=st.booleans())
def test_a_repair_moves_what_is_damaged_and_nothing_else_and_can_be_undone(
    sketch: SoundCache, what: tuple[Damage, ...], content: bool
) -> None:
    with damaged(sketch, what) as root:
        before, there = entries(root), files(root)
        expected = must_move(root, expected_findings(root, content=content))
        planned = planned_report(plan_repair(verify(root, content=content)))
        assert entries(root) == before
        report = repair(root, content=content)
        assert moved(report) == moved(planned) == expected
        assert report.trash_run == (RUN if expected else "")
        assert files(root) == there - expected
        after = expected_findings(root, content=content)
        # Links and the like with the name of a manifest are left to the operator.
        unknown = load(root).unknown
        assert report.exit_code == (3 if unknown else 0)
        assert after.is_clean == verify(root, content=content).is_clean == (not unknown)
        assert after.unreadable == unknown
        index = run(lambda: fastprune.scan(root))
        with pytest.raises(UnreadableManifestsError) if unknown else nullcontext():
            # Otherwise a prune is no longer refused.
            make_plan(index, Policy(orphans_only=True))
        if expected:
            assert in_trash(root) == expected
            assert restore_now(root).exit_code == 0
        assert entries(root) == before


@examples(60)
@given(sketch=sound_caches, what=damages, steps=st.integers(0, 12), content=st.booleans())
def test_wherever_a_repair_is_cut_off_the_next_one_does_the_rest(
    sketch: SoundCache, what: tuple[Damage, ...], steps: int, content: bool
) -> None:
    with damaged(sketch, what) as root:
        before = entries(root)
        expected = must_move(root, expected_findings(root, content=content))
        plan = plan_repair(verify(root, content=content))
        try:
            with moving_to_trash(str(root), RUN, DEFAULT_LAYOUT) as mover:
                cut_off = CutOffMover(mover, Power(steps))
                anyio.run(carry_out, plan, cut_off, RunContext(Limits(concurrency=1)))
        except* PowerCutError:
            pass
        assert set(everything(root)) == files_of(before)
        unknown = load(root).unknown
        assert repair(root, LATER, content=content).exit_code == (3 if unknown else 0)
        assert verify(root, content=content).is_clean == (not unknown)
        # Also what only its size gave away: no bad blob was left behind as an orphan.
        trashed = {
            path
            for name in list_trash(str(root), DEFAULT_LAYOUT).runs
            for path in in_trash(root, name)
        }
        assert trashed == expected
        for name in list_trash(str(root), DEFAULT_LAYOUT).runs:
            assert restore_now(root, name).exit_code == 0
        assert entries(root) == before


def everything(root: Path) -> Iterator[str]:
    """The files in the cache and in the trash."""
    yield from files(root)
    for name in list_trash(str(root), DEFAULT_LAYOUT).runs:
        yield from in_trash(root, name)


def files_of(found: Iterable[str]) -> set[str]:
    return {path for path in found if path.partition("/")[0] in FOLDERS and path.count("/") == 1}
