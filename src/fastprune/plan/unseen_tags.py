"""Which manifests of a saved plan stay because of a tag that only a running server knows.

Stage: plan. Input: a `CacheIndex`, the policy of a saved plan, rows. Output: rows and tags. Pure,
no I/O.

Between plan and apply somebody may have pulled an image by another tag. Its file may show nothing
of that, but the server's list does.
"""

from __future__ import annotations

import numpy as np

from fastprune.index.arrays import distinct
from fastprune.index.cache_index import CacheIndex, Rows
from fastprune.index.refcounts import Mask, owned_edges
from fastprune.index.server_urls import OtherTags
from fastprune.policy.policy import Policy
from fastprune.selection.evaluating import evaluate
from fastprune.selection.rules.names import Names


def held_by_unseen_tags(
    index: CacheIndex, policy: Policy, named: Rows, owners: Rows, *, taken: Mask
) -> dict[int, str]:
    """The manifests that stay, and for each the tag that is the cause.

    Args:
        index: The cache.
        policy: What the plan was made of. Its count and its size target chose once and for all.
        named: Rows of manifests that are to go.
        owners: For each the row of the list, or of the image, that takes it along; -1 if that
            is gone.
        taken: bool: whether it is taken along at all, and was not selected itself.
    """
    others = index.others
    if others is None or not others.named(len(index))[named].any():
        return {}
    evaluation = evaluate(index, policy)
    names = evaluation.names
    met: Mask = np.logical_or.reduce(evaluation.met)
    if policy.rules and policy.has_size_target:
        # It may have chosen an image that no rule selects.
        met = np.ones_like(met)
    unmet = names.any_other(~met)
    kept = evaluation.kept_by_others
    owned = _owned(index, named[taken], owners[taken])
    # A part goes with what it belongs to, unless its tags say that it was pulled for itself.
    held = kept[named] | (unmet[named] & (~taken | names.shown(met)[named]))
    held[taken] |= ~owned
    held &= others.named(len(index))[named]
    return {row: _cause(names, others, met, row) for row in named[held].tolist()}


def _owned(index: CacheIndex, parts: Rows, owners: Rows) -> Mask:
    """Which parts still go with these owners."""
    pairs = zip(
        *(rows.tolist() for rows in owned_edges(index, distinct(owners[owners >= 0]))), strict=True
    )
    there = set(pairs)
    asked = zip(owners.tolist(), parts.tolist(), strict=True)
    return np.fromiter((pair in there for pair in asked), dtype=bool, count=len(parts))


def _cause(names: Names, others: OtherTags, met: Mask, row: int) -> str:
    """A tag that is not selected; the first of all if a rule keeps the manifest."""
    tags = others.of(row)
    unmet = np.flatnonzero(~met[len(names.index) :][tags])
    return others.urls[tags][int(unmet[0]) if len(unmet) else 0]
