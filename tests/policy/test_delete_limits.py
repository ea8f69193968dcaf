"""Delete limits: values just at the limit and beyond it, and what the library does."""

from __future__ import annotations

import math
from pathlib import Path

import anyio
import pytest
from tests.hazards.steps import scan_now
from tests.support.cachebuilder import CacheBuilder, Corruption, files, snapshot

import fastprune
from fastprune import (
    ApplyOptions,
    DeleteLimitError,
    DeleteLimits,
    Exclusion,
    Policy,
    PrunePlan,
    UsageError,
    make_plan,
)

ALL = Policy(patterns=(".",))
SOME = Policy(patterns=("r/a",))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Eight manifests; three of them are of r/a: a list, its image, and another image."""
    builder = CacheBuilder(tmp_path / "cache")
    child = builder.image("r/a@sha256:" + "12" * 32, layers=[builder.blob(1000)])
    builder.index("r/a:1", children=[child])
    builder.image("r/a:2", layers=[builder.blob(500)])
    for number in range(5):
        builder.image(f"r/b:{number}", layers=[builder.blob(100)])
    return builder.root


def plan_of(root: Path, policy: Policy = SOME, *, skip_corrupt: bool = False) -> PrunePlan:
    return make_plan(scan_now(root), policy, skip_corrupt=skip_corrupt)


def exceeded(limits: DeleteLimits, plan: PrunePlan) -> list[tuple[str, float, float]]:
    return [(one.limit, one.most, one.planned) for one in limits.exceeded_by(plan)]


def test_what_is_within_every_limit_to_the_last_one_may_go(root: Path) -> None:
    plan = plan_of(root)
    limits = DeleteLimits(count=3, size=plan.bytes_freed, percent=37.5)
    assert exceeded(limits, plan) == []
    limits.enforce(plan)


def test_one_more_is_refused_with_the_numbers_of_each_limit(root: Path) -> None:
    plan = plan_of(root)
    size = plan.bytes_freed
    assert size > 1500
    limits = DeleteLimits(count=2, size=size - 1, percent=37.4)
    assert exceeded(limits, plan) == [
        ("max-delete-count", 2, 3),
        ("max-delete-size", size - 1, size),
        ("max-delete-percent", 37.4, 37.5),
    ]
    with pytest.raises(DeleteLimitError) as refusal:
        limits.enforce(plan)
    assert refusal.value.exit_code == 4
    assert str(refusal.value) == (
        "the plan goes beyond the delete limits: 3 manifests would go, max-delete-count "
        f"allows 2; {size} bytes ({size / 1000:.1f} kB) would come free, max-delete-size allows "
        f"{size - 1} bytes ({(size - 1) / 1000:.1f} kB); 3 of 8 manifests (37.5 %) would go, "
        "max-delete-percent allows 37.4 %"
    )


def test_limits_of_nothing_let_only_an_empty_plan_pass(root: Path) -> None:
    nothing = DeleteLimits(count=0, size=0, percent=0)
    assert exceeded(nothing, plan_of(root, Policy(patterns=("no such image",)))) == []
    assert len(exceeded(nothing, plan_of(root))) == 3


def test_a_cache_is_not_emptied_unless_that_is_allowed(root: Path) -> None:
    plan = plan_of(root, ALL)
    assert exceeded(DeleteLimits(), plan) == [("allow-remove-all", 7, 8)]
    assert exceeded(DeleteLimits(allow_remove_all=True), plan) == []
    # One manifest that stays is enough, whatever rule keeps it.
    assert exceeded(DeleteLimits(), plan_of(root, Policy(patterns=(".",), exclude=("b:0",)))) == []
    with pytest.raises(DeleteLimitError) as refusal:
        DeleteLimits().enforce(plan)
    assert "8 manifests of 8 would go, none would be left" in str(refusal.value)
    assert "--allow-remove-all" in refusal.value.hint


@pytest.mark.parametrize("policy", [SOME, Policy(orphans_only=True)], ids=["pattern", "orphans"])
def test_blobs_stay_where_the_manifests_seem_to_be_lost(policy: Policy, root: Path) -> None:
    """A folder that is not mounted looks empty. Then every blob seems to be an orphan."""
    for folder in ("img", "lts"):
        (root / folder).rename(root / f"{folder}.away")
        (root / folder).mkdir()
    plan = plan_of(root, policy)
    assert len(plan.blobs) == 7 + 7
    assert exceeded(DeleteLimits(), plan) == [("allow-remove-all", 0, 0)]
    with pytest.raises(DeleteLimitError, match="there is no manifest, and 14 blobs would go"):
        DeleteLimits().enforce(plan)
    assert exceeded(DeleteLimits(allow_remove_all=True), plan) == []


def test_manifests_that_can_not_be_read_count_as_absent_when_they_are_skipped(
    tmp_path: Path,
) -> None:
    builder = CacheBuilder(tmp_path / "cache")
    builder.corrupt(Corruption.EMPTY)
    builder.blob(10)
    plan = plan_of(builder.root, Policy(orphans_only=True), skip_corrupt=True)
    assert [limit for limit, _, _ in exceeded(DeleteLimits(), plan)] == ["allow-remove-all"]


def test_an_empty_cache_may_be_pruned(tmp_path: Path) -> None:
    plan = plan_of(CacheBuilder(tmp_path / "cache").root)
    assert exceeded(DeleteLimits(percent=0), plan) == []


@pytest.mark.parametrize(
    "limits",
    [
        *(DeleteLimits(count=-1), DeleteLimits(size=-1), DeleteLimits(percent=-0.1)),
        *(DeleteLimits(percent=100.1), DeleteLimits(percent=math.nan)),
    ],
    ids=str,
)
def test_limits_that_make_no_sense_are_usage_errors(limits: DeleteLimits, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="^--max-delete-"):
        limits.check()

    async def prune() -> None:
        await fastprune.prune(tmp_path, SOME, applying=ApplyOptions(delete_limits=limits))

    with pytest.raises(UsageError, match="^--max-delete-"):
        anyio.run(prune)


FORCE = Exclusion(force=True)


def allowing(limits: DeleteLimits | None) -> ApplyOptions | None:
    return None if limits is None else ApplyOptions(delete_limits=limits)


def test_the_library_refuses_and_a_dry_run_says_so_in_its_report(root: Path) -> None:
    limits = DeleteLimits(count=2)
    before = snapshot(root)

    async def prune(*, dry_run: bool, limits: DeleteLimits | None) -> fastprune.PruneReport:
        report = await fastprune.prune(
            root, SOME, dry_run=dry_run, applying=allowing(limits), exclusion=FORCE
        )
        assert report is not None
        return report

    with pytest.raises(DeleteLimitError):
        anyio.run(lambda: prune(dry_run=False, limits=limits))
    rehearsal = anyio.run(lambda: prune(dry_run=True, limits=limits))
    assert ([one.limit for one in rehearsal.exceeded], rehearsal.exit_code) == (
        ["max-delete-count"],
        4,
    )
    assert snapshot(root) == before
    report = anyio.run(lambda: prune(dry_run=False, limits=None))
    assert (report.exceeded, report.exit_code, len(report.manifests)) == ((), 0, 3)


def test_the_library_does_not_empty_a_cache_by_accident(root: Path) -> None:
    async def prune(limits: DeleteLimits | None) -> object:
        return await fastprune.prune(root, ALL, applying=allowing(limits), exclusion=FORCE)

    with pytest.raises(DeleteLimitError):
        anyio.run(prune, None)
    assert len(files(root)) == 8 + 14
    anyio.run(prune, DeleteLimits(allow_remove_all=True))
    assert files(root) == set()
