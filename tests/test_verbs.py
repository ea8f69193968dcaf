"""The asynchronous verbs of the library, on both event loops."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TypeVar

import anyio
import anyio.lowlevel
import pytest
from tests.support.cachebuilder import CacheBuilder, files, snapshot
from tests.support.locking import locked
from tests.support.oracle import expected, load
from tests.support.realcaches import unpack

import fastprune
import fastprune.api
from fastprune import (
    ApplyOptions,
    DeleteLimits,
    Exclusion,
    Limits,
    LockedError,
    NoCacheError,
    PlanOptions,
    Policy,
    PrunePlan,
    Reading,
    ScanOptions,
    UsageError,
)
from fastprune.errors import DurationError
from fastprune.executors.inline import InlineExecutor

T = TypeVar("T")
R = TypeVar("R")

pytestmark = pytest.mark.anyio

TYPHA = Policy(patterns=("calico/typha:v3.27.0",))
ANYTHING = DeleteLimits(allow_remove_all=True)
FORCE = Exclusion(force=True)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return unpack("pulled", tmp_path)


async def pruned(
    root: Path, policy: Policy, *, dry_run: bool = False, limits: Limits | None = None
) -> fastprune.PruneReport:
    report = await fastprune.prune(
        root,
        policy,
        dry_run=dry_run,
        applying=ApplyOptions(limits=limits or Limits(), delete_limits=ANYTHING),
        exclusion=FORCE,
    )
    assert report is not None
    return report


async def test_scan_and_make_plan_and_apply_do_together_what_prune_does(root: Path) -> None:
    outcome = expected(load(root), patterns=TYPHA.patterns)
    made = fastprune.make_plan(await fastprune.scan(root), TYPHA)
    rehearsal = fastprune.planned_report(made)
    assert files(root) == outcome.left | outcome.removed
    async with fastprune.locked(root, force=True) as cache:
        plan = await cache.plan(TYPHA)
        assert plan.manifests.tolist() == made.manifests.tolist()
        report = await cache.apply(plan)
    assert files(root) == outcome.left
    assert rehearsal.bytes_freed == report.bytes_freed == outcome.freed_bytes
    assert (rehearsal.dry_run, report.dry_run) == (True, False)


async def test_prune_removes_what_the_oracle_says(root: Path) -> None:
    outcome = expected(load(root), patterns=TYPHA.patterns)
    report = await pruned(root, TYPHA)
    assert files(root) == outcome.left
    assert set(report.seconds) == {"scan", "plan", "apply"}
    assert all(seconds >= 0 for seconds in report.seconds.values())


@pytest.mark.usefixtures("no_blocking")
@pytest.mark.parametrize("dry_run", [True, False])
async def test_a_prune_does_not_block_the_event_loop(dry_run: bool, root: Path) -> None:
    assert len((await pruned(root, TYPHA, dry_run=dry_run)).manifests) == 2


@pytest.mark.usefixtures("no_blocking")
async def test_scan_and_apply_do_not_block_the_event_loop(root: Path) -> None:
    assert len(fastprune.make_plan(await fastprune.scan(root), TYPHA).manifests) == 2
    async with fastprune.locked(root, force=True) as cache:
        assert len((await cache.apply(await cache.plan(TYPHA))).manifests) == 2


async def test_a_dry_run_takes_no_lock_and_changes_nothing(root: Path) -> None:
    before = snapshot(root)
    with locked(root):
        report = await pruned(root, TYPHA, dry_run=True)
    assert len(report.manifests) == 2
    assert snapshot(root) == before


async def test_a_locked_cache_is_refused_before_it_is_scanned(root: Path) -> None:
    before = snapshot(root)
    with locked(root), pytest.raises(LockedError):
        await pruned(root, TYPHA)
    assert snapshot(root) == before
    assert (await pruned(root, TYPHA)).exit_code == 0


async def test_the_lock_is_held_while_it_asks_and_free_afterwards(root: Path) -> None:
    asked: list[PrunePlan] = []

    async def refuse(plan: PrunePlan) -> bool:
        asked.append(plan)
        with pytest.raises(LockedError):
            await pruned(root, TYPHA)
        return False

    before = snapshot(root)
    report = await fastprune.prune(root, TYPHA, confirm=refuse, exclusion=FORCE)
    assert report is None
    assert snapshot(root) == before
    assert len(asked[0].lists) == len(asked[0].images) == 1
    assert (await pruned(root, TYPHA)).exit_code == 0


async def test_it_does_not_ask_when_there_is_nothing_to_do_or_nothing_will_be_done(
    root: Path,
) -> None:
    async def never(plan: PrunePlan) -> bool:
        raise AssertionError

    nothing = Policy(patterns=("no such image",))
    report = await fastprune.prune(root, nothing, confirm=never, exclusion=FORCE)
    assert report is not None
    assert report.plan.is_empty
    assert await fastprune.prune(root, TYPHA, dry_run=True, confirm=never) is not None


async def test_what_can_t_be_done_is_refused_before_anything_is_touched(root: Path) -> None:
    before = snapshot(root)
    with pytest.raises(UsageError):
        await pruned(root, Policy())
    with pytest.raises(NoCacheError):
        await pruned(root / "missing", TYPHA)
    with pytest.raises(NoCacheError):
        await fastprune.scan(root / "missing")
    with pytest.raises(DurationError):
        await fastprune.prune(root, TYPHA, max_seconds=-1, exclusion=FORCE)
    assert snapshot(root) == before


async def test_blobs_in_their_days_of_grace_stay(root: Path) -> None:
    report = await fastprune.prune(root, TYPHA, planning=PlanOptions(grace=10**9), exclusion=FORCE)
    assert report is not None
    assert (len(report.manifests), len(report.blobs)) == (2, 0)
    assert len(report.plan.spared_blobs) > 0
    again = await pruned(root, Policy(orphans_only=True))
    assert len(again.blobs) == len(report.plan.spared_blobs)


@pytest.mark.parametrize("jobs", [1, 2])
async def test_the_number_of_workers_changes_nothing(jobs: int, root: Path) -> None:
    alone = await fastprune.scan(root, reading=Reading(InlineExecutor()))
    index = await fastprune.scan(root, ScanOptions(chunk=7), reading=Reading(jobs=jobs))
    assert (index.digests == alone.digests).all()
    assert (index.blob_digests == alone.blob_digests).all()


async def test_an_executor_that_was_given_stays_open(root: Path) -> None:
    class Given(InlineExecutor):
        closed = False

        def close(self) -> None:
            self.closed = True

    given = Given()
    await fastprune.scan(root, reading=Reading(given))
    await fastprune.prune(root, TYPHA, reading=Reading(given), dry_run=True)
    assert not given.closed


class Blocking(InlineExecutor):
    """Waits in the middle of a scan until it is told to go on."""

    def __init__(self) -> None:
        self.started, self.go_on = threading.Event(), threading.Event()

    def map_unordered(
        self, function: Callable[[T], Iterable[R]], items: Iterable[T], *, ahead: int = 1
    ) -> Iterator[R]:
        self.started.set()
        self.go_on.wait(10)
        yield from super().map_unordered(function, items)


async def test_a_scan_can_be_cancelled(root: Path) -> None:
    executor = Blocking()
    ended: list[str] = []

    async def work() -> None:
        try:
            await fastprune.scan(root, reading=Reading(executor))
        except anyio.get_cancelled_exc_class():
            ended.append("cancelled")
            raise

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(work)
        await anyio.to_thread.run_sync(executor.started.wait)
        tasks.cancel_scope.cancel()
        executor.go_on.set()
    assert ended == ["cancelled"]


async def test_the_event_loop_goes_on_while_a_scan_is_under_way(root: Path) -> None:
    executor = Blocking()
    ticks: list[float] = []

    async def tick() -> None:
        await anyio.to_thread.run_sync(executor.started.wait)
        for _ in range(5):
            ticks.append(time.monotonic())
            await anyio.lowlevel.checkpoint()
        executor.go_on.set()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(tick)
        index = await fastprune.scan(root, reading=Reading(executor))
    assert len(index) == 81
    assert len(ticks) == 5


async def test_prunes_of_several_caches_at_once_do_not_get_in_each_others_way(
    tmp_path: Path,
) -> None:
    roots = []
    for name in "abc":
        (tmp_path / name).mkdir()
        roots.append(unpack("pulled", tmp_path / name))
    outcome = expected(load(roots[0]), patterns=TYPHA.patterns)
    async with anyio.create_task_group() as tasks:
        for one in roots:
            tasks.start_soon(pruned, one, TYPHA)
    assert [files(one) for one in roots] == [outcome.left] * 3


# Limits.


def orphans(root: Path, count: int) -> Iterator[str]:
    builder = CacheBuilder(root)
    for number in range(count):
        yield builder.blob(10, name=f"{number:064x}")


ORPHANS = Policy(orphans_only=True)


@pytest.mark.parametrize("concurrency", [1, 2, 64])
async def test_any_concurrency_removes_the_same(concurrency: int, tmp_path: Path) -> None:
    names = set(orphans(tmp_path, 600))
    report = await pruned(tmp_path, ORPHANS, limits=Limits(concurrency=concurrency))
    assert len(report.blobs) == len(names)
    assert report.bytes_freed == 6000
    assert files(tmp_path) == set()


async def test_a_pace_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three batches of ten, a tenth of a second apart, by a clock that only sleep moves."""
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    monkeypatch.setattr(anyio, "sleep", sleep)
    monkeypatch.setattr(anyio, "current_time", lambda: sum(slept))
    list(orphans(tmp_path, 30))
    report = await pruned(tmp_path, ORPHANS, limits=Limits(concurrency=1, per_second=100))
    assert len(report.blobs) == 30
    assert sum(slept) == pytest.approx(0.2)


