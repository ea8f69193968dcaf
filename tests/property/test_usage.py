"""On random caches, `du` shows what the oracle says, and its rows add up."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import event, given
from hypothesis import strategies as st
from tests.property.indexing import cache_of, index_of
from tests.property.profile import examples
from tests.support import usage_oracle
from tests.support.oracle import Cache
from tests.support.strategies import CUTOFFS, CacheSketch, Request, caches, requests

from fastprune.index.cache_index import CacheIndex
from fastprune.index.times import NO_TIME
from fastprune.model import parse_time
from fastprune.plan.prune_plan import make_plan
from fastprune.policy.policy import Policy
from fastprune.usage.report import UsageSort, age_rows, sorted_groups, usage_rows, what_ifs
from fastprune.usage.rows import By, Usage
from fastprune.usage.surveying import Survey, survey_of

GROUPINGS = st.sampled_from(
    [(By.registry, None), (By.image, None), *((By.repository, depth) for depth in (None, 1, 2, 9))]
)


def survey(sketch: CacheSketch, policy: Policy | None = None) -> tuple[Cache, Survey]:
    cache, index = cache_of(sketch), index_of(sketch)
    return cache, survey_of(index, policy or Policy(), file_bytes(cache, index))


def file_bytes(cache: Cache, index: CacheIndex) -> Any:
    digests = index.blob_digests[: index.blobs_present]
    return np.array([cache.blobs[one.tobytes().hex()] for one in digests], dtype=np.int64)


def rows_of(usage: Usage) -> dict[usage_oracle.Key, usage_oracle.Row]:
    groups = np.arange(len(usage))
    rows = list(usage_rows(usage, groups, None))
    paths = [f" {usage.index.path(row)}" for row in usage.name_rows.tolist()]
    return {
        (row.kind, row.name + (paths[at] if row.kind == "image" else "")): usage_oracle.Row(
            row.unique, row.shared or 0, row.images, row.manifests, row.blobs or 0
        )
        for at, row in enumerate(rows)
    }


@examples(120)
@given(sketch=caches(), grouping=GROUPINGS)
def test_the_rows_are_those_of_the_oracle(
    sketch: CacheSketch, grouping: tuple[By, int | None]
) -> None:
    cache, surveyed = survey(sketch)
    by, depth = grouping
    usage = surveyed.usage(by, depth=depth)
    assert without_sums(rows_of(usage)) == without_sums(usage_oracle.usage(cache, by, depth=depth))
    assert usage.total == sum(cache.blobs.values()) + sum(
        one.size for one in cache.manifests.values()
    )


def without_sums(rows: dict[usage_oracle.Key, usage_oracle.Row]) -> dict[Any, Any]:
    """What is outside may share as well, but nobody asked about it."""
    return {
        key: row.__class__(row.unique, 0, row.images, row.manifests, row.blobs)
        if key == usage_oracle.OUTSIDE
        else row
        for key, row in rows.items()
    }


@examples(80)
@given(sketch=caches(), request=requests(), grouping=GROUPINGS)
def test_with_a_selection_too(
    sketch: CacheSketch, request: Request, grouping: tuple[By, int | None]
) -> None:
    policy = Policy(request.patterns, request.exclude, request.created_before)
    cache, surveyed = survey(sketch, policy)
    by, depth = grouping
    selected = None
    if policy.selects or policy.exclude:
        everything = policy if policy.selects else Policy((".",), policy.exclude)
        outcome = Request(
            everything.patterns, everything.exclude, everything.created_before
        ).expected(cache)
        selected = outcome.lists | outcome.images
    event(f"selects {bool(selected)}")
    rows = rows_of(surveyed.usage(by, depth=depth))
    expected = usage_oracle.usage(cache, by, depth=depth, selected=selected)
    assert without_sums(rows) == without_sums(expected)


@examples(50)
@given(sketch=caches(), request=requests())
def test_by_layer_every_blob_is_counted_once(sketch: CacheSketch, request: Request) -> None:
    policy = Policy(request.patterns)
    cache, surveyed = survey(sketch, policy)
    usage = surveyed.usage(By.layer)
    rows = list(usage_rows(usage, np.arange(len(usage)), None))
    assert sum(row.unique for row in rows) == usage.total
    assert usage.total == surveyed.usage(By.image).total
    units = usage_oracle.units(cache)
    selected = {usage.index.path(row) for row in range(len(usage.index))}
    if surveyed.selected is not None:
        selected = {usage.index.path(row) for row in np.flatnonzero(surveyed.selected).tolist()}
    for row in rows[: len(usage)]:
        digest = row.name.removeprefix("sha256:")
        users = [
            head
            for head, paths in units.items()
            if any(digest in cache.manifests[path].blobs for path in paths & selected)
        ]
        assert row.unique + (row.shared or 0) == cache.blobs[digest]
        assert row.images == len(users)
        assert row.image in {cache.manifests[head].url for head in users}


@examples(80)
@given(sketch=caches(), request=requests(), cutoff=st.sampled_from(CUTOFFS))
def test_what_if_is_what_a_prune_by_age_leaves(
    sketch: CacheSketch, request: Request, cutoff: str
) -> None:
    # If a digest is in both folders, one file is enough for the lists that stay.
    names = [one.name for one in sketch.manifests]
    if len(set(names)) < len(names):
        return
    asked = Policy(request.patterns, request.exclude)
    cache, surveyed = survey(sketch, asked)
    sizes = surveyed.blob_bytes
    seconds = parse_time(cutoff)
    assert seconds is not None
    (answer,) = what_ifs(surveyed.ages(), {7: seconds})
    plan = make_plan(
        surveyed.index,
        Policy(asked.patterns, asked.exclude, pulled_before=cutoff),
    )
    plan = plan.measured(sizes[plan.blobs])
    assert answer.bytes_freed == plan.bytes_freed
    heads = surveyed.units.heads
    assert answer.images_left == np.count_nonzero(~plan.removed[heads])
    everything = sum(cache.blobs.values()) + sum(one.size for one in cache.manifests.values())
    assert answer.bytes_left == everything - plan.bytes_freed


@examples(40)
@given(sketch=caches(), request=requests(), grouping=GROUPINGS)
def test_the_rows_of_a_selection_are_what_a_prune_of_it_frees(
    sketch: CacheSketch, request: Request, grouping: tuple[By, int | None]
) -> None:
    policy = Policy(request.patterns, request.exclude, request.created_before)
    if not policy.selects:
        return
    _, surveyed = survey(sketch, policy)
    usage = surveyed.usage(grouping[0], depth=grouping[1])
    rows = list(usage_rows(usage, np.arange(len(usage)), None))
    plan = make_plan(surveyed.index, policy)
    plan = plan.measured(surveyed.blob_bytes[plan.blobs])
    stays = ("outside", "shared_outside")
    assert sum(row.unique for row in rows if row.kind not in stays) == plan.bytes_freed


@examples(50)
@given(sketch=caches(), request=requests())
def test_the_histogram_adds_up(sketch: CacheSketch, request: Request) -> None:
    _, surveyed = survey(sketch, Policy(request.patterns))
    ages = surveyed.ages()
    times = sorted({parse_time(time) or 0 for time in CUTOFFS}, reverse=True)
    rows = list(age_rows(ages, dict(enumerate(times, 1))))
    assert all(row.images >= 0 and row.bytes >= 0 for row in rows)
    usage = surveyed.usage(By.repository)
    found = {row.kind: row for row in usage_rows(usage, np.arange(len(usage)), None)}
    outside = [found[kind].unique for kind in ("outside", "shared_outside") if kind in found]
    assert sum(row.bytes for row in rows) + sum(outside) + ages.orphan_bytes == usage.total
    assert ages.orphan_bytes == (found["orphans"].unique if "orphans" in found else 0)


@examples(40)
@given(
    sketch=caches(),
    key=st.sampled_from(list(UsageSort)),
    reverse=st.booleans(),
    top=st.integers(1, 5),
)
def test_the_top_rows_come_in_order_and_the_others_in_one(
    sketch: CacheSketch, key: UsageSort, reverse: bool, top: int
) -> None:
    _, surveyed = survey(sketch)
    usage = surveyed.usage(By.image)
    order = sorted_groups(usage, key, reverse=reverse)
    everything = list(usage_rows(usage, order, None))
    shown = list(usage_rows(usage, order, top))
    values = [
        row.unique + (row.shared or 0) if key is UsageSort.total else getattr(row, key.value)
        for row in everything[: len(usage)]
    ]
    assert values == sorted(values, reverse=reverse)
    assert shown[:top] == everything[: min(top, len(usage))] + shown[min(top, len(usage)) : top]
    assert sum(row.unique for row in shown) == usage.total
    assert sum(row.images for row in shown) == sum(row.images for row in everything)
    assert [row.kind == "others" for row in shown].count(True) == (len(usage) > top)


@pytest.mark.parametrize("by", list(By))
def test_an_empty_cache_has_no_rows(by: By) -> None:
    _, surveyed = survey(CacheSketch())
    usage = surveyed.usage(by)
    assert list(usage_rows(usage, np.arange(len(usage)), None)) == []
    assert surveyed.ages().pulled_before(NO_TIME) == (0, 0)
