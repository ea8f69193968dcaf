"""Several named rules compared with the oracle, on random caches; one rule compared with none."""

from __future__ import annotations

import dataclasses
import random
from typing import NamedTuple

from hypothesis import event, given
from hypothesis import strategies as st
from tests.property.indexing import cache_of, index_of
from tests.property.profile import examples
from tests.property.test_rules_equal_oracle import KINDS, asked
from tests.support.named_rules_oracle import (
    chosen_by_several,
    expected_by_several,
    kept_by_several,
)
from tests.support.rules_oracle import Rules
from tests.support.strategies import CacheSketch, caches

from fastprune import Policy, Rule
from fastprune.plan.prune_plan import make_plan
from fastprune.policy.policy import NO_NAME
from fastprune.selection.selecting import Keep, select

NAMES = ("ci-images", "old", "x")
KEEPS = ("exclude", "keep_last", "keep_since", "references")
TARGETS = ("max_bytes", "free_bytes")


class Request(NamedTuple):
    """A policy of rules, for the oracle and for the program."""

    whole: Rules
    rules: dict[str, Rules]
    policy: Policy


@st.composite
def requests(draw: st.DrawFn) -> Request:
    """One to three rules that select something, and the keeps and limits of the whole policy."""
    whole, policy = draw(asked(st.lists(st.sampled_from((*KEEPS, *TARGETS)), unique=True)))
    of_a_rule = [kind for kind in KINDS if kind not in TARGETS]
    kinds = st.lists(st.sampled_from(of_a_rule), min_size=1, max_size=4, unique=True)
    pairs = [draw(asked(kinds)) for _ in range(draw(st.integers(1, len(NAMES))))]
    named = {name: pair for name, pair in zip(NAMES, pairs, strict=False) if pair[1].selects}
    rules = tuple(Rule(name, one) for name, (_, one) in named.items())
    slow = {name: pair[0] for name, pair in named.items()}
    return Request(whole, slow, dataclasses.replace(policy, rules=rules))


@examples(120)
@given(sketch=caches(contrary=False, linked=True), request=requests(), allow_broken=st.booleans())
def test_what_several_rules_select_and_keep_and_which_of_them_equals_the_oracle(
    sketch: CacheSketch, request: Request, allow_broken: bool
) -> None:
    if not request.rules:
        return
    index, cache = index_of(sketch), cache_of(sketch)
    policy = request.policy
    selection = select(index, policy, allow_broken=allow_broken)
    assert selection.kept_for is not None
    assert selection.by_rule is not None
    names = [rule.name for rule in policy.rules]
    assert {
        index.path(row): (Keep(code).text, "" if number == NO_NAME else names[number])
        for row, (code, number) in enumerate(
            zip(selection.kept_by.tolist(), selection.kept_for.tolist(), strict=True)
        )
        if code
    } == kept_by_several(cache, request.whole, request.rules)
    expected = chosen_by_several(cache, request.whole, request.rules, allow_broken=allow_broken)
    assert {
        index.path(row): policy.rule_names[number]
        for row, number in enumerate(selection.by_rule.tolist())
        if number != NO_NAME
    } == expected
    assert (selection.selected == (selection.by_rule != NO_NAME)).all()
    event(f"{len(names)} rules, selecting: {len(set(expected.values()))}")


@examples(80)
@given(sketch=caches(contrary=False, linked=True), request=requests(), allow_broken=st.booleans())
def test_what_goes_by_several_rules_equals_the_oracle(
    sketch: CacheSketch, request: Request, allow_broken: bool
) -> None:
    if not request.rules:
        return
    index, cache = index_of(sketch), cache_of(sketch)
    plan = make_plan(index, request.policy, allow_broken=allow_broken)
    outcome = expected_by_several(cache, request.whole, request.rules, allow_broken=allow_broken)
    gone = plan.removed.nonzero()[0].tolist()
    assert {index.path(row) for row in gone} == outcome.lists | outcome.images
    assert plan.bytes_freed == outcome.freed_bytes
    assert plan.bytes_linked == outcome.linked_bytes
    for row in gone:
        # A child has the rule of the list that takes it along.
        owner = int(plan.taken_by[row])
        assert plan.rule_of(row) in request.policy.rule_names
        assert owner == -1 or plan.rule_of(row) == plan.rule_of(owner)


@examples(60)
@given(sketch=caches(), request=requests(), allow_broken=st.booleans())
def test_a_policy_of_one_rule_does_what_its_criteria_do(
    sketch: CacheSketch, request: Request, allow_broken: bool
) -> None:
    index = index_of(sketch)
    for rule in request.policy.rules:
        alone = make_plan(index, rule.policy, allow_broken=allow_broken)
        named = make_plan(index, Policy(rules=(rule,)), allow_broken=allow_broken)
        assert (alone.removed == named.removed).all()
        assert alone.blobs.tolist() == named.blobs.tolist()


@examples(60)
@given(sketch=caches(), request=requests(), order=st.randoms())
def test_the_order_of_the_rules_decides_nothing_but_which_is_named(
    sketch: CacheSketch, request: Request, order: random.Random
) -> None:
    if not request.rules:
        return
    index, rules = index_of(sketch), list(request.policy.rules)
    order.shuffle(rules)
    shuffled = dataclasses.replace(request.policy, rules=tuple(rules))
    one, other = make_plan(index, request.policy), make_plan(index, shuffled)
    assert (one.removed == other.removed).all()
    assert one.blobs.tolist() == other.blobs.tolist()
