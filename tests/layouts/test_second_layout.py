"""All that fastprune does, on a cache of another kind; nothing is patched."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from tests.hazards.trashing import RUN, contents_of, in_trash
from tests.property.decoding import decoded
from tests.support.cachebuilder import snapshot
from tests.support.clock import nothing_is_racy
from tests.support.plain_layout import PlainBuilder, PlainLayout

import fastprune
from fastprune import (
    ApplyOptions,
    By,
    DeleteLimits,
    Exclusion,
    JournalEntry,
    LockedCache,
    PlanOptions,
    Policy,
    Reading,
    ScanOptions,
    UsageError,
    VerifyOptions,
)
from fastprune.deletion.trashing import empty, restore
from fastprune.errors import NoCacheError, PlanFileError, UnreadableManifestsError
from fastprune.executors.inline import InlineExecutor
from fastprune.explanation.explaining import explain
from fastprune.explanation.lookup import find_manifests
from fastprune.guard.drift import manifests_changed_at
from fastprune.report.listing import Format, render
from fastprune.scanning.memory import StateFolder
from fastprune.trash.tree import list_trash
from fastprune.tuning.measuring import tune

pytestmark = pytest.mark.anyio

# The name of one folder is the beginning of another's: paths must be told apart all the same.
LAYOUTS = (
    PlainLayout(("manifests",), "layers"),
    PlainLayout(("tag", "tags"), "tagged-layers"),
)
OLD = Policy(pulled_before="2026-01-15T00:00:00")
APPLYING = ApplyOptions(delete_limits=DeleteLimits(allow_remove_all=True))
FORCE = Exclusion(force=True)


def files(root: Path) -> set[str]:
    """All files, by their paths in the cache."""
    return {path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()}


def contents(root: Path) -> dict[str, bytes]:
    return {path: (root / path).read_bytes() for path in files(root)}


class Scene(NamedTuple):
    """A cache: two images share a layer, one of them is old; an old list with its image."""

    builder: PlainBuilder
    options: ScanOptions
    old: set[str]
    stays: set[str]
    orphan: str

    @property
    def planning(self) -> PlanOptions:
        return PlanOptions(self.options)

    def locked(self) -> AbstractAsyncContextManager[LockedCache]:
        return fastprune.locked(self.root, force=True, layout=self.builder.layout)

    @property
    def root(self) -> Path:
        return self.builder.root


@pytest.fixture(params=LAYOUTS, ids=lambda layout: f"{len(layout.manifest_folders)} folders")
def scene(request: pytest.FixtureRequest, tmp_path: Path) -> Scene:
    layout = request.param
    builder = PlainBuilder(tmp_path / "cache", layout)
    shared, own, new = (builder.blob(text) for text in ("shared", "own", "new"))
    of_child, orphan = builder.blob("of the child"), builder.blob("orphan")
    last = len(layout.manifest_folders) - 1
    child = builder.image("r/multi@sha256:" + "ab" * 32, of_child, pulled="2026-01-01")
    old = {
        builder.image("r/a:1", shared, own, pulled="2026-01-01"),
        builder.image_list("r/multi:1", child, pulled="2026-01-01", folder=last),
        child,
        of_child,
        own,
        orphan,
    }
    stays = {builder.image("r/a:2", shared, new, folder=last), shared, new}
    assert files(builder.root) == old | stays
    return Scene(builder, ScanOptions(layout=layout), old, stays, orphan)


async def test_it_is_listed_by_workers_as_in_this_process(scene: Scene) -> None:
    index = await fastprune.scan(scene.root, scene.options, reading=Reading(jobs=2))
    assert index.layout == scene.builder.layout
    rows = np.arange(len(index))
    paths = {index.path(row) for row in rows.tolist()}
    folder = scene.builder.layout.blob_folder
    blobs = {f"{folder}/{name}" for name in index.blob_names(np.arange(index.blobs_present))}
    assert paths | blobs == scene.old | scene.stays
    urls = list(render(index, rows, Format.url))
    assert sorted(urls) == ["r/a:1", "r/a:2", "r/multi:1", "r/multi@sha256:" + "ab" * 32]
    here = await fastprune.scan(scene.root, scene.options, reading=Reading(InlineExecutor()))
    assert list(render(here, rows, Format.url)) == urls


async def test_a_link_for_a_blob_is_foreign_and_not_missing(scene: Scene, tmp_path: Path) -> None:
    (scene.root / scene.orphan).rename(tmp_path / "elsewhere")
    (scene.root / scene.orphan).symlink_to(tmp_path / "elsewhere")
    scene.builder.image("r/linked:1", scene.orphan)
    index = await fastprune.scan(scene.root, scene.options)
    assert index.foreign == (scene.orphan,)
    assert (len(index.foreign_blobs), len(index.missing_blobs)) == (1, 0)


async def test_a_cache_of_another_kind_is_none(scene: Scene) -> None:
    with pytest.raises(NoCacheError, match="it has no folder img/"):
        await fastprune.scan(scene.root)


async def test_it_is_pruned(scene: Scene) -> None:
    plan = fastprune.make_plan(await fastprune.scan(scene.root, scene.options), OLD)
    report = await fastprune.prune(
        scene.root, OLD, planning=scene.planning, applying=APPLYING, exclusion=FORCE
    )
    assert report is not None
    assert not report.failures
    assert files(scene.root) == scene.stays
    assert (len(report.manifests), len(report.blobs)) == (3, 3)
    assert report.bytes_freed == plan.bytes_freed > 0


async def test_scans_of_it_are_remembered(scene: Scene, tmp_path: Path) -> None:
    state = StateFolder(str(tmp_path / "state"))
    options = replace(scene.options, state=state)
    with nothing_is_racy():
        for _ in range(2):
            index = await fastprune.scan(scene.root, options)
            assert decoded(index) == decoded(await fastprune.scan(scene.root, scene.options))
        assert index.identities.any(axis=1).all()
        (file,) = (tmp_path / "state").iterdir()
        before = file.stat().st_ino
        # Nothing was read, so nothing is written.
        await fastprune.scan(scene.root, options)
        assert file.stat().st_ino == before
        planning = PlanOptions(options)
        await fastprune.prune(
            scene.root, OLD, planning=planning, applying=APPLYING, exclusion=FORCE
        )
        assert files(scene.root) == scene.stays
        index = await fastprune.scan(scene.root, options)
        assert decoded(index) == decoded(await fastprune.scan(scene.root, scene.options))


async def test_young_blobs_are_spared(scene: Scene) -> None:
    planning = PlanOptions(scene.options, grace=3600)
    report = await fastprune.prune(
        scene.root, OLD, planning=planning, applying=APPLYING, exclusion=FORCE
    )
    assert report is not None
    assert {path for path in scene.old if path.startswith(scene.builder.layout.blob_folder)} < (
        files(scene.root)
    )


async def test_a_saved_plan_is_applied(scene: Scene, tmp_path: Path) -> None:
    layout = scene.builder.layout
    plan = fastprune.make_plan(await fastprune.scan(scene.root, scene.options), OLD)
    with pytest.raises(UsageError, match=f"in the cache's folder {layout.blob_folder}/"):
        await fastprune.save_plan(plan, scene.root / layout.blob_folder / "plan")
    await fastprune.save_plan(plan, tmp_path / "plan")
    with pytest.raises(PlanFileError, match="not the path of a manifest"):
        await fastprune.load_plan(tmp_path / "plan")
    saved = await fastprune.load_plan(tmp_path / "plan", layout=layout)
    # One of them is pulled before the plan is applied: it stays, with its list or blobs.
    (pulled,) = (path for path in scene.old if "r/a:1" in (scene.root / path).read_text("utf-8"))
    text = (scene.root / pulled).read_text("utf-8")
    (scene.root / pulled).write_text(text.replace("2026-01-01T00:00:00\n\n", "2026-02-01\n\n"))
    async with scene.locked() as cache:
        again = await cache.replan(saved)
        assert again.left_out is not None
        assert [one.path for one in again.left_out if one.url == "r/a:1"] == [pulled]
        await cache.apply(again)
    left = files(scene.root)
    assert scene.stays | {pulled} < left
    assert (len(left & scene.old), scene.orphan in left) == (2, False)


async def test_what_says_something_else_by_now_is_left_alone(scene: Scene) -> None:
    async with scene.locked() as cache:
        plan = await cache.plan(OLD)
        (changed,) = (
            path for path in scene.old if "r/a:1" in (scene.root / path).read_text("utf-8")
        )
        text = (scene.root / changed).read_text("utf-8")
        (scene.root / changed).write_text(text.replace("r/a:1", "r/a:3"))
        report = await cache.apply(plan)
    assert report.changed == (changed,)
    assert changed in files(scene.root)


async def test_blobs_stay_for_an_image_that_is_pulled_meanwhile(scene: Scene) -> None:
    class Pulling:
        """Pulls an image once the first manifests have gone."""

        async def note(self, entries: Sequence[JournalEntry]) -> None:
            if entries[0].kind != "blob":
                scene.builder.image("r/pulled:1", scene.orphan)

        async def settle(self) -> None:
            pass

    async with scene.locked() as cache:
        report = await cache.apply(await cache.plan(OLD), ApplyOptions(journal=Pulling()))
    assert (len(report.blobs), len(report.appeared)) == (0, 1)
    assert scene.orphan in files(scene.root)


async def test_a_prune_goes_to_the_trash_and_back(scene: Scene) -> None:
    before, layout = contents(scene.root), scene.builder.layout
    report = await fastprune.prune(
        scene.root,
        OLD,
        planning=scene.planning,
        applying=replace(APPLYING, trash=True, run=RUN),
        exclusion=FORCE,
    )
    assert report is not None
    assert report.trash_run == RUN
    assert list_trash(str(scene.root), layout).runs == (RUN,)
    assert in_trash(scene.root, RUN) == scene.old
    held = contents_of(scene.root, RUN, layout)
    assert [group.kind for group in held.groups].count("list") == 1
    restored = await restore(str(scene.root), held)
    assert (restored.failures, restored.missing_blobs) == ((), ())
    assert contents(scene.root) == before
    assert not (scene.root / ".fastprune").exists()


async def test_the_trash_is_emptied(scene: Scene) -> None:
    layout = scene.builder.layout
    await fastprune.prune(
        scene.root,
        OLD,
        planning=scene.planning,
        applying=replace(APPLYING, trash=True, run=RUN),
        exclusion=FORCE,
    )
    report = await empty(str(scene.root), [contents_of(scene.root, RUN, layout)])
    assert not report.failures
    assert files(scene.root) == scene.stays
    assert not (scene.root / ".fastprune").exists()


async def test_it_is_verified_and_repaired(scene: Scene) -> None:
    builder, options = scene.builder, VerifyOptions(scan=scene.options, content=True)
    assert (await fastprune.verify(scene.root, options)).is_clean
    last = len(builder.layout.manifest_folders) - 1
    bad = builder.blob("bad")
    needing = builder.image("r/bad:1", bad)
    (scene.root / bad).write_text("dab", "utf-8")
    cut_off = builder.image("r/cut:1", scene.orphan, folder=last)
    text = (scene.root / cut_off).read_text("utf-8")
    (scene.root / cut_off).write_text(text.removesuffix("end\n"), "utf-8")
    other = builder.image("r/other:1", builder.blob("other"))
    (scene.root / other).write_text(
        (scene.root / other).read_text("utf-8").replace("image\n5 ", "image\n4 "), "utf-8"
    )
    with pytest.raises(UnreadableManifestsError):
        fastprune.make_plan(await fastprune.scan(scene.root, scene.options), OLD)
    findings = await fastprune.verify(scene.root, options, reading=Reading(jobs=2))
    index = findings.index
    assert [one.path for one in findings.unreadable] == [cut_off]
    assert [index.path(row) for row in findings.mismatched.tolist()] == [other]
    async with scene.locked() as cache:
        report = await cache.repair(await cache.verify(options), ApplyOptions(run=RUN))
    assert report.trash_run == RUN
    assert in_trash(scene.root, RUN) == {bad, needing, cut_off, other}
    held = contents_of(scene.root, RUN, builder.layout)
    assert {
        f"{group.folder}/{digest.tobytes().hex()}"
        for group in held.groups
        for digest in group.digests
    } == {bad, needing, cut_off, other}
    assert held.files == 4
    assert (await fastprune.verify(scene.root, options)).is_clean


async def test_its_usage_adds_up(scene: Scene) -> None:
    survey = await fastprune.survey(scene.root, options=scene.options)
    sizes = {path: (scene.root / path).stat().st_size for path in files(scene.root)}
    blobs = sum(size for path, size in sizes.items() if path.startswith(scene.orphan[:-64]))
    assert int(survey.blob_bytes.sum()) == blobs
    assert survey.usage(By.repository).total == sum(sizes.values())


async def test_an_image_is_explained(scene: Scene) -> None:
    index = await fastprune.scan(scene.root, scene.options)
    (row,) = find_manifests(index, "a:1").tolist()
    explanation = explain(index, row, fastprune.make_plan(index, OLD))
    assert explanation.index.path(explanation.row) in scene.old
    (same,) = find_manifests(index, index.path(row)).tolist()
    assert same == row


async def test_a_policy_file_may_ask_for_free_space(scene: Scene, tmp_path: Path) -> None:
    (tmp_path / "policy.toml").write_text('[policy]\nmin-free-space = "1B"\n', "utf-8")
    layout = scene.builder.layout
    found = await fastprune.load_policy(tmp_path / "policy.toml", scene.root, layout=layout)
    assert found.policy.free_bytes == 0
    with pytest.raises(NoCacheError):
        await fastprune.load_policy(tmp_path / "policy.toml", scene.root)


async def test_its_folders_are_watched(scene: Scene) -> None:
    index = await fastprune.scan(scene.root, scene.options)
    before = manifests_changed_at(index)
    for folder in scene.builder.layout.manifest_folders:
        os.utime(scene.root / folder, (1, 1))
    assert not set(manifests_changed_at(index)) & set(before)


def ticking() -> Callable[[], float]:
    numbers = count()
    return lambda: next(numbers) / 100


def test_it_is_measured_and_not_changed(scene: Scene) -> None:
    before = snapshot(scene.root)
    report = tune(
        str(scene.root),
        [InlineExecutor()],
        layout=scene.builder.layout,
        clock=ticking(),
        seconds=1,
        files=100,
    )
    assert snapshot(scene.root) == before
    assert (report.manifests, report.blobs) == (4, 5)
