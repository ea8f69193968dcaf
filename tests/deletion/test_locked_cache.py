"""A locked cache: what it refuses, and that it blocks no event loop."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest
from tests.support.cachebuilder import CacheBuilder, files, snapshot
from tests.support.locking import locked as locked_elsewhere
from tests.support.realcaches import unpack

import fastprune
from fastprune import (
    ApplyOptions,
    DeleteLimitError,
    DeleteLimits,
    LockedCache,
    LockedError,
    Policy,
    ServerFinding,
    ServerRunningError,
    UsageError,
    VerifyOptions,
)

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("no_blocking")]

TYPHA = Policy(patterns=("calico/typha:v3.27.0",))
SERVER = ServerFinding(7, "ociregistry serve")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return unpack("pulled", tmp_path)


async def test_it_waits_for_the_lock_while_other_tasks_go_on(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The lock goes when the other task has been there, in the middle of the waiting."""
    waits, ticked = anyio.Event(), anyio.Event()

    def wait(seconds: float) -> None:
        anyio.from_thread.run_sync(waits.set)
        anyio.from_thread.run(ticked.wait)

    monkeypatch.setattr("fastprune.guard.lock.time.sleep", wait)
    elsewhere = locked_elsewhere(root)
    elsewhere.__enter__()

    async def tick() -> None:
        await waits.wait()
        elsewhere.__exit__(None, None, None)
        ticked.set()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(tick)
        async with fastprune.locked(root, wait=60, force=True) as cache:
            assert ticked.is_set()
            assert cache.no_lock == ""


