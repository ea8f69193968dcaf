"""The rules of a policy: which manifests it selects, and which must be kept.

Stage: select. Input: a `CacheIndex` and a `Policy`. Output: `Selection`. Pure, no I/O.

Criteria combine with AND; what is excluded is kept, whatever selects it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fastprune.index import CacheIndex
from fastprune.policy import Policy
from fastprune.refcounts import Mask, owned_children
from fastprune.shards import UrlMatch
from fastprune.times import BAD_TIME, NO_TIME, Times
from fastprune.wallclock import parse_time


@dataclass(frozen=True, slots=True, eq=False)
class Selection:
    """What a policy selects of an index with n manifests.

    Attributes:
        selected: bool (n,): meets every criterion.
        spared: bool (n,): must be kept, whatever selects it.
    """

    selected: Mask
    spared: Mask


def select(index: CacheIndex, policy: Policy) -> Selection:
    """Evaluates a policy.

    Args:
        index: The cache.
        policy: What to select; without any criterion it selects every manifest that it
            does not exclude, which is what a listing wants.
    """
    spared = np.zeros(len(index), dtype=bool)
    if policy.orphans_only:
        return Selection(spared, spared)
    if policy.exclude:
        spared = matching(index, policy.exclude)
    selected = ~spared
    if policy.patterns:
        selected &= matching(index, policy.patterns)
    if policy.created_before is not None:
        selected &= _before(index.created, policy.created_before)
    if policy.pulled_before is not None:
        selected &= _before(newest_pulls(index), policy.pulled_before)
    if policy.count is not None:
        selected = _oldest_images(index, selected, policy.count)
    return Selection(selected, spared)


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
    urls = [index.url_bytes(row) for row in range(len(index))]
    matched: Mask = np.frombuffer(match(urls), dtype=np.uint32) != 0
    return matched


def newest_pulls(index: CacheIndex) -> Times:
    """When each image was last pulled, as a unit, int64 (n,).

    An empty or malformed `pulled` falls back to `created`. A list counts as pulled when
    any of its children was, and a child when a list that refers to it was: clients that
    hold a child in their own cache ask for the list alone.
    """
    pulls = np.where(index.pulled > BAD_TIME, index.pulled, index.created)
    pulls = np.where(pulls > BAD_TIME, pulls, NO_TIME)
    parents, children = index.child_parents, index.child_rows
    # Lists may hold lists: once per level, and a cycle ends as nothing grows any more.
    while bool((pulls[parents] < pulls[children]).any()):
        np.maximum.at(pulls, parents, pulls[children])
    while bool((pulls[children] < pulls[parents]).any()):
        np.maximum.at(pulls, children, pulls[parents])
    return pulls


def _before(times: Times, cutoff: str) -> Mask:
    limit = parse_time(cutoff)
    assert limit is not None, "checked by Policy.check"
    before: Mask = (times > BAD_TIME) & (times < limit)
    return before


def _oldest_images(index: CacheIndex, selected: Mask, count: int) -> Mask:
    """Of the selected images, with their children counted as part of them, the oldest."""
    children, _ = owned_children(index, np.flatnonzero(selected & index.is_list))
    units = selected.copy()
    units[children] = False
    rows = np.flatnonzero(units)
    pulls = newest_pulls(index)[rows]
    # Without any time they come last: unknown is not old. Ties go by row.
    ages: NDArray[np.int64] = np.where(pulls == NO_TIME, np.iinfo(np.int64).max, pulls)
    chosen = np.zeros(len(index), dtype=bool)
    chosen[rows[np.argsort(ages, kind="stable")[:count]]] = True
    return chosen
