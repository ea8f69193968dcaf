"""What a policy selects, what it keeps, and why.

Stage: select. Input: a `CacheIndex` and a `Policy`. Output: `Selection`. Pure, no I/O.

Criteria combine with AND. What a rule keeps stays, even if criteria select it. Of the
images that are then selected, a size target and a count take those that were pulled longest
ago. The rules themselves are in `fastprune.selection.rules`.

A running server may know a manifest by more tags than the one that its file shows. It is selected
only if it is by all these names (`fastprune.selection.rules.names`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from fastprune.index.cache_index import CacheIndex, Rows
from fastprune.index.refcounts import Mask, expand
from fastprune.index.times import Times
from fastprune.policy.policy import NO_NAME, Policy
from fastprune.reading.shards import UrlMatch
from fastprune.selection.rules.ages import before, newest_pulls, since
from fastprune.selection.rules.defects import broken, dangling_by
from fastprune.selection.rules.in_use import in_use
from fastprune.selection.rules.names import Names, names_of
from fastprune.selection.rules.sizing import (
    SizeTarget,
    able_to_go,
    oldest_first,
    shortest_prefix,
    size_target,
)
from fastprune.selection.rules.tags import Tags, find_tags, of_no_cached_image


class Keep(IntEnum):
    """The rule that keeps a manifest; if several do, the first of these."""

    NO_RULE = 0
    EXCLUDED = 1
    IN_USE = 2
    LAST_TAGS = 3
    RECENT = 4
    OTHER_TAG = 5

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
    Keep.OTHER_TAG: "server-only-tag",
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
    chosen_by = _by_rules if policy.rules else _by_criteria
    return chosen_by(index, policy, allow_broken=allow_broken, young_blobs=young_blobs)


def _by_criteria(
    index: CacheIndex, policy: Policy, *, allow_broken: bool, young_blobs: Rows | None
) -> Selection:
    kept_by = np.zeros(len(index), dtype=np.uint8)
    if policy.orphans_only:
        nothing = np.zeros(len(index), dtype=bool)
        return Selection(nothing, kept_by, nothing)
    evaluation = evaluate(index, policy)
    [met], names = evaluation.met, evaluation.names
    meets, kept_by = names.shown(met), evaluation.kept_by
    other = evaluation.kept_by_others | (meets & ~names.all(met))
    kept_by[other & (kept_by == Keep.NO_RULE)] = Keep.OTHER_TAG
    kept = kept_by != Keep.NO_RULE
    selected = meets & ~kept
    if policy.count is None and not policy.has_size_target:
        return Selection(selected, kept_by, meets)
    candidates = able_to_go(index, selected, kept, allow_broken=allow_broken)
    images, target = oldest_first(index, candidates, evaluation.pulls)[: policy.count], None
    if policy.has_size_target:
        target = size_target(index, policy.max_bytes, policy.free_bytes)
        images, target = shortest_prefix(
            index, images, kept, target, allow_broken=allow_broken, young_blobs=young_blobs
        )
    selected = np.zeros(len(index), dtype=bool)
    selected[images] = True
    return Selection(selected, kept_by, meets, target)


@dataclass(frozen=True, slots=True, eq=False)
class Evaluation:
    """What the criteria and keeps of a policy say of n manifests, which have n + u names.

    Attributes:
        names: Their names.
        pulls: int64 (n,): see `newest_pulls`.
        met: For each rule, or for the policy if it has none, the names that meet every criterion:
            bool (n + u,).
        kept_by: uint8 (n,): the rule that keeps a manifest by the URL of its file.
        kept_for: int16 (n,): see `Selection`; it also says for which rule `kept_by_others` holds.
        kept_by_others: bool (n,): a rule keeps the manifest by another tag of it, which only a
            server knows.
        kept_names: bool (n + u,): the names that the policy as a whole keeps, and all names of
            what its rules keep.
    """

    names: Names
    pulls: Times
    met: list[Mask]
    kept_by: NDArray[np.uint8]
    kept_for: NDArray[np.int16]
    kept_by_others: Mask
    kept_names: Mask


def evaluate(index: CacheIndex, policy: Policy) -> Evaluation:
    """Asks the criteria and keeps of a policy about each name; not its count or size target.

    Args:
        index: The cache; with edges if `policy.needs_edges`.
        policy: The policy.
    """
    names = names_of(index)
    pulls = newest_pulls(index) if policy.needs_edges else index.pulled
    rules = [rule.policy for rule in policy.rules]
    last = [one.keep_last for one in (policy, *rules)]
    tags = None if last.count(None) == len(last) else find_tags(index, pulls)
    keeps = keeping(names, policy, pulls, tags)
    kept_names = keeps != Keep.NO_RULE
    kept_by, kept_by_others = names.shown(keeps).copy(), names.any_other(kept_names)
    kept_for = np.full(len(index), NO_NAME, dtype=np.int16)
    for_others = kept_for.copy()
    for number, rule in enumerate(rules):
        keeps = keeping(names, rule, pulls, tags)
        matches = matching(names, rule.patterns) if rule.patterns else None
        shown = names.shown(keeps)
        if matches is not None:
            shown = np.where(_with_parts(index, names.shown(matches)), shown, 0)
        new = (shown != Keep.NO_RULE) & (kept_by == Keep.NO_RULE)
        kept_by[new], kept_for[new] = shown[new], number
        if names.others is None:
            continue
        new = names.any(keeps != Keep.NO_RULE) & ~kept_by_others
        if matches is not None:
            new &= _with_parts(index, names.any(matches))
        kept_by_others[new], for_others[new] = True, number
    only_others = kept_by_others & (kept_by == Keep.NO_RULE)
    kept_for[only_others] = for_others[only_others]
    if rules:
        kept_names = kept_names | names.spread(kept_by_others | (kept_by != Keep.NO_RULE))
    met = [meeting(names, one, pulls, tags) for one in rules or [policy]]
    return Evaluation(names, pulls, met, kept_by, kept_for, kept_by_others, kept_names)


def selected_names(index: CacheIndex, policy: Policy) -> Rows:
    """The names that a policy selects, each for itself: for a listing; see `Names`.

    A count or a size target chooses manifests: then these are all names of those.

    Args:
        index: The cache; with edges if `policy.needs_edges`.
        policy: What to select; see `select`.

    Returns:
        Ascending; without a server, the rows that `select` gives.
    """
    names = names_of(index)
    counts = [policy.count, *(rule.policy.count for rule in policy.rules)]
    if names.others is None or policy.has_size_target or counts != [None] * len(counts):
        return np.flatnonzero(names.spread(select(index, policy).selected))
    evaluation = evaluate(index, policy)
    met: Mask = np.logical_or.reduce(evaluation.met)
    return np.flatnonzero(met & ~evaluation.kept_names)


def keeping_tags(index: CacheIndex, policy: Policy, row: int) -> list[str]:
    """The tags of a manifest that only a server knows and that a policy does not select.

    Args:
        index: The cache; with edges if `policy.needs_edges`.
        policy: The policy; its count and its size target are not asked.
        row: The manifest.
    """
    if index.others is None or policy.orphans_only:
        return []
    evaluation, tags = evaluate(index, policy), index.others.of(row)
    met: Mask = np.logical_or.reduce(evaluation.met)
    stay = (~met | evaluation.kept_names)[len(index) :][tags].tolist()
    return [url for url, stays in zip(index.others.urls[tags], stay, strict=True) if stays]


def keeping(names: Names, policy: Policy, pulls: Times, tags: Tags | None) -> NDArray[np.uint8]:
    """By which rule each name is kept, uint8 (n + u,): values of `Keep`.

    Args:
        names: The names.
        policy: The policy.
        pulls: int64 (n,): see `newest_pulls`.
        tags: All tags, if the policy keeps the last of them: those of each repository that
            its patterns match.
    """
    index = names.index
    kept_by = np.zeros(len(names), dtype=np.uint8)
    # The rules that come first in `Keep` are written last.
    if policy.keep_since is not None:
        kept_by[names.spread(since(index, pulls, policy.keep_since))] = Keep.RECENT
    if policy.keep_last is not None:
        newest = ranked(names, policy, tags).tagged(newest=policy.keep_last)
        # The tags of an image that is not cached are unknown, so its signature stays.
        kept_by[newest | of_no_cached_image(names)] = Keep.LAST_TAGS
    if policy.keep_references:
        kept_by[in_use(names, policy.keep_references)] = Keep.IN_USE
    if policy.exclude:
        kept_by[matching(names, policy.exclude)] = Keep.EXCLUDED
    return kept_by


def ranked(names: Names, policy: Policy, tags: Tags | None) -> Tags:
    """The tags that `keep_last` counts: those that the patterns match; without patterns, all."""
    assert tags is not None, "they were found, as the policy keeps the last of them"
    return tags.among(matching(names, policy.patterns)) if policy.patterns else tags


def meeting(names: Names, policy: Policy, pulls: Times, tags: Tags | None) -> Mask:
    """Which names meet every criterion, bool (n + u,); the arguments are those of `keeping`."""
    index, spread = names.index, names.spread
    meets = np.ones(len(names), dtype=bool)
    if policy.patterns:
        meets &= matching(names, policy.patterns)
    if policy.created_before is not None:
        meets &= spread(before(index.created, policy.created_before))
    if policy.pulled_before is not None:
        meets &= spread(before(pulls, policy.pulled_before))
    if policy.dangling:
        meets &= dangling_by(names)
    if policy.broken:
        meets &= spread(broken(index))
    if policy.keep_last is not None and not policy.narrows:
        meets &= ranked(names, policy, tags).tagged()
    return meets


def matching(names: Names, patterns: tuple[str, ...]) -> Mask:
    """Which names any of the patterns matches, bool (n + u,).

    The scan has the answer for the URLs of the files if it was asked to match these; else they
    are matched here.
    """
    index = names.index
    matched = np.zeros(len(names), dtype=bool)
    first = 0
    if patterns in index.pattern_sets:
        bit = 1 << index.pattern_sets.index(patterns)
        first = len(index)
        matched[:first] = (index.url_matches & bit) != 0
    left = np.arange(first, len(names))
    if not len(left):
        return matched
    from fastprune.patterns import UrlMatcher

    match: UrlMatch = UrlMatcher([patterns]).match
    for piece, urls in names.pieces(left):
        bits = match([url.encode() for url in urls])
        matched[piece] = np.frombuffer(bits, dtype=np.uint32) != 0
    return matched


def _with_parts(index: CacheIndex, matches: Mask) -> Mask:
    """Some manifests and their parts: what a rule may keep whose patterns match these."""
    scope, _ = expand(index, matches, np.zeros(len(index), dtype=bool))
    return scope


def _by_rules(
    index: CacheIndex, policy: Policy, *, allow_broken: bool, young_blobs: Rows | None
) -> Selection:
    evaluation = evaluate(index, policy)
    names, met, pulls = evaluation.names, evaluation.met, evaluation.pulls
    meets: Mask = np.logical_or.reduce(met)
    by_all_names = names.all(meets)
    other = evaluation.kept_by_others
    if not policy.has_size_target:
        # A size target may take an image whatever its names are.
        other = other | (names.shown(meets) & ~by_all_names)
    kept_by = evaluation.kept_by
    kept_by[other & (kept_by == Keep.NO_RULE)] = Keep.OTHER_TAG
    kept = kept_by != Keep.NO_RULE
    by_rule = np.full(len(index), NO_NAME, dtype=np.int16)
    chosen_names = np.zeros(len(names), dtype=bool)
    for number, rule in enumerate(policy.rules):
        chosen = names.any(met[number]) & by_all_names & ~kept
        if rule.policy.count is not None:
            candidates = able_to_go(index, chosen, kept, allow_broken=allow_broken)
            chosen = np.zeros(len(index), dtype=bool)
            chosen[oldest_first(index, candidates, pulls)[: rule.policy.count]] = True
        chosen_names |= met[number] & names.spread(chosen)
        by_rule[chosen & names.shown(met[number]) & (by_rule == NO_NAME)] = number
    # A rule that counts may have chosen it for one of its names only.
    by_rule[~names.all(chosen_names)] = NO_NAME
    selection = Selection(
        by_rule != NO_NAME, kept_by, names.shown(meets), None, by_rule, evaluation.kept_for
    )
    if not policy.has_size_target:
        return selection
    return _until_the_target(
        index, policy, selection, pulls, allow_broken=allow_broken, young_blobs=young_blobs
    )


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