async def test_who_waits_for_the_lock_can_be_cancelled(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits = anyio.Event()
    monkeypatch.setattr(
        "fastprune.guard.lock.time.sleep", lambda seconds: anyio.from_thread.run_sync(waits.set)
    )

    async def work() -> None:
        async with fastprune.locked(root, wait=60, force=True):
            raise AssertionError

    with locked_elsewhere(root):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(work)
            await waits.wait()
            tasks.cancel_scope.cancel()
    async with fastprune.locked(root, force=True):
        pass


async def test_the_lock_is_held_inside_and_free_afterwards(root: Path) -> None:
    async def fail() -> None:
        async with fastprune.locked(root, force=True):
            with pytest.raises(LockedError):
                async with fastprune.locked(root, force=True):
                    raise AssertionError
            raise KeyError

    with pytest.raises(KeyError):
        await fail()
    async with fastprune.locked(root, force=True):
        pass


async def test_a_server_is_refused_before_the_lock_is_taken(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fastprune.guard.servers.find_servers", lambda root: (SERVER,))
    with locked_elsewhere(root), pytest.raises(ServerRunningError):
        async with fastprune.locked(root):
            raise AssertionError
    async with fastprune.locked(root, force=True) as cache:
        assert cache.overridden == (SERVER,)
        report = await cache.apply(await cache.plan(TYPHA))
    assert (report.overridden, report.exit_code) == ((SERVER,), 0)


async def test_a_plan_is_carried_out_once(root: Path) -> None:
    async with fastprune.locked(root, force=True) as cache:
        plan = await cache.plan(TYPHA)
        assert len((await cache.apply(plan)).manifests) == 2
        before = snapshot(root)
        with pytest.raises(UsageError, match="the plan can be used only once"):
            await cache.apply(plan)
    assert snapshot(root) == before


async def test_a_plan_of_somebody_else_is_refused(root: Path) -> None:
    before = snapshot(root)
    foreign = fastprune.make_plan(await fastprune.scan(root), TYPHA)
    async with fastprune.locked(root, force=True) as earlier:
        old = await earlier.plan(TYPHA)
    async with fastprune.locked(root, force=True) as cache:
        for plan in (foreign, old):
            with pytest.raises(UsageError, match="must come from plan or replan of the same"):
                await cache.apply(plan)
    assert snapshot(root) == before


async def test_findings_are_repaired_once_and_only_its_own(root: Path) -> None:
    (root / "blobs" / min(path.name for path in (root / "blobs").iterdir())).write_bytes(b"bad")
    options = VerifyOptions(content=True)
    foreign = await fastprune.verify(root, options)
    async with fastprune.locked(root, force=True) as cache:
        with pytest.raises(UsageError, match="findings must come from verify of the same"):
            await cache.repair(foreign)
        findings = await cache.verify(options)
        assert (await cache.repair(findings)).exit_code == 0
        with pytest.raises(UsageError, match="the findings can be used only once"):
            await cache.repair(findings)


async def test_nothing_can_be_done_when_the_lock_is_gone(root: Path) -> None:
    async with fastprune.locked(root, force=True) as cache:
        plan = await cache.plan(TYPHA)
        findings = await cache.verify()
    before = snapshot(root)
    late: list[Callable[[], Awaitable[object]]] = [
        lambda: cache.apply(plan),
        lambda: cache.repair(findings),
        cache.empty,
    ]
    for work in late:
        with pytest.raises(UsageError, match="is not locked any more"):
            await work()
    assert snapshot(root) == before


async def test_a_plan_beyond_the_delete_limits_is_refused_and_stays_good(root: Path) -> None:
    before = snapshot(root)
    async with fastprune.locked(root, force=True) as cache:
        plan = await cache.plan(TYPHA)
        with pytest.raises(DeleteLimitError):
            await cache.apply(plan, ApplyOptions(delete_limits=DeleteLimits(count=1)))
        assert snapshot(root) == before
        assert len((await cache.apply(plan)).manifests) == 2


async def moved(cache: LockedCache) -> str:
    report = await cache.apply(await cache.plan(TYPHA), ApplyOptions(trash=True))
    assert report.trash_run
    return report.trash_run


async def test_what_was_moved_comes_back_or_goes_for_good(root: Path) -> None:
    before = files(root)
    async with fastprune.locked(root, force=True) as cache:
        run = await moved(cache)
        (contents,) = (await fastprune.list_trash(root)).runs
        assert (contents.run, contents.files) == (run, len(before - files(root)))
        back = await cache.restore(run[:-2])
        assert (back.exit_code, sum(back.counts.values())) == (0, contents.files)
        assert files(root) == before
        with pytest.raises(UsageError, match="no run"):
            await cache.restore(run)
        await moved(cache)
        assert (await cache.empty(older_than=timedelta(days=1))).runs == ()
        assert (await cache.empty([])).runs == ()
        assert sum((await cache.empty()).counts.values()) == contents.files
    assert (await fastprune.list_trash(root)).runs == ()


async def test_for_the_trash_alone_no_server_matters_and_nothing_else_can_be_done(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with fastprune.locked(root, force=True) as cache:
        run = await moved(cache)
    monkeypatch.setattr("fastprune.guard.servers.find_servers", lambda root: (SERVER,))
    before = files(root)
    async with fastprune.locked(root, trash_only=True) as cache:
        for work in (cache.apply(await cache.plan(Policy(patterns=("curl",)))), cache.restore(run)):
            with pytest.raises(UsageError, match="is held with trash_only"):
                await work
        assert files(root) == before
        assert (await cache.empty([run])).runs == (run,)


async def test_a_saved_plan_is_carried_out_as_far_as_it_holds(root: Path, tmp_path: Path) -> None:
    await fastprune.save_plan(await fastprune.plan_prune(root, TYPHA), tmp_path / "plan")
    saved = await fastprune.load_plan(tmp_path / "plan")
    async with fastprune.locked(root, force=True) as cache:
        report = await cache.apply(await cache.replan(saved))
    assert len(report.manifests) == 2


async def test_explain_says_what_a_prune_would_do(root: Path) -> None:
    before = snapshot(root)
    found = await fastprune.explain(root, "calico/typha:v3.27.0", TYPHA)
    assert found.verdict is not None
    assert (found.verdict.goes, found.index.is_list[found.row]) == (True, True)
    # The list names more than is cached.
    assert found.uncached is not None
    assert found.uncached > 0
    with pytest.raises(UsageError, match="may mean any of these"):
        await fastprune.explain(root, "docker.io/")
    assert snapshot(root) == before


async def test_tune_measures_and_leaves_nothing_behind(tmp_path: Path) -> None:
    builder = CacheBuilder(tmp_path / "cache")
    builder.image("a:1", layers=[builder.blob(100)])
    before = snapshot(tmp_path)
    report = await fastprune.tune(builder.root, seconds=1, files=100, jobs=1)
    assert report.manifests == 1
    assert report.recommendation.concurrency > 0
    assert snapshot(tmp_path).keys() == before.keys()
