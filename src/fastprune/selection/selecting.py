"""What a policy selects, what it keeps, and why.

Stage: select. Input: a `CacheIndex` and a `Policy`. Output: `Selection`. Pure, no I/O.

Criteria combine with AND. What a rule keeps stays, even if criteria select it. Of the
images that are then selected, a size target and a count take those that were pulled longest
ago. The rules themselves are in `fastprune.selection.rules`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from fastprune.index.cache_index import CacheIndex, Rows
from fastprune.index.refcounts import Mask, expand
from fastprune.index.times import Times
from fastprune.policy.policy import NO_NAME, Policy, Rule
from fastprune.reading.shards import UrlMatch
from fastprune.selection.rules.ages import before, newest_pulls, since
from fastprune.selection.rules.defects import broken, dangling
from fastprune.selection.rules.in_use import in_use
from fastprune.selection.rules.sizing import (
    SizeTarget,
    able_to_go,
    oldest_first,
    shortest_prefix,
    size_target,
)
from fastprune.selection.rules.tags import Tags, find_tags, of_no_cached_image

_PIECE = 1 << 16


class Keep(IntEnum):
    """The rule that keeps a manifest; if several do, the first of these."""

    NO_RULE = 0
    EXCLUDED = 1
    IN_USE = 2
    LAST_TAGS = 3
    RECENT = 4

    @property
    def text(self) -> str:
        """The rule as reports and plans write it."""
        return _KEEP_TEXTS[self]


_KEEP_TEXTS = {
    Keep.NO_RULE: "",
    Keep.EXCLUDED: "excluded",
    Keep.IN_USE: "keep-from",
    Keep.LAST_TAGS: "keep-last",
    Keep.RECENT: "keep-within",
}


@dataclass(frozen=True, slots=True, eq=False)
class Selection:
    """What a policy selects of an index with n manifests.

    Attributes:
        selected: bool (n,): meets every criterion, and is not kept.
        kept_by: uint8 (n,): the rule that keeps a manifest, whatever selects it: a value of
            `Keep`.
        meets: bool (n,): meets every criterion; rules that keep, count and size target are not
            considered.
        target: How the size target was met; None if there was none.
        by_rule: int16 (n,): for each selected manifest the position of its rule in
            `Policy.rule_names`; `NO_NAME` for the others. None if the policy has no rules.
        kept_for: int16 (n,): for each kept manifest the position of the rule that keeps it;
            `NO_NAME` if the policy as a whole does. None if it has no rules.
    """

    selected: Mask
    kept_by: NDArray[np.uint8]
    meets: Mask
    target: SizeTarget | None = None
    by_rule: NDArray[np.int16] | None = None
    kept_for: NDArray[np.int16] | None = None

    @property
    def kept(self) -> Mask:
        """Which manifests must be kept, whatever selects them: bool (n,)."""
        kept: Mask = self.kept_by != Keep.NO_RULE
        return kept

    @property
    def met_but_kept(self) -> Rows:
        """Rows of the manifests that meet every criterion and that a rule keeps."""
        return np.flatnonzero(self.meets & self.kept)


def select(
    index: CacheIndex,
    policy: Policy,
    *,
    allow_broken: bool = False,
    young_blobs: Rows | None = None,
) -> Selection:
    """Evaluates a policy.

    Args:
        index: The cache; with edges if `policy.needs_edges`.
        policy: What to select. Without any criterion or rule, that is every manifest that
            nothing keeps, as a listing wants it.
        allow_broken: Whether lists that stay may lose what they refer to: more comes free
            then, so a size target needs fewer images.
        young_blobs: Ids of blobs that are too young to go, so that they never count as freed.
    """
    evaluate = _by_rules if policy.rules else _by_criteria
    return evaluate(index, policy, allow_broken=allow_broken, young_blobs=young_blobs)


def _by_criteria(
    index: CacheIndex, policy: Policy, *, allow_broken: bool, young_blobs: Rows | None
) -> Selection:
    kept_by = np.zeros(len(index), dtype=np.uint8)
    if policy.orphans_only:
        nothing = np.zeros(len(index), dtype=bool)
        return Selection(nothing, kept_by, nothing)
    pulls = newest_pulls(index) if policy.needs_edges else index.pulled
    tags = None if policy.keep_last is None else find_tags(index, pulls)
    meets = meeting(index, policy, pulls, tags)
    kept_by = keeping(index, policy, pulls, tags)
    kept = kept_by != Keep.NO_RULE
    selected = meets & ~kept
    if policy.count is None and not policy.has_size_target:
        return Selection(selected, kept_by, meets)
    candidates = able_to_go(index, selected, kept, allow_broken=allow_broken)
    images, target = oldest_first(index, candidates, pulls)[: policy.count], None
    if policy.has_size_target:
        target = size_target(index, policy.max_bytes, policy.free_bytes)
        images, target = shortest_prefix(
            index, images, kept, target, allow_broken=allow_broken, young_blobs=young_blobs
        )
    selected = np.zeros(len(index), dtype=bool)
    selected[images] = True
    return Selection(selected, kept_by, meets, target)


def keeping(
    index: CacheIndex, policy: Policy, pulls: Times, tags: Tags | None
) -> NDArray[np.uint8]:
    """By which rule each manifest is kept, uint8 (n,): values of `Keep`.

    Args:
        index: The cache.
        policy: The policy.
        pulls: int64 (n,): see `newest_pulls`.
        tags: All tags, if the policy keeps the last of them: those of each repository that
            its patterns match.
    """
    kept_by = np.zeros(len(index), dtype=np.uint8)
    # The rules that come first in `Keep` are written last.
    if policy.keep_since is not None:
        kept_by[since(index, pulls, policy.keep_since)] = Keep.RECENT
    if policy.keep_last is not None:
        newest = ranked(index, policy, tags).tagged(len(index), newest=policy.keep_last)
        # The tags of an image that is not cached are unknown, so its signature stays.
        kept_by[newest | of_no_cached_image(index)] = Keep.LAST_TAGS
    if policy.keep_references:
        kept_by[in_use(index, policy.keep_references)] = Keep.IN_USE
    if policy.exclude:
        kept_by[matching(index, policy.exclude)] = Keep.EXCLUDED
    return kept_by


def ranked(index: CacheIndex, policy: Policy, tags: Tags | None) -> Tags:
    """The tags that `keep_last` counts: those that the patterns match; without patterns, all."""
    assert tags is not None, "they were found, as the policy keeps the last of them"
    return tags.among(index, matching(index, policy.patterns)) if policy.patterns else tags


def meeting(index: CacheIndex, policy: Policy, pulls: Times, tags: Tags | None) -> Mask:
    """Which manifests meet every criterion, bool (n,); the arguments are those of `keeping`."""
    meets = np.ones(len(index), dtype=bool)
    if policy.patterns:
        meets &= matching(index, policy.patterns)
    if policy.created_before is not None:
        meets &= before(index.created, policy.created_before)
    if policy.pulled_before is not None:
        meets &= before(pulls, policy.pulled_before)
    if policy.dangling:
        meets &= dangling(index)
    if policy.broken:
        meets &= broken(index)
    if policy.keep_last is not None and not policy.narrows:
        meets &= ranked(index, policy, tags).tagged(len(index))
    return meets


def matching(index: CacheIndex, patterns: tuple[str, ...]) -> Mask:
    """Which URLs any of the patterns matches, bool (n,).

    The scan has the answer if it was asked to match these; else they are matched here.
    """
    if patterns in index.pattern_sets:
        bit = 1 << index.pattern_sets.index(patterns)
        scanned: Mask = (index.url_matches & bit) != 0
        return scanned
    from fastprune.patterns import UrlMatcher

    match: UrlMatch = UrlMatcher([patterns]).match
    matched = np.zeros(len(index), dtype=bool)
    for first in range(0, len(index), _PIECE):
        piece = np.arange(first, min(first + _PIECE, len(index)))
        urls = [url.encode() for url in index.urls(piece)]
        matched[piece] = np.frombuffer(match(urls), dtype=np.uint32) != 0
    return matched


def _by_rules(
    index: CacheIndex, policy: Policy, *, allow_broken: bool, young_blobs: Rows | None
) -> Selection:
    pulls = newest_pulls(index)
    last = [one.keep_last for one in (policy, *(rule.policy for rule in policy.rules))]
    tags = None if last.count(None) == len(last) else find_tags(index, pulls)
    kept_by = keeping(index, policy, pulls, tags)
    kept_for = np.full(len(index), NO_NAME, dtype=np.int16)
    for number, rule in enumerate(policy.rules):
        keeps = np.where(_scope(index, rule), keeping(index, rule.policy, pulls, tags), 0)
        new = (keeps != Keep.NO_RULE) & (kept_by == Keep.NO_RULE)
        kept_by[new], kept_for[new] = keeps[new], number
    kept = kept_by != Keep.NO_RULE
    meets = np.zeros(len(index), dtype=bool)
    by_rule = np.full(len(index), NO_NAME, dtype=np.int16)
    for number, rule in enumerate(policy.rules):
        met = meeting(index, rule.policy, pulls, tags)
        meets |= met
        chosen = met & ~kept
        if rule.policy.count is not None:
            candidates = able_to_go(index, chosen, kept, allow_broken=allow_broken)
            chosen = np.zeros(len(index), dtype=bool)
            chosen[oldest_first(index, candidates, pulls)[: rule.policy.count]] = True
        by_rule[chosen & (by_rule == NO_NAME)] = number
    selection = Selection(by_rule != NO_NAME, kept_by, meets, None, by_rule, kept_for)
    if not policy.has_size_target:
        return selection
    return _until_the_target(
        index, policy, selection, pulls, allow_broken=allow_broken, young_blobs=young_blobs
    )


def _scope(index: CacheIndex, rule: Rule) -> Mask:
    """The manifests that a rule may keep: those that its patterns match, and their parts."""
    if not rule.policy.patterns:
        return np.ones(len(index), dtype=bool)
    matches = matching(index, rule.policy.patterns)
    scope, _ = expand(index, matches, np.zeros(len(index), dtype=bool))
    return scope


def _until_the_target(
    index: CacheIndex,
    policy: Policy,
    selection: Selection,
    pulls: Times,
    *,
    allow_broken: bool,
    young_blobs: Rows | None,
) -> Selection:
    """Adds the images that a size target needs besides those that the rules select."""
    selected = selection.selected
    first = oldest_first(index, selected, pulls)
    kept = selection.kept
    candidates = able_to_go(index, ~kept, kept, allow_broken=allow_broken)
    others = oldest_first(index, candidates, pulls)
    images: Rows = np.concatenate([first, others[~selected[others]]])
    images, target = shortest_prefix(
        index,
        images,
        kept,
        size_target(index, policy.max_bytes, policy.free_bytes),
        allow_broken=allow_broken,
        young_blobs=young_blobs,
        at_least=len(first),
    )
    by_rule = selection.by_rule
    assert by_rule is not None, "the policy has rules"
    by_rule[images[len(first) :]] = len(policy.rules)
    return replace(
        selection,
        selected=by_rule != NO_NAME,
        # A size target may take any image: the others stay because they were pulled later.
        meets=np.ones(len(index), dtype=bool),
        target=target,
    )
