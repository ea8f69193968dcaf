"""A plan is saved, the cache changes, the plan is applied: files that are needed again stay."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path
from typing import Any

import anyio
import pytest
from tests.hazards.steps import carry_out_now, scan_now
from tests.support.cachebuilder import TIME, CacheBuilder, Corruption, files
from tests.support.oracle import kept_images_lost_blobs, kept_lists_lost_children, load

import fastprune
from fastprune import (
    OtherCacheError,
    Policy,
    PruneReport,
    Reading,
    SavedPlan,
    UnreadableManifestsError,
    make_plan,
    replan,
)
from fastprune.executors.inline import InlineExecutor
from fastprune.pipeline import PlanOptions, work_out_again
from fastprune.plan.identity import check_same_cache

LATER = "2025-01-01T00:00:00"


def saved(
    root: Path, *patterns: str, allow_broken: bool = False, skip_corrupt: bool = False
) -> SavedPlan:
    """A plan that was saved to a file and loaded again."""
    policy = Policy(patterns=patterns) if patterns else Policy(orphans_only=True)
    return saved_by(root, policy, allow_broken=allow_broken, skip_corrupt=skip_corrupt)


def saved_by(
    root: Path, policy: Policy, *, allow_broken: bool = False, skip_corrupt: bool = False
) -> SavedPlan:
    """The same for any policy."""
    plan = make_plan(scan_now(root), policy, allow_broken=allow_broken, skip_corrupt=skip_corrupt)

    async def there_and_back() -> SavedPlan:
        path = root.parent / "plan"
        await fastprune.save_plan(plan, path)
        return await fastprune.load_plan(path)

    return anyio.run(there_and_back)


def apply(plan: SavedPlan, root: Path) -> PruneReport:
    """Applies a plan; checks that everything that is needed is still there."""
    before = load(root)
    report = carry_out_now(replan(plan, scan_now(root)))
    after = load(root)
    assert kept_images_lost_blobs(before, after) == []
    if not plan.header.allow_broken:
        assert kept_lists_lost_children(before, after) == []
    return report


def left_out(report: PruneReport) -> dict[str, str]:
    assert report.plan.left_out is not None
    return {left.path: left.reason for left in report.plan.left_out}


class Image:
    """A list with one cached child, which has a layer of its own; all three are to go."""

    def __init__(self, builder: CacheBuilder) -> None:
        self.layer = builder.blob(10)
        self.child = builder.image("r/a@sha256:" + "12" * 32, layers=[self.layer])
        self.listed = builder.index("r/a:1", children=[self.child])
        self.manifests = {f"img/{self.listed}", f"img/{self.child}"}
        self.all = files(builder.root)


def test_without_a_change_all_of_it_goes(builder: CacheBuilder) -> None:
    image = Image(builder)
    orphan = builder.blob(3)
    report = apply(saved(builder.root, "r/a:1"), builder.root)
    assert image.all - files(builder.root) == image.all
    assert f"blobs/{orphan}" not in files(builder.root)
    assert (left_out(report), report.plan.gone, report.exit_code) == ({}, 0, 0)


def test_a_new_list_keeps_a_planned_child_and_its_blobs(builder: CacheBuilder) -> None:
    image = Image(builder)
    plan = saved(builder.root, "r/a:1")
    new = builder.index("r/b:1", children=[image.child, "ee" * 32])
    report = apply(plan, builder.root)
    assert files(builder.root) == (image.all | {f"img/{new}"}) - {f"img/{image.listed}"}
    assert left_out(report).keys() == image.all - {f"img/{image.listed}"}
    assert report.exit_code == 3
    causes = {left.needed_by for left in report.plan.left_out or ()}
    assert causes == {"r/b:1", "r/a@sha256:" + "12" * 32}


def test_a_new_list_keeps_its_child_although_the_plan_allows_broken_lists(
    builder: CacheBuilder,
) -> None:
    image = Image(builder)
    plan = saved(builder.root, "r/a@", allow_broken=True)
    # The list that was there when the plan was made may be broken: --allow-broken allows it.
    broken = anyio.run(lambda: _work_out(plan, builder.root))
    assert broken == {f"img/{image.child}"}
    builder.index("r/b:1", children=[image.child, "ee" * 32])
    report = apply(plan, builder.root)
    assert files(builder.root) >= image.all
    assert left_out(report)[f"img/{image.child}"] == "still needed"


async def _work_out(plan: SavedPlan, root: Path) -> set[str]:
    again = replan(plan, await fastprune.scan(root, reading=Reading(jobs=1)))
    return {again.index.path(row) for row in (*again.lists.tolist(), *again.images.tolist())}


@pytest.mark.parametrize("part", ["listed", "child"])
def test_a_new_tag_on_a_part_of_an_image_keeps_the_whole(part: str, builder: CacheBuilder) -> None:
    image = Image(builder)
    plan = saved(builder.root, "r/a:1")
    builder.tag(getattr(image, part), "r/b:9", folder="img")
    report = apply(plan, builder.root)
    assert files(builder.root) == image.all
    assert left_out(report)[f"img/{getattr(image, part)}"] == "changed since the plan was made"


@pytest.mark.parametrize("part", ["listed", "child"])
def test_an_image_that_was_pulled_stays_whole_whatever_part_was_asked_for(
    part: str, builder: CacheBuilder
) -> None:
    image = Image(builder)
    plan = saved(builder.root, "r/a:1")
    url = "r/a:1" if part == "listed" else "r/a@sha256:" + "12" * 32
    builder.tag(getattr(image, part), url, pulled=LATER, folder="img")
    report = apply(plan, builder.root)
    assert files(builder.root) == image.all
    assert left_out(report)[f"img/{getattr(image, part)}"] == "pulled since the plan was made"
    assert left_out(report).keys() == image.all
    assert report.exit_code == 3


def test_a_manifest_that_has_another_tag_now_stays(builder: CacheBuilder) -> None:
    image = Image(builder)
    plan = saved(builder.root, "r/a:1")
    builder.tag(image.listed, "r/a:2")
    report = apply(plan, builder.root)
    assert files(builder.root) == image.all
    assert left_out(report)[f"img/{image.listed}"] == "changed since the plan was made"


def test_an_image_whose_layers_are_others_now_stays(builder: CacheBuilder) -> None:
    name = "ab" * 32
    config = builder.blob(4)
    builder.image("r/a:1", layers=[builder.blob(5)], config=config, name=name)
    plan = saved(builder.root, "r/a")
    builder.image("r/a:1", layers=[builder.blob(6)], config=config, name=name)
    report = apply(plan, builder.root)
    assert f"img/{name}" in files(builder.root)
    assert f"blobs/{config}" in files(builder.root)
    assert left_out(report)[f"img/{name}"] == "changed since the plan was made"


def test_a_list_of_which_one_more_child_is_cached_stays(builder: CacheBuilder) -> None:
    other = CacheBuilder(builder.root.parent / "elsewhere")
    second = other.image("r/a@sha256:" + "34" * 32, layers=[other.blob(7)])
    first = builder.image("r/a@sha256:" + "12" * 32, layers=[builder.blob(8)])
    listed = builder.index("r/a:1", children=[first, second])
    plan = saved(builder.root, "r/a:1")
    everything = files(builder.root)
    shutil.copytree(other.root, builder.root, dirs_exist_ok=True)
    report = apply(plan, builder.root)
    assert files(builder.root) >= everything
    assert left_out(report)[f"img/{listed}"] == "changed since the plan was made"


def test_a_blob_that_a_new_manifest_uses_stays(builder: CacheBuilder) -> None:
    image = Image(builder)
    orphan = builder.blob(3)
    plan = saved(builder.root, "r/a:1")
    new = builder.image("r/b:1", layers=[image.layer, orphan])
    report = apply(plan, builder.root)
    assert files(builder.root) >= {f"img/{new}", f"blobs/{image.layer}", f"blobs/{orphan}"}
    assert not files(builder.root) & image.manifests
    assert left_out(report) == dict.fromkeys(
        (f"blobs/{image.layer}", f"blobs/{orphan}"), "still needed"
    )


def test_what_was_not_named_never_goes(builder: CacheBuilder) -> None:
    """New images that the policy would select, new children, new orphans: not in the plan."""
    Image(builder)
    plan = saved(builder.root, "r/a:1")
    before = files(builder.root)
    builder.blob(77)
    builder.image("r/a:1", layers=[builder.blob(78)], folder="lts")
    new = files(builder.root) - before
    report = apply(plan, builder.root)
    assert files(builder.root) == new
    assert report.exit_code == 0


def test_what_is_gone_already_is_counted_and_no_error(builder: CacheBuilder) -> None:
    image = Image(builder)
    plan = saved(builder.root, "r/a:1")
    (builder.root / "img" / image.listed).unlink()
    (builder.root / "blobs" / image.layer).unlink()
    report = apply(plan, builder.root)
    assert files(builder.root) == set()
    assert (report.plan.gone, left_out(report), report.exit_code) == (2, {}, 0)
    again = apply(plan, builder.root)
    assert (again.plan.gone, again.plan.is_empty, again.exit_code) == (len(image.all), True, 0)


def test_a_copy_in_the_other_folder_does_not_go_in_place_of_the_planned_one(
    builder: CacheBuilder,
) -> None:
    name = builder.image("r/a:1", config=builder.blob(1))
    plan = saved(builder.root, "r/a")
    (builder.root / "img" / name).unlink()
    builder.tag(name, "r/a:1", folder="lts")
    report = apply(plan, builder.root)
    assert f"lts/{name}" in files(builder.root)
    assert report.plan.gone == 1


def test_a_manifest_that_became_unreadable_refuses_all_of_it(builder: CacheBuilder) -> None:
    Image(builder)
    plan = saved(builder.root, "r/a:1")
    path = builder.corrupt(Corruption.ARRAY)
    before = files(builder.root)
    with pytest.raises(UnreadableManifestsError, match="1 manifest file"):
        apply(plan, builder.root)
    assert files(builder.root) == before
    assert path in before


def test_only_the_unreadable_manifests_that_the_plan_skipped_are_skipped(
    builder: CacheBuilder,
) -> None:
    image = Image(builder)
    known = builder.corrupt(Corruption.ARRAY)
    plan = saved(builder.root, "r/a:1", skip_corrupt=True)
    new = builder.corrupt(Corruption.TYPE_9, folder="lts")
    with pytest.raises(UnreadableManifestsError) as refusal:
        apply(plan, builder.root)
    assert [path for path, _ in refusal.value.faults] == [new]
    (builder.root / new).unlink()
    apply(plan, builder.root)
    assert files(builder.root) == {known}
    assert image.all


def test_a_manifest_that_can_be_read_again_keeps_what_it_needs(builder: CacheBuilder) -> None:
    image = Image(builder)
    name = builder.image("r/b:1", layers=[image.layer])
    content = (builder.root / "img" / name).read_bytes()
    (builder.root / "img" / name).write_bytes(content[:50])
    plan = saved(builder.root, "r/a:1", skip_corrupt=True)
    (builder.root / "img" / name).write_bytes(content)
    apply(plan, builder.root)
    assert f"blobs/{image.layer}" in files(builder.root)


def test_a_blob_that_was_written_anew_is_too_young(builder: CacheBuilder) -> None:
    old, young = builder.blob(5), builder.blob(6)
    plan = saved(builder.root)
    long_ago = time.time() - 7200
    os.utime(builder.root / "blobs" / old, (long_ago, long_ago))
    timed = work_out_again(
        str(builder.root), plan, lambda manifests: InlineExecutor(), PlanOptions(grace=3600)
    )
    report = carry_out_now(timed.plan)
    assert files(builder.root) == {f"blobs/{young}"}
    assert len(report.plan.spared_blobs) == 1


def test_a_plan_for_another_cache_is_refused(builder: CacheBuilder, tmp_path: Path) -> None:
    Image(builder)
    plan = saved(builder.root, "r/a:1")
    # The same files, but not the same cache.
    copy = tmp_path / "copy"
    shutil.copytree(builder.root, copy)
    with pytest.raises(OtherCacheError, match="is another one"):
        check_same_cache(plan.header.cache, str(copy))
    # At another path, and behind a link, it is still the same one.
    builder.root.rename(tmp_path / "moved")
    (tmp_path / "link").symlink_to("moved")
    check_same_cache(plan.header.cache, str(tmp_path / "link"))
    # Another cache at the same path is refused.
    copy.rename(builder.root)
    with pytest.raises(OtherCacheError):
        work_out_again(str(builder.root), plan, lambda manifests: InlineExecutor(), PlanOptions())


@pytest.mark.parametrize("change", [{"created": LATER}, {"media": "oci"}], ids=str)
def test_a_manifest_of_which_one_field_differs_stays(
    change: dict[str, Any], builder: CacheBuilder
) -> None:
    same: dict[str, Any] = {"config": builder.blob(1), "name": "ab" * 32, "pulled": TIME}
    builder.image("r/a:1", **same)
    plan = saved(builder.root, "r/a")
    builder.image("r/a:1", **same, **change)
    report = apply(plan, builder.root)
    assert len(files(builder.root)) == 2
    assert left_out(report)[f"img/{same['name']}"] == "changed since the plan was made"
