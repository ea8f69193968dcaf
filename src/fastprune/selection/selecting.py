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

import numpy as np
from numpy.typing import NDArray

from fastprune.index.arrays import marked
from fastprune.index.cache_index import CacheIndex, Rows
from fastprune.index.refcounts import Mask
from fastprune.index.times import Times
from fastprune.policy.policy import NO_NAME, Policy
from fastprune.selection.evaluating import Keep, evaluate
from fastprune.selection.rules.names import names_of
from fastprune.selection.rules.sizing import (
    SizeTarget,
    able_to_go,
    oldest_first,
    shortest_prefix,
    size_target,
)

__all__ = ("Keep", "Selection", "select", "selected_names")


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
    """Evaluates a policy. Without any criterion or rule, that selects all that nothing keeps.

    Args:
        index: The cache; with edges if `policy.needs_edges`.
        policy: What to select.
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
    return Selection(marked(images, len(index)), kept_by, meets, target)


def selected_names(index: CacheIndex, policy: Policy) -> Rows:
    """The names that a policy selects, each for itself: for a listing; see `Names`.

    A count or a size target chooses manifests: then these are all names of those. They ascend.
    Without a server, they are the rows that `select` gives.
    """
    names = names_of(index)
    counts = [policy.count, *(rule.policy.count for rule in policy.rules)]
    if names.others is None or policy.has_size_target or counts != [None] * len(counts):
        return np.flatnonzero(names.spread(select(index, policy).selected))
    evaluation = evaluate(index, policy)
    met: Mask = np.logical_or.reduce(evaluation.met)
    return np.flatnonzero(met & ~evaluation.kept_names)


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
            oldest = oldest_first(index, candidates, pulls)[: rule.policy.count]
            chosen = marked(oldest, len(index))
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
