"""A saved plan that is applied to a changed cache does what the oracle says, and no more."""

from __future__ import annotations

import dataclasses
import os
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import event, given
from hypothesis import strategies as st
from tests.property.profile import examples
from tests.property.running import policy_of, run
from tests.support.apply_oracle import expected_removals, look
from tests.support.cachebuilder import files
from tests.support.oracle import kept_images_lost_blobs, kept_lists_lost_children
from tests.support.scanning import scanned
from tests.support.strategies import CacheSketch, Request, build, caches, on_disk, requests

import fastprune
from fastprune import (
    ApplyOptions,
    DeleteLimits,
    PrunePlan,
    PruneReport,
    SavedPlan,
    make_plan,
    replan,
)
from fastprune.layouts.default import DEFAULT_LAYOUT
from fastprune.plan.decoding import PlanDecoder
from fastprune.plan.encoding import encode
from fastprune.plan.identity import identify

PULLED = "2030-01-01T00:00:00"


@dataclass(frozen=True, slots=True)
class Changes:
    """What happens to a cache between plan and apply.

    Attributes:
        removed: Positions of files that somebody removes, among all, sorted.
        pulled: Positions of manifests that are pulled once more.
        written: What is pulled meanwhile, and replaces files.
    """

    removed: tuple[int, ...]
    pulled: tuple[int, ...]
    written: CacheSketch


_POSITIONS = st.lists(st.integers(0, 30), max_size=2).map(tuple)
_CHANGES = st.builds(
    Changes,
    removed=_POSITIONS,
    pulled=_POSITIONS,
    written=st.one_of(st.just(CacheSketch()), caches(max_manifests=3)),
)


def change(root: Path, sketch: CacheSketch, changes: Changes) -> None:
    names = sorted(files(root))
    for position in changes.removed:
        if position < len(names):
            (root / names[position]).unlink(missing_ok=True)
    again = tuple(
        dataclasses.replace(sketch.manifests[position], pulled=PULLED)
        for position in changes.pulled
        if position < len(sketch.manifests)
    )
    build(CacheSketch(manifests=again), root)
    build(changes.written, root)


def saved(plan: PrunePlan, root: Path) -> SavedPlan:
    """The plan, written in the format of plan files and read again in several pieces."""
    return decoded(b"".join(encode(plan, identify(str(root)), made_by="1")))


def decoded(content: bytes) -> SavedPlan:
    decoder = PlanDecoder(DEFAULT_LAYOUT)
    for first in range(0, len(content), 700):
        decoder.feed(content[first : first + 700])
    return decoder.finish()


async def applied(root: Path, loaded: SavedPlan) -> PruneReport:
    async with fastprune.locked(root, force=True) as cache:
        plan = await cache.replan(loaded)
        allowed = DeleteLimits(allow_remove_all=True)
        return await cache.apply(plan, ApplyOptions(delete_limits=allowed))


@examples(200)
@given(sketch=caches(), request=requests(), changes=_CHANGES)
def test_what_is_removed_is_what_the_oracle_says(
    sketch: CacheSketch, request: Request, changes: Changes
) -> None:
    with on_disk(sketch) as root:
        before = look(root)
        planned = request.expected(before.cache)
        plan = make_plan(scanned(root), policy_of(request), allow_broken=request.allow_broken)
        loaded = saved(plan, root)
        change(root, sketch, changes)
        now = look(root)
        report = run(lambda: applied(root, loaded))
        removed = now.cache.paths - files(root)
        assert removed <= planned.removed
        assert removed == expected_removals(before, planned, now, allow_broken=request.allow_broken)
        after = look(root).cache
        assert kept_images_lost_blobs(now.cache, after) == []
        if not request.allow_broken:
            assert kept_lists_lost_children(now.cache, after) == []
        left = {one.path for one in report.plan.left_out or ()}
        assert left == (planned.removed & now.cache.paths) - removed
        assert report.plan.gone == len(planned.removed - now.cache.paths)
        assert report.exit_code == (3 if left else 0)
        event(f"removed: {bool(removed)}, left: {bool(left)}")


@examples(60)
@given(sketch=caches(), request=requests())
def test_on_an_unchanged_cache_the_saved_plan_is_the_plan(
    sketch: CacheSketch, request: Request
) -> None:
    with on_disk(sketch) as root:
        plan = make_plan(scanned(root), policy_of(request), allow_broken=request.allow_broken)
        again = replan(saved(plan, root), scanned(root))
        for name in ("removed", "blobs", "blob_bytes", "orphans"):
            assert getattr(plan, name).tolist() == getattr(again, name).tolist(), name
        assert (plan.taken_by == again.taken_by)[plan.removed].all()
        assert (again.policy, again.allow_broken) == (plan.policy, plan.allow_broken)
        assert (again.left_out, again.gone) == ((), 0)


@examples(60)
@given(sketch=caches(), request=requests(), data=st.data())
def test_a_file_with_any_byte_changed_or_missing_is_refused(
    sketch: CacheSketch, request: Request, data: st.DataObject
) -> None:
    with on_disk(sketch) as root:
        plan = make_plan(scanned(root), policy_of(request), allow_broken=request.allow_broken)
        content = b"".join(encode(plan, identify(os.fspath(root)), made_by="1"))
    at = data.draw(st.integers(0, len(content) - 1))
    byte = bytes([data.draw(st.sampled_from(b'0a1"{}\n\r '))])
    altered = data.draw(
        st.sampled_from(
            (
                content[:at],
                content[:at] + content[at + 1 :],
                content[:at] + byte + content[at + 1 :],
                content[:at] + byte + content[at:],
            )
        )
    )
    if altered == content:
        return
    with pytest.raises(fastprune.PlanFileError, match="^line "):
        decoded(altered)
