"""Every rule of a policy, alone and in pairs, compared with the oracle, on random caches."""

from __future__ import annotations

import dataclasses
from typing import Any

from hypothesis import event, example, given
from hypothesis import strategies as st
from tests.property.indexing import cache_of, index_of
from tests.property.profile import examples
from tests.support.oracle import Cache, removal
from tests.support.rules_oracle import (
    Rules,
    able_to_go,
    chosen,
    expected_by_rules,
    images_oldest_first,
    kept,
    meeting,
)
from tests.support.strategies import (
    CUTOFFS,
    DIGESTS,
    PATTERNS,
    CacheSketch,
    ImageSketch,
    ListSketch,
    caches,
)

from fastprune import Policy
from fastprune.index.cache_index import CacheIndex
from fastprune.plan.prune_plan import make_plan
from fastprune.selection.selecting import Keep, select
from fastprune.text.references import parse_references

CUTOFF = st.sampled_from(CUTOFFS)
PATTERN = st.sampled_from(PATTERNS).map(lambda pattern: (pattern,))
SIZE = st.integers(0, 30_000)
# References as people write them, and what they mean.
REFERENCES = {
    "a": ("docker.io/library/a:latest",),
    "library/a:1": ("docker.io/library/a:1",),
    "docker.io/a:2": ("docker.io/library/a:2",),
    "quay.io/b/c": ("quay.io/b/c:latest",),
    "host:5000/a:1": ("host:5000/a:1",),
    f"other/name@sha256:{DIGESTS[0]}": (f"sha256:{DIGESTS[0]}",),
    f"docker-pullable://quay.io/b/c:1@sha256:{DIGESTS[2]}": (
        "quay.io/b/c:1",
        f"sha256:{DIGESTS[2]}",
    ),
    "nothing/like:it": ("docker.io/nothing/like:it",),
}
KINDS: dict[str, st.SearchStrategy[Any]] = {
    "patterns": PATTERN,
    "exclude": PATTERN,
    "created_before": CUTOFF,
    "pulled_before": CUTOFF,
    "dangling": st.just(value=True),
    "broken": st.just(value=True),
    "keep_last": st.integers(1, 3),
    "keep_since": CUTOFF,
    "references": st.lists(st.sampled_from(list(REFERENCES)), min_size=1, max_size=3),
    "count": st.integers(0, 8),
    "max_bytes": SIZE,
    "free_bytes": SIZE,
}

# The outer list owns itself, so nothing selects it. It needs the inner list, and the signature
# in `lts/`; the inner list needs both files of that digest. So they are given back one after
# the other, and the file in `img/` must stay too.
GIVEN_BACK_IN_TURN = CacheSketch(
    manifests=(
        ListSketch("img", DIGESTS[0], "quay.io/b/c:1", (DIGESTS[0], DIGESTS[1])),
        ListSketch("img", DIGESTS[1], "docker.io/library/a:1", (DIGESTS[2],)),
        ImageSketch("img", DIGESTS[2], "docker.io/library/a:1", (), DIGESTS[3]),
        ImageSketch("lts", DIGESTS[2], f"quay.io/b/c:sha256-{DIGESTS[0]}.sig", (), DIGESTS[3]),
    )
)


@st.composite
def asked(draw: st.DrawFn, kinds: st.SearchStrategy[list[str]]) -> tuple[Rules, Policy]:
    """Rules of these kinds, for the oracle and for the program."""
    fields = {kind: draw(KINDS[kind]) for kind in draw(kinds)}
    texts = fields.pop("references", [])
    meanings = tuple(meaning for text in texts for meaning in REFERENCES[text])
    references = tuple(parse_references("\n".join(texts), "test"))
    return Rules(**fields, references=meanings), Policy(**fields, keep_references=references)


def pairs() -> st.SearchStrategy[tuple[Rules, Policy]]:
    """One or two rules, sometimes more."""
    kinds = st.sampled_from(list(KINDS))
    return asked(
        st.lists(kinds, min_size=1, max_size=2, unique=True)
        | st.lists(kinds, min_size=3, max_size=5, unique=True)
    )


def paths(index: CacheIndex, rows: Any) -> set[str]:
    return {index.path(row) for row in rows.tolist()}


