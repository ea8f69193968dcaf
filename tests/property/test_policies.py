"""The criteria of a policy compared with slow and obvious ones, on random caches without a disk."""

from __future__ import annotations

from hypothesis import assume, given
from hypothesis import strategies as st
from tests.property.indexing import cache_of, index_of
from tests.property.profile import examples
from tests.support.oracle import is_real_time
from tests.support.rules_oracle import Rules, able_to_go, images_oldest_first, meeting, owned
from tests.support.rules_oracle import newest_pulls as slow_newest_pulls
from tests.support.strategies import CUTOFFS, PATTERNS, CacheSketch, caches

from fastprune import Policy
from fastprune.index.cache_index import CacheIndex
from fastprune.index.times import NO_TIME, parse_times
from fastprune.plan.prune_plan import make_plan
from fastprune.selection.rules.ages import newest_pulls
from fastprune.selection.selecting import select

CUTOFF = st.sampled_from(CUTOFFS)


def selected(index: CacheIndex, policy: Policy, *, allow_broken: bool = False) -> set[str]:
    mask = select(index, policy, allow_broken=allow_broken).selected
    return {index.path(row) for row in mask.nonzero()[0].tolist()}


@examples(120)
@given(sketch=caches())
def test_the_newest_pull_is_a_fixpoint_over_lists_and_children(sketch: CacheSketch) -> None:
    index, pulls = index_of(sketch), slow_newest_pulls(cache_of(sketch))
    found = newest_pulls(index)
    for row in range(len(index)):
        text = pulls[index.path(row)]
        expected = int(parse_times(text.encode())[0]) if text else NO_TIME
        assert int(found[row]) == expected


@examples(80)
@given(sketch=caches(), created=st.none() | CUTOFF, pulled=st.none() | CUTOFF)
def test_times_are_strictly_before_the_cutoff_and_criteria_combine_with_and(
    sketch: CacheSketch, created: str | None, pulled: str | None
) -> None:
    assume(created or pulled)
    cache = cache_of(sketch)
    pulls = slow_newest_pulls(cache)
    assert selected(index_of(sketch), Policy(created_before=created, pulled_before=pulled)) == {
        path
        for path, manifest in cache.manifests.items()
        if (not created or (is_real_time(manifest.created) and manifest.created < created))
        and (not pulled or (pulls[path] != "" and pulls[path] < pulled))
    }


@examples(80)
@given(sketch=caches(), excluded=st.sampled_from(PATTERNS))
def test_without_a_criterion_all_but_the_excluded_are_selected(
    sketch: CacheSketch, excluded: str
) -> None:
    index, cache = index_of(sketch), cache_of(sketch)
    everything = set(cache.manifests)
    assert selected(index, Policy()) == everything
    assert selected(index, Policy(orphans_only=True)) == set()
    matches = selected(index, Policy(patterns=(excluded,)))
    assert selected(index, Policy(exclude=(excluded,))) == everything - matches
    assert selected(index, Policy(patterns=(excluded,), exclude=(excluded,))) == set()


@examples(120)
@given(sketch=caches(), count=st.integers(0, 13), pattern=st.sampled_from(PATTERNS))
def test_a_count_takes_the_images_pulled_longest_ago(
    sketch: CacheSketch, count: int, pattern: str
) -> None:
    index, cache = index_of(sketch), cache_of(sketch)
    chosen = selected(index, Policy(patterns=(pattern,), count=count))
    # A list and its own children are one image. Children that a list keeps don't count.
    candidates = meeting(cache, Rules(patterns=(pattern,)))
    candidates = able_to_go(cache, candidates, set(), allow_broken=False)
    images = images_oldest_first(cache, candidates)
    assert chosen == {image.path for image in images[:count]}


@examples(80)
@given(sketch=caches(), count=st.integers(0, 13))
def test_a_count_takes_the_children_of_what_it_takes_and_no_more(
    sketch: CacheSketch, count: int
) -> None:
    index, cache = index_of(sketch), cache_of(sketch)
    plan = make_plan(index, Policy(count=count), allow_broken=True)
    allowed = selected(index, Policy(count=count), allow_broken=True)
    while True:
        more = {
            child.path for path in allowed for child in owned(cache, cache.manifests[path])
        } - allowed
        if not more:
            break
        allowed |= more
    assert {index.path(row) for row in plan.removed.nonzero()[0].tolist()} == allowed
