"""Tags that only a running server knows: what is selected, kept and removed equals the oracle.

Random caches, and random lists of a server: it knows some files by other tags, some by digest, has
tags that moved to another digest, and entries without a file.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from hypothesis import event, example, given
from hypothesis import strategies as st
from tests.property.indexing import cache_of, index_of
from tests.property.profile import examples
from tests.property.test_rules_equal_oracle import pairs, paths
from tests.property.test_saved_plans import decoded
from tests.property.test_several_rules import Request, requests
from tests.support.cachebuilder import folder_of
from tests.support.listings import listing_of
from tests.support.named_rules_oracle import (
    chosen_by_several,
    expected_by_several,
    kept_by_several,
)
from tests.support.oracle import Cache, is_owned, names, other_tags
from tests.support.rules_oracle import Rules, chosen, expected_by_rules, kept, meeting
from tests.support.strategies import (
    ATTACHED_TAGS,
    DIGESTS,
    REPOSITORIES,
    TAGS,
    CacheSketch,
    ImageSketch,
    ListSketch,
    caches,
)

from fastprune import Policy, Rule, replan
from fastprune.index.cache_index import CacheIndex
from fastprune.index.known_urls import with_known_urls
from fastprune.index.refcounts import owned_edges
from fastprune.plan.encoding import encode
from fastprune.plan.prune_plan import make_plan
from fastprune.plan.replanning import UNSEEN
from fastprune.plan.saved_plan import CacheIdentity
from fastprune.policy.policy import NO_NAME
from fastprune.selection.selecting import Keep, select

Entries = dict[str, str]
"""What a server knows: a digest by URL."""

CACHE = CacheIdentity("cache", 1, "0" * 16)

_TAGS = st.builds(
    str.__add__,
    st.sampled_from(REPOSITORIES),
    st.sampled_from((*TAGS * 2, ":stable", ":3", *ATTACHED_TAGS)),
)
_DIGEST_URLS = st.builds(
    lambda repository, digest: (f"{repository}@sha256:{digest}", digest),
    st.sampled_from(REPOSITORIES),
    st.sampled_from(DIGESTS),
)


@st.composite
def servers(draw: st.DrawFn, sketch: CacheSketch) -> Entries:
    """Some entries for files that are there, most of them by other tags; others at random."""
    there = sorted({one.name for one in sketch.manifests})
    digests = st.sampled_from(there or list(DIGESTS)) | st.sampled_from(DIGESTS)
    known = draw(st.dictionaries(_TAGS, digests, max_size=10))
    known |= dict(draw(st.lists(_DIGEST_URLS, max_size=2)))
    if draw(st.booleans()):
        known |= {one.url: one.name for one in sketch.manifests}
    return known


@st.composite
def served(draw: st.DrawFn, /, **options: bool) -> tuple[CacheSketch, Entries]:
    """A cache, and what the server that runs on it knows."""
    sketch = draw(caches(contrary=False, **options))
    return sketch, draw(servers(sketch))


def known(scene: tuple[CacheSketch, Entries]) -> tuple[CacheIndex, Cache]:
    """The index of such a cache, and the cache for the oracle."""
    sketch, entries = scene
    cache = cache_of(sketch)
    server: dict[str, tuple[str, ...]] = {}
    for url, digest in sorted(entries.items()):
        path = f"{folder_of(url)}/{digest}"
        if path in cache.manifests:
            server[path] = (*server.get(path, ()), url)
    index = with_known_urls(index_of(sketch), listing_of(entries.items()))
    return index, dataclasses.replace(cache, server=server)


def found(index: CacheIndex, column: Any) -> dict[str, str]:
    return {index.path(row): Keep(code).text for row, code in enumerate(column.tolist()) if code}


# A tag that names a digest of another algorithm belongs to no cached image.
OTHER_ALGORITHM: tuple[CacheSketch, Entries] = (
    CacheSketch(
        manifests=(
            ImageSketch("img", DIGESTS[0], "docker.io/library/a:1", (), DIGESTS[0]),
            ImageSketch("img", DIGESTS[5], "docker.io/library/a:1", (), DIGESTS[0]),
        )
    ),
    {f"docker.io/library/a:sha512-{DIGESTS[5]}": DIGESTS[0]},
)


@examples(60)
@given(scene=served())
@example(scene=OTHER_ALGORITHM)
def test_the_names_of_a_manifest_and_what_it_owns_equal_the_oracle(
    scene: tuple[CacheSketch, Entries],
) -> None:
    index, cache = known(scene)
    expected = {path: set(other_tags(cache, one)) for path, one in cache.manifests.items()}
    others: dict[str, set[str]] = {path: set() for path in expected}
    if index.others is not None:
        for row, url in zip(index.others.rows.tolist(), index.others.urls, strict=True):
            others[index.path(row)].add(url)
    assert others == expected
    heads, children = owned_edges(index, (index.kinds >= 0).nonzero()[0])
    owned = {
        (index.path(head), index.path(child))
        for head, child in zip(heads.tolist(), children.tolist(), strict=True)
    }
    every = cache.manifests.values()
    assert owned == {
        (one.path, two.path) for one in every for two in every if is_owned(cache, two, one)
    }
    event(f"with other tags: {any(expected.values())}")


@examples(150)
@given(scene=served(linked=True), rules=pairs(), allow_broken=st.booleans())
def test_what_is_selected_and_kept_equals_the_oracle(
    scene: tuple[CacheSketch, Entries], rules: tuple[Rules, Policy], allow_broken: bool
) -> None:
    index, cache = known(scene)
    asked, policy = rules
    selection = select(index, policy, allow_broken=allow_broken)
    assert found(index, selection.kept_by) == kept(cache, asked)
    expected = {one.path for one in chosen(cache, asked, allow_broken=allow_broken)}
    assert paths(index, selection.selected.nonzero()[0]) == expected
    assert paths(index, selection.meets.nonzero()[0]) == {one.path for one in meeting(cache, asked)}
    event(f"kept by other tags: {bool((selection.kept_by == Keep.OTHER_TAG).any())}")


@examples(150)
@given(scene=served(linked=True), rules=pairs(), allow_broken=st.booleans())
def test_what_goes_equals_the_oracle(
    scene: tuple[CacheSketch, Entries], rules: tuple[Rules, Policy], allow_broken: bool
) -> None:
    index, cache = known(scene)
    asked, policy = rules
    if not policy.selects:
        return
    plan = make_plan(index, policy, allow_broken=allow_broken)
    outcome = expected_by_rules(cache, asked, allow_broken=allow_broken)
    assert paths(index, plan.removed.nonzero()[0]) == outcome.lists | outcome.images
    assert {f"blobs/{name}" for name in index.blob_names(plan.blobs)} == outcome.blobs
    assert (plan.bytes_freed, plan.bytes_removed) == (outcome.freed_bytes, outcome.removed_bytes)
    if plan.target is not None:
        assert plan.target.frees == outcome.freed_bytes
        assert plan.target.removes == outcome.removed_bytes
    event(f"something goes: {bool(plan.removed.any())}")


@examples(150)
@given(scene=served(), request=requests(), allow_broken=st.booleans())
def test_what_several_rules_select_keep_and_remove_equals_the_oracle(
    scene: tuple[CacheSketch, Entries], request: Request, allow_broken: bool
) -> None:
    if not request.rules:
        return
    index, cache = known(scene)
    policy, whole, rules = request.policy, request.whole, request.rules
    plan = make_plan(index, policy, allow_broken=allow_broken)
    selection = plan.selection
    assert selection is not None
    assert selection.kept_for is not None
    assert selection.by_rule is not None
    rule_names = [rule.name for rule in policy.rules]
    numbers = zip(selection.kept_by.tolist(), selection.kept_for.tolist(), strict=True)
    assert {
        index.path(row): (Keep(code).text, "" if number == NO_NAME else rule_names[number])
        for row, (code, number) in enumerate(numbers)
        if code
    } == kept_by_several(cache, whole, rules)
    assert {
        index.path(row): policy.rule_names[number]
        for row, number in enumerate(selection.by_rule.tolist())
        if number != NO_NAME
    } == chosen_by_several(cache, whole, rules, allow_broken=allow_broken)
    assert (selection.selected == (selection.by_rule != NO_NAME)).all()
    outcome = expected_by_several(cache, whole, rules, allow_broken=allow_broken)
    assert paths(index, plan.removed.nonzero()[0]) == outcome.lists | outcome.images
    assert plan.bytes_freed == outcome.freed_bytes


@examples(60)
@given(scene=served(), request=requests(), allow_broken=st.booleans())
def test_a_policy_of_one_rule_does_what_its_criteria_do(
    scene: tuple[CacheSketch, Entries], request: Request, allow_broken: bool
) -> None:
    index, _ = known(scene)
    for rule in request.policy.rules:
        alone = make_plan(index, rule.policy, allow_broken=allow_broken)
        named = make_plan(index, Policy(rules=(Rule("x", rule.policy),)), allow_broken=allow_broken)
        assert (alone.removed == named.removed).all()
        assert alone.blobs.tolist() == named.blobs.tolist()


@examples(60)
@given(scene=served(), rules=pairs(), allow_broken=st.booleans())
def test_what_goes_goes_by_all_its_names(
    scene: tuple[CacheSketch, Entries], rules: tuple[Rules, Policy], allow_broken: bool
) -> None:
    index, cache = known(scene)
    asked, policy = rules
    if not policy.selects or policy.count is not None or policy.has_size_target:
        return
    plan = make_plan(index, policy, allow_broken=allow_broken)
    for row in (plan.removed & (plan.taken_by < 0)).nonzero()[0].tolist():
        one = cache.manifests[index.path(row)]
        for url in names(cache, one):
            # As if its file showed that name, and no other name was known.
            shown = dict(cache.manifests) | {one.path: dataclasses.replace(one, url=url)}
            rest = {path: urls for path, urls in cache.server.items() if path != one.path}
            alone = dataclasses.replace(cache, manifests=shown, server=rest)
            if asked.keep_last is None:
                assert one.path in {gone.path for gone in chosen(alone, asked)}


@examples(60)
@given(sketch=caches(contrary=False), request=pairs(), allow_broken=st.booleans())
@example(
    sketch=CacheSketch(
        manifests=(
            ListSketch("img", DIGESTS[0], "quay.io/b/c:1", (DIGESTS[1],)),
            ImageSketch("img", DIGESTS[1], "quay.io/b/c:1", (), DIGESTS[3]),
        )
    ),
    request=(Rules(patterns=("^quay",)), Policy(patterns=("^quay",))),
    allow_broken=False,
)
def test_a_server_that_knows_what_the_files_show_changes_nothing(
    sketch: CacheSketch, request: tuple[Rules, Policy], allow_broken: bool
) -> None:
    _, policy = request
    if not policy.selects:
        return
    # Of files with the same URL in one folder, it knows one.
    entries = {one.url: one.name for one in sketch.manifests if folder_of(one.url) == one.folder}
    index = index_of(sketch)
    with_server = with_known_urls(index, listing_of(entries.items()))
    without = make_plan(index, policy, allow_broken=allow_broken)
    plan = make_plan(with_server, policy, allow_broken=allow_broken)
    assert (plan.removed == without.removed).all()
    assert plan.blobs.tolist() == without.blobs.tolist()


@examples(80)
@given(scene=served(), request=pairs(), allow_broken=st.booleans())
def test_a_saved_plan_leaves_out_what_a_new_plan_keeps_for_tags_of_the_server(
    scene: tuple[CacheSketch, Entries], request: tuple[Rules, Policy], allow_broken: bool
) -> None:
    sketch, _ = scene
    _, policy = request
    # What was counted when the plan was made, or by other tags, is not counted once more.
    if not policy.selects or policy.count is not None or policy.has_size_target:
        return
    plan = make_plan(index_of(sketch), policy, allow_broken=allow_broken)
    saved = decoded(b"".join(encode(plan, CACHE, made_by="1")))
    index, _ = known(scene)
    again = replan(saved, index)
    assert not (again.removed & ~plan.removed).any()
    unseen = {one.path for one in again.left_out or () if one.reason == UNSEEN}
    other = {index.path(row) for row in index.others.rows.tolist()} if index.others else set()
    assert unseen <= other
    if policy.keep_last is None:
        fresh = make_plan(index, policy, allow_broken=allow_broken)
        # A child may go without its list if another file of that digest stays to serve it.
        assert not (again.removed & ~fresh.removed & (index.twins < 0)).any()
        assert unseen >= {
            index.path(row)
            for row in (plan.removed & (plan.taken_by < 0)).nonzero()[0].tolist()
            if fresh.selection is not None and fresh.selection.kept_by[row] == Keep.OTHER_TAG
        }
    event(f"left out: {bool(unseen)}")