@examples(120)
@given(sketch=caches(contrary=False, linked=True), rules=pairs(), allow_broken=st.booleans())
def test_what_is_selected_and_kept_and_why_equals_the_oracle(
    sketch: CacheSketch, rules: tuple[Rules, Policy], allow_broken: bool
) -> None:
    index, cache = index_of(sketch), cache_of(sketch)
    asked, policy = rules
    selection = select(index, policy, allow_broken=allow_broken)
    assert {
        index.path(row): Keep(code).text
        for row, code in enumerate(selection.kept_by.tolist())
        if code
    } == kept(cache, asked)
    expected = {one.path for one in chosen(cache, asked, allow_broken=allow_broken)}
    assert paths(index, selection.selected.nonzero()[0]) == expected
    assert paths(index, selection.meets.nonzero()[0]) == {one.path for one in meeting(cache, asked)}
    event(f"selected: {bool(expected)}, met_but_kept: {bool(len(selection.met_but_kept))}")


@examples(100)
@given(sketch=caches(contrary=False, linked=True), rules=pairs(), allow_broken=st.booleans())
@example(
    sketch=GIVEN_BACK_IN_TURN, rules=(Rules(max_bytes=0), Policy(max_bytes=0)), allow_broken=False
)
def test_what_goes_equals_the_oracle(
    sketch: CacheSketch, rules: tuple[Rules, Policy], allow_broken: bool
) -> None:
    index, cache = index_of(sketch), cache_of(sketch)
    asked, policy = rules
    if not policy.selects:
        return
    plan = make_plan(index, policy, allow_broken=allow_broken)
    outcome = expected_by_rules(cache, asked, allow_broken=allow_broken)
    assert paths(index, plan.removed.nonzero()[0]) == outcome.lists | outcome.images
    assert {
        f"blobs/{digest.tobytes().hex()}" for digest in index.blob_digests[plan.blobs]
    } == outcome.blobs
    assert plan.bytes_freed == outcome.freed_bytes
    assert plan.bytes_removed == outcome.removed_bytes
    if plan.selection is not None and plan.selection.target is not None:
        assert plan.selection.target.frees == outcome.freed_bytes
        assert plan.selection.target.removes == outcome.removed_bytes


@examples(100)
@given(
    sketch=caches(contrary=False, linked=True),
    target=st.fixed_dictionaries({}, optional={"max_bytes": SIZE, "free_bytes": SIZE}),
    keep_last=st.none() | st.integers(1, 2),
    allow_broken=st.booleans(),
)
def test_a_size_target_is_met_and_one_image_fewer_would_not_meet_it(
    sketch: CacheSketch, target: dict[str, Any], keep_last: int | None, allow_broken: bool
) -> None:
    if not target:
        return
    index, cache = index_of(sketch), cache_of(sketch)
    policy = Policy(**target, keep_last=keep_last)
    plan = make_plan(index, policy, allow_broken=allow_broken)
    rules = Rules(**target, keep_last=keep_last)
    staying = {cache.manifests[path] for path in kept(cache, rules)}
    candidates = meeting(cache, rules) - staying
    candidates = able_to_go(cache, candidates, staying, allow_broken=allow_broken)
    images = images_oldest_first(cache, candidates)
    assert plan.selection is not None
    went = int(plan.selection.selected.sum())
    if _is_short(cache, target, plan.bytes_freed, plan.bytes_removed):
        event("not met")
        # Of images whose files all have other names, the last need not go in vain.
        assert went == len(images) or sketch.linked
    elif went:
        event("met")
        fewer = removal(
            cache, images[: went - 1], staying, allow_broken=allow_broken, skip_corrupt=True
        )
        assert _is_short(cache, target, fewer.freed_bytes, fewer.removed_bytes)


@examples(40)
@given(sketch=caches(), policy=pairs(), allow_broken=st.booleans())
def test_where_files_of_a_digest_differ_a_met_target_is_met_all_the_same(
    sketch: CacheSketch, policy: tuple[Rules, Policy], allow_broken: bool
) -> None:
    index, asked = index_of(sketch), dataclasses.replace(policy[1], free_bytes=2_000)
    plan = make_plan(index, asked, allow_broken=allow_broken)
    assert plan.selection is not None
    assert plan.selection.target is not None
    assert plan.bytes_freed >= plan.selection.target.frees


def _is_short(cache: Cache, target: dict[str, int], freed: int, removed: int) -> bool:
    total = sum(one.size for one in cache.manifests.values()) + sum(cache.blobs.values())
    left = total - removed
    return left > target.get("max_bytes", left) or freed < target.get("free_bytes", 0)
