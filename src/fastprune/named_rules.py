"""A policy of several named rules: what they select and keep together.

Stage: select. Input: a `CacheIndex` and a `Policy` with rules. Output: `Selection`. Pure,
no I/O.

1. What is kept: by the policy, anywhere; by a rule, of that which its patterns match and of
   what these take along. What any of them keeps stays, whatever selects it.
2. What each rule selects, as a prune with the same criteria would: with a count, the images
   pulled longest ago of those that nothing keeps. All of it goes; the first rule is named.
3. A size target goes on with all else that nothing keeps, pulled longest ago first, until
   enough comes free.

So the order of the rules decides nothing but which of them is named.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from fastprune.index import CacheIndex, Rows
from fastprune.policy import NO_NAME, Policy, Rule
from fastprune.refcounts import Mask, expand
from fastprune.rules.ages import newest_pulls
from fastprune.rules.sizing import able_to_go, oldest_first, shortest_prefix, size_target
from fastprune.rules.tags import find_tags
from fastprune.selection import Keep, Selection, keeping, matching, meeting, select
from fastprune.times import Times


def select_by_policy(
    index: CacheIndex,
    policy: Policy,
    *,
    allow_broken: bool = False,
    held_blobs: Rows | None = None,
) -> Selection:
    """Evaluates a policy, with rules or without; the arguments are those of `select`."""
    if not policy.rules:
        return select(index, policy, allow_broken=allow_broken, held_blobs=held_blobs)
    pulls = newest_pulls(index)
    last = [one.keep_last for one in (policy, *(rule.policy for rule in policy.rules))]
    tags = None if last.count(None) == len(last) else find_tags(index, pulls)
    kept_by = keeping(index, policy, pulls, tags)
    kept_for = np.full(len(index), NO_NAME, dtype=np.int16)
    for number, rule in enumerate(policy.rules):
        keeps = np.where(_scope(index, rule), keeping(index, rule.policy, pulls, tags), 0)
        new = (keeps != Keep.NO_RULE) & (kept_by == Keep.NO_RULE)
        kept_by[new], kept_for[new] = keeps[new], number
    spared = kept_by != Keep.NO_RULE
    meets = np.zeros(len(index), dtype=bool)
    by_rule = np.full(len(index), NO_NAME, dtype=np.int16)
    for number, rule in enumerate(policy.rules):
        met = meeting(index, rule.policy, pulls, tags)
        meets |= met
        chosen = met & ~spared
        if rule.policy.count is not None:
            candidates = able_to_go(index, chosen, spared, allow_broken=allow_broken)
            chosen = _oldest(index, candidates, rule.policy.count, pulls)
        by_rule[chosen & (by_rule == NO_NAME)] = number
    selection = Selection(by_rule != NO_NAME, kept_by, meets, None, by_rule, kept_for)
    if not policy.has_size_target:
        return selection
    return _until_the_target(
        index, policy, selection, pulls, allow_broken=allow_broken, held_blobs=held_blobs
    )


def _scope(index: CacheIndex, rule: Rule) -> Mask:
    """What a rule's keeps hold for: what its patterns match, and what that takes along."""
    if not rule.policy.patterns:
        return np.ones(len(index), dtype=bool)
    matches = matching(index, rule.policy.patterns)
    scope, _ = expand(index, matches, np.zeros(len(index), dtype=bool))
    return scope


def _oldest(index: CacheIndex, candidates: Mask, count: int, pulls: Times) -> Mask:
    """Of some candidates the images that were pulled longest ago, bool (n,)."""
    chosen = np.zeros(len(index), dtype=bool)
    chosen[oldest_first(index, candidates, pulls)[:count]] = True
    return chosen


def _until_the_target(
    index: CacheIndex,
    policy: Policy,
    selection: Selection,
    pulls: Times,
    *,
    allow_broken: bool,
    held_blobs: Rows | None,
) -> Selection:
    """Adds what a size target needs besides what the rules select."""
    selected = selection.selected
    first = oldest_first(index, selected, pulls)
    spared = selection.spared
    candidates = able_to_go(index, ~spared, spared, allow_broken=allow_broken)
    others = oldest_first(index, candidates, pulls)
    images: Rows = np.concatenate([first, others[~selected[others]]])
    images, target = shortest_prefix(
        index,
        images,
        spared,
        size_target(index, policy.max_bytes, policy.free_bytes),
        allow_broken=allow_broken,
        held_blobs=held_blobs,
        at_least=len(first),
    )
    by_rule = selection.by_rule
    assert by_rule is not None, "the policy has rules"
    by_rule[images[len(first) :]] = len(policy.rules)
    return replace(
        selection,
        selected=by_rule != NO_NAME,
        # All that stays may have gone: what is not kept by a rule was pulled too lately.
        meets=np.ones(len(index), dtype=bool),
        target=target,
    )