# Three batches.
MANY = 600


async def test_a_reason_to_stop_ends_the_run_between_two_batches(tmp_path: Path) -> None:
    list(orphans(tmp_path, MANY))

    def enough() -> str:
        return "enough" if len(files(tmp_path)) < MANY else ""

    limits = Limits(concurrency=1, stopped=enough)
    report = await pruned(tmp_path, ORPHANS, limits=limits)
    assert report.stopped == "enough"
    assert report.exit_code == 3
    assert 0 < report.left == len(files(tmp_path)) == MANY - len(report.blobs)


async def test_time_that_is_over_ends_the_run_cleanly(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    list(orphans(tmp_path, MANY))

    class Clock:
        """A day passes while the first batch goes."""

        @staticmethod
        def monotonic() -> float:
            return time.monotonic() + (86_400 if len(files(tmp_path)) < MANY else 0)

    monkeypatch.setattr(fastprune.api, "time", Clock)
    applying = ApplyOptions(limits=Limits(concurrency=1), delete_limits=ANYTHING)
    report = await fastprune.prune(
        tmp_path, ORPHANS, applying=applying, max_seconds=3_600, exclusion=FORCE
    )
    assert report is not None
    assert report.stopped == "--max-duration"
    assert 0 < report.left == len(files(tmp_path)) < MANY


async def test_a_policy_file_gives_what_a_prune_needs(root: Path, tmp_path: Path) -> None:
    file = tmp_path / "nightly.toml"
    rule = f'[rules.t]\npattern = "{TYPHA.patterns[0]}"\n'
    file.write_text(f'[policy]\nmax-delete-count = 5\ngrace = "1h"\n{rule}', encoding="utf-8")
    found = await fastprune.load_policy(file, root, zone="Europe/Berlin")
    assert found == fastprune.PolicyFile(
        policy=Policy(rules=(fastprune.Rule("t", TYPHA),)),
        grace=3600,
        delete_limits=DeleteLimits(count=5),
        zone="Europe/Berlin",
    )
    by_rules, by_options = (
        await pruned(root, found.policy, dry_run=True),
        await pruned(root, TYPHA, dry_run=True),
    )
    assert by_rules.manifests.tolist() == by_options.manifests.tolist()
    surveyed = await fastprune.survey(root, found.policy)
    assert surveyed.selected is not None
    assert surveyed.selected.nonzero()[0].tolist() == by_options.manifests.tolist()
    file.write_text("[rules.t]\npatern = 1\n", encoding="utf-8")
    with pytest.raises(UsageError, match=f"{file}: rules.t.patern: unknown key"):
        await fastprune.load_policy(str(file), str(root))


async def test_survey_says_where_the_space_goes_and_what_a_selection_gives(root: Path) -> None:
    before = snapshot(root)
    survey = await fastprune.survey(root)
    on_disk = sum(stamp.size for stamp in before.values() if stamp.kind == "file")
    assert {survey.usage(by).total for by in fastprune.By} == {on_disk}
    assert survey.ages().total == on_disk
    selected = await fastprune.survey(root, TYPHA)
    usage = selected.usage(fastprune.By.image)
    report = await pruned(root, TYPHA, dry_run=True)
    assert (len(usage), int(usage.columns.unique[0])) == (1, report.bytes_freed)
    assert snapshot(root) == before
