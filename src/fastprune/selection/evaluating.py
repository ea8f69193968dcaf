"""What the criteria and keeps of a policy say of each name of a manifest.

Stage: select. Input: a `CacheIndex` and a `Policy`. Output: `Evaluation`. Pure, no I/O.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from fastprune.index.cache_index import CacheIndex
from fastprune.index.refcounts import Mask, expand
from fastprune.index.times import Times
from fastprune.policy.policy import NO_NAME, Policy
from fastprune.reading.shards import UrlMatch
from fastprune.selection.rules.ages import before, newest_pulls, since
from fastprune.selection.rules.defects import broken, dangling_by
from fastprune.selection.rules.in_use import in_use
from fastprune.selection.rules.names import Names, names_of
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

    The index has edges if `policy.needs_edges`.
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


def keeping_tags(index: CacheIndex, policy: Policy, row: int) -> list[str]:
    """The tags of a manifest that only a server knows and that a policy does not select.

    The index has edges if `policy.needs_edges`. Count and size target are not asked.
    """
    if index.others is None or policy.orphans_only:
        return []
    evaluation, tags = evaluate(index, policy), index.others.of(row)
    met: Mask = np.logical_or.reduce(evaluation.met)
    stay = (~met | evaluation.kept_names)[len(index) :][tags].tolist()
    return [url for url, stays in zip(index.others.urls[tags], stay, strict=True) if stays]


def keeping(names: Names, policy: Policy, pulls: Times, tags: Tags | None) -> NDArray[np.uint8]:
    """By which rule each name is kept, uint8 (n + u,): values of `Keep`.

    `pulls` is that of `newest_pulls`. `tags` are all tags, if the policy keeps the last of them:
    those of each repository that its patterns match.
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
