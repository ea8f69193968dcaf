"""The array kernels compared with plain counting, on random caches without a disk."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.property.indexing import cache_of, index_of
from tests.property.profile import examples
from tests.property.running import policy_of
from tests.support.oracle import Cache, Manifest, is_owned, is_part
from tests.support.strategies import CacheSketch, Request, caches, requests

from fastprune.errors import UnreadableManifestsError
from fastprune.index.cache_index import CacheIndex
from fastprune.index.refcounts import (
    NOBODY,
    count_references,
    drop_references,
    expand,
    owned_children,
    protect,
    references_of,
    unreferenced,
)
from fastprune.plan.prune_plan import PrunePlan, make_plan
from fastprune.policy.policy import Policy

ROWS = st.sets(st.integers(0, 11))


def paths(index: CacheIndex, rows: Iterable[int]) -> set[str]:
    return {index.path(int(row)) for row in rows}


def some_rows(index: CacheIndex, drawn: set[int]) -> list[int]:
    return sorted(row for row in drawn if row < len(index))


def mask(index: CacheIndex, rows: Iterable[int]) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    found = np.zeros(len(index), dtype=bool)
    found[list(rows)] = True
    return found


def manifests_of(index: CacheIndex, cache: Cache, rows: Iterable[int]) -> list[Manifest]:
    return [cache.manifests[index.path(row)] for row in rows]


@examples(80)
@given(sketch=caches(), drawn=ROWS)
def test_counts_are_those_of_a_counter(sketch: CacheSketch, drawn: set[int]) -> None:
    index, cache = index_of(sketch), cache_of(sketch)
    rows = some_rows(index, drawn)
    names = [digest.tobytes().hex() for digest in index.blob_digests]
    whole = Counter(name for one in cache.manifests.values() for name in one.blobs)
    part = Counter(name for one in manifests_of(index, cache, rows) for name in one.blobs)

    counts = count_references(index)
    assert dict(zip(names, counts.tolist(), strict=True)) == {name: whole[name] for name in names}
    assert set(whole) <= set(names)

    array = np.array(rows, dtype=np.intp)
    assert Counter(names[blob] for blob in references_of(index, array).tolist()) == part

    rest = drop_references(index, counts, array)
    assert rest.dtype == np.uint32
    assert dict(zip(names, rest.tolist(), strict=True)) == {
        name: whole[name] - part[name] for name in names
    }
    assert {names[blob] for blob in unreferenced(index, rest).tolist()} == {
        name for name in cache.blobs if whole[name] == part[name]
    }


@examples(80)
@given(sketch=caches(), drawn=ROWS)
def test_owned_parts_have_a_digest_url_or_that_of_their_list_or_a_tag_that_belongs(
    sketch: CacheSketch, drawn: set[int]
) -> None:
    index, cache = index_of(sketch), cache_of(sketch)
    parents = some_rows(index, drawn)
    children, owners = owned_children(index, np.array(parents, dtype=np.intp))
    edges = {
        (child.path, parent.path)
        for parent in manifests_of(index, cache, parents)
        for child in cache.manifests.values()
        if is_owned(cache, child, parent)
    }
    assert paths(index, children) == {child for child, _ in edges}
    assert len(children) == len(set(children.tolist()))
    for child, owner in zip(children.tolist(), owners.tolist(), strict=True):
        assert (index.path(child), index.path(owner)) in edges


@examples(80)
@given(sketch=caches(), selected=ROWS, spared=ROWS)
def test_expansion_takes_owned_children_of_children_and_never_what_is_spared(
    sketch: CacheSketch, selected: set[int], spared: set[int]
) -> None:
    index = index_of(sketch)
    chosen, kept = some_rows(index, selected), some_rows(index, spared)
    removed, taken_by = expand(index, mask(index, chosen), mask(index, kept))
    expected = set(chosen) - set(kept)
    while True:
        children, _ = owned_children(index, np.array(sorted(expected), dtype=np.intp))
        more = set(children.tolist()) - set(kept) - expected
        if not more:
            break
        expected |= more
    assert set(np.flatnonzero(removed).tolist()) == expected
    for row in range(len(index)):
        taker = int(taken_by[row])
        taken = row in expected and row not in chosen
        assert (taker != NOBODY) == taken
        if taken:
            assert removed[taker]
            assert taker in index.part_parents[index.part_rows == row]


@examples(80)
@given(sketch=caches(), drawn=ROWS)
def test_protection_gives_back_the_least_that_lists_which_stay_need(
    sketch: CacheSketch, drawn: set[int]
) -> None:
    index, cache = index_of(sketch), cache_of(sketch)
    going = some_rows(index, drawn)
    removed, kept_by = protect(index, mask(index, going))
    assert set(np.flatnonzero(removed).tolist()) <= set(going)
    staying = manifests_of(index, cache, np.flatnonzero(~removed).tolist())
    had = {one.digest for one in cache.manifests.values()}
    has = {one.digest for one in staying}
    needed = {digest for one in staying for digest in one.children}
    assert needed & had <= has
    for part in (one for one in cache.manifests.values() if one.digest not in has):
        assert not any(is_part(cache, part, one) for one in staying)
    # Each protected manifest is needed: something that stays has it as a part.
    for row in going:
        keeper = int(kept_by[row])
        assert (keeper != NOBODY) == (not removed[row])
        if keeper != NOBODY:
            assert not removed[keeper]
            wholes = (cache.manifests[index.path(row)], cache.manifests[index.path(keeper)])
            assert is_part(cache, *wholes)
            assert row in index.part_rows[index.part_parents == keeper]
    assert not (kept_by[[row for row in range(len(index)) if row not in going]] != NOBODY).any()


@examples(120)
@given(sketch=caches(corrupt=True), request=requests())
def test_a_plan_is_what_the_oracle_says(sketch: CacheSketch, request: Request) -> None:
    index = index_of(sketch)
    outcome = request.expected(cache_of(sketch))
    if outcome.refused:
        with pytest.raises(UnreadableManifestsError):
            plan_for(index, request)
        return
    plan = plan_for(index, request)
    assert paths(index, plan.lists) == outcome.lists
    assert paths(index, plan.images) == outcome.images
    assert blob_paths(plan) == outcome.blobs
    assert paths(index, plan.protected) == set(outcome.protected)
    assert plan.is_empty == (not outcome.removed)


@examples(80)
@given(sketch=caches(), request=requests())
def test_patterns_matched_by_the_scan_and_by_the_plan_select_the_same(
    sketch: CacheSketch, request: Request
) -> None:
    matched_by_plan = plan_for(index_of(sketch), request)
    index = index_of(sketch, pattern_sets=policy_of(request).pattern_sets)
    matched_by_scan = plan_for(index, request)
    assert (matched_by_plan.removed == matched_by_scan.removed).all()


@examples(120)
@given(sketch=caches(), request=requests(), drawn=ROWS)
def test_a_plan_without_some_manifests_keeps_all_that_they_need(
    sketch: CacheSketch, request: Request, drawn: set[int]
) -> None:
    index, cache = index_of(sketch), cache_of(sketch)
    plan = plan_for(index, request)
    staying = [row for row in some_rows(index, drawn) if plan.removed[row]]
    less = plan.without(np.array(staying, dtype=np.intp))
    assert not less.removed[staying].any()
    assert not (less.removed & ~plan.removed).any()
    assert set(less.blobs.tolist()) <= set(plan.blobs.tolist())
    kept = manifests_of(index, cache, np.flatnonzero(~less.removed).tolist())
    assert not blob_paths(less) & {f"blobs/{name}" for one in kept for name in one.blobs}
    if not request.allow_broken:
        had = {one.digest for one in cache.manifests.values()}
        needed = {digest for one in kept for digest in one.children}
        assert needed & had <= {one.digest for one in kept}
    # Everything else that stays is named as protected.
    also = set(np.flatnonzero(plan.removed & ~less.removed).tolist()) - set(staying)
    assert also <= set(less.protected.tolist())


def plan_for(index: CacheIndex, request: Request) -> PrunePlan:
    policy: Policy = policy_of(request)
    return make_plan(
        index, policy, allow_broken=request.allow_broken, skip_corrupt=request.skip_corrupt
    )


def blob_paths(plan: PrunePlan) -> set[str]:
    names = plan.index.blob_digests[plan.blobs]
    return {f"blobs/{digest.tobytes().hex()}" for digest in names}
