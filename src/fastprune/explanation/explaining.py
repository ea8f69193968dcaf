"""Why an image would be kept or removed, and what holds its blobs.

Stage: report. Input: a `CacheIndex`, a row, a `PrunePlan`. Output: `Explanation`. Pure, no I/O.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from fastprune.index.arrays import distinct
from fastprune.index.cache_index import CacheIndex, Rows
from fastprune.index.digests import DigestTable, as_digests
from fastprune.index.refcounts import (
    NOBODY,
    Mask,
    count_references,
    drop_references,
    edges_of,
    expand,
    protect,
    references_of,
    referrers,
)
from fastprune.model import Reference
from fastprune.plan.prune_plan import PrunePlan
from fastprune.policy.policy import Policy
from fastprune.selection.evaluating import Keep, keeping_tags, ranked
from fastprune.selection.rules.ages import newest_pulls
from fastprune.selection.rules.names import names_of
from fastprune.selection.rules.tags import find_tags
from fastprune.text.quantities import format_count, format_ordinal


class Verdict(NamedTuple):
    """What a prune would do to a manifest.

    Attributes:
        reason: Why, in a word.
        because_of: The row of the list that takes it along or keeps it, or of the image that it
            belongs to; `NOBODY` if none.
        details: The criteria that it meets, or how the rule that keeps it applies.
        rule: The rule of the policy that selects or keeps it, if it has rules.
    """

    goes: bool
    reason: str
    because_of: int = NOBODY
    details: str = ""
    rule: str = ""


class Sharing(NamedTuple):
    """Blobs that another image needs as well.

    Attributes:
        row: The other image.
        via: The list that leads to it, if its own URL has no tag; else `NOBODY`.
        blobs: How many of them.
        size: Their bytes, by the descriptors.
    """

    row: int
    via: int
    blobs: int
    size: int


class KnownAs(NamedTuple):
    """A URL by which a running server knows the manifest.

    Attributes:
        server_only: Whether it is a tag that only the server knows.
        keeps: Whether the prune does not select that tag, so that the manifest stays; None if it
            is not about a prune.
    """

    url: str
    server_only: bool
    keeps: bool | None


class Blobs(NamedTuple):
    """Some of the blobs of an image, ascending, and their bytes by the descriptors."""

    ids: Rows
    size: int


@dataclass(frozen=True, slots=True, eq=False)
class Explanation:
    """The facts about a manifest, with the children that would go with it.

    Attributes:
        lists: Rows of the lists that refer to it.
        children: Rows of its cached children, each digest once.
        tags: Rows of manifests whose tags belong to it.
        uncached: How many of its children are not cached; None if that is not known.
        last_pull: When any part of the image was last pulled; see `newest_pulls`.
        unit: Rows of the manifests that go if it goes, itself included.
        own: Of the blobs that it and its children need, those that only the unit needs.
        shared: Those that others need, too.
        missing: Those that are not there. A link or the like counts as there; it frees nothing.
        sharing: The images that share blobs, those that share most bytes first.
        frees: Bytes that come free if the unit goes, those of its manifests included.
        linked: Bytes of those files of it that free nothing, as they have other names.
        verdict: What a prune would do; None if nothing says what to prune.
        known_as: By which URLs a running server knows it; None if none was asked.
    """

    index: CacheIndex
    row: int
    lists: Rows
    children: Rows
    tags: Rows
    uncached: int | None
    last_pull: int
    unit: Rows
    own: Blobs
    shared: Blobs
    missing: Blobs
    sharing: tuple[Sharing, ...]
    frees: int
    linked: int
    verdict: Verdict | None
    known_as: tuple[KnownAs, ...] | None


def explain(
    index: CacheIndex,
    row: int,
    plan: PrunePlan | None = None,
    *,
    named_children: bytes | None = None,
) -> Explanation:
    """Explains a manifest of a cache that was scanned with edges, for the prune of a plan, if any.

    `named_children` are the raw digests that a list names, as its file says.
    """
    children = index.child_rows[edges_of(index, np.array([row]))].astype(np.intp)
    twins = index.twins[children]
    whole, unit = _unit(index, row)
    gone = np.flatnonzero(unit)
    needed = distinct(references_of(index, np.flatnonzero(whole))).astype(np.intp)
    left = drop_references(index, count_references(index), gone)
    there, missing = needed < index.blobs_present, np.intersect1d(needed, index.missing_blobs)
    own, shared = needed[there & (left[needed] == 0)], needed[there & (left[needed] > 0)]
    frees, goes = _bytes(index.as_freed(), gone, own), _bytes(index, gone, own)
    return Explanation(
        index=index,
        row=row,
        lists=distinct(index.child_parents[index.child_rows == row]).astype(np.intp),
        # Of a child in both folders, the one that comes first.
        children=children[(twins < 0) | (children < twins) | ~np.isin(twins, children)],
        tags=_tags(index, row),
        uncached=_uncached(index, named_children),
        last_pull=int(newest_pulls(index)[row]),
        unit=gone,
        own=_blobs(index, own),
        shared=_blobs(index, shared),
        missing=_blobs(index, missing),
        sharing=_sharing(index, shared, unit, row),
        frees=frees,
        linked=goes - frees,
        verdict=None if plan is None else _verdict(plan, row),
        known_as=_known_as(index, row, plan),
    )


def _known_as(index: CacheIndex, row: int, plan: PrunePlan | None) -> tuple[KnownAs, ...] | None:
    known = index.known
    if known is None:
        return None
    tags = known.others.urls[known.others.of(row)]
    keep = None if plan is None else keeping_tags(index, plan.policy, row)
    [urls] = known.urls_of(np.array([row]))
    return tuple(
        KnownAs(url, url in tags, None if keep is None else url in tags and url in keep)
        for url in urls
    )


def _unit(index: CacheIndex, row: int) -> tuple[Mask, Mask]:
    """A manifest with its children; and those of them that can go, as no other list needs them."""
    alone = np.zeros(len(index), dtype=bool)
    alone[row] = True
    expanded, _ = expand(index, alone, np.zeros(len(index), dtype=bool))
    unit, kept_by = protect(index, expanded)
    # If a list keeps the manifest itself: what would go if that list went, too?
    return expanded, expanded if kept_by[row] != NOBODY else unit


def _tags(index: CacheIndex, row: int) -> Rows:
    """Rows of manifests whose tags belong to a manifest; a list may refer to them as well."""
    parts = index.part_rows[index.part_parents == row]
    children = index.child_rows[index.child_parents == row]
    tags: Rows = np.setdiff1d(
        [part for part in parts.tolist() if index.belongs(part)], children
    ).astype(np.intp)
    return tags


def _uncached(index: CacheIndex, named: bytes | None) -> int | None:
    if named is None:
        return None
    digests = DigestTable.from_unsorted(as_digests(named)).digests
    cached = np.zeros(len(digests), dtype=bool)
    for first, last in pairwise(index.folder_starts):
        cached |= DigestTable(index.digests[first:last]).find(digests) >= 0
    return int((~cached).sum())


def _blobs(index: CacheIndex, ids: Rows) -> Blobs:
    return Blobs(ids, int(index.known_sizes(ids).sum()))


def _bytes(index: CacheIndex, manifests: Rows, blobs: Rows) -> int:
    return _blobs(index, blobs).size + int(index.file_sizes[manifests].sum(dtype=np.int64))


def _sharing(index: CacheIndex, shared: Rows, unit: Mask, row: int) -> tuple[Sharing, ...]:
    blobs, rows = referrers(index, shared)
    others = ~unit[rows]
    blobs, rows = blobs[others], rows[others]
    images, at = np.unique(rows, return_inverse=True)
    counts = np.bincount(at, minlength=len(images))
    sizes = np.zeros(len(images), dtype=np.int64)
    np.add.at(sizes, at, index.known_sizes(blobs))
    order = np.lexsort((images, -counts, -sizes))
    via = np.full(len(index), NOBODY, dtype=np.intp)
    elsewhere = index.child_parents != row
    via[index.child_rows[elsewhere]] = index.child_parents[elsewhere]
    via[~index.digest_urls] = NOBODY
    columns = (images, via[images], counts, sizes)
    return tuple(map(Sharing, *(column[order].tolist() for column in columns)))


def _verdict(plan: PrunePlan, row: int) -> Verdict:
    if plan.removed[row]:
        owner = int(plan.taken_by[row])
        rule = plan.rule_of(row)
        criteria = "" if owner != NOBODY else ", ".join(_policy_of(plan, rule).criteria)
        return Verdict(
            goes=True,
            reason=plan.manifest_reason(row).text,
            because_of=owner,
            details=criteria,
            rule=rule or "",
        )
    if plan.kept_by[row] != NOBODY:
        return _needed(plan, row, int(plan.kept_by[row]))
    selection = plan.selection
    assert selection is not None, "the plan was made of a policy"
    keep = Keep(int(selection.kept_by[row]))
    if keep is not Keep.NO_RULE:
        rule = plan.keeper_of(row)
        return Verdict(
            goes=False,
            reason=keep.text,
            details=_keep_details(plan, row, keep, _policy_of(plan, rule)),
            rule=rule or "",
        )
    return _neither_removed_nor_kept(plan, row, meets=bool(selection.meets[row]))


def _neither_removed_nor_kept(plan: PrunePlan, row: int, *, meets: bool) -> Verdict:
    # Those that stay and have this manifest as a part.
    wholes = plan.index.part_parents[plan.index.part_rows == row]
    staying = wholes[~plan.removed[wholes]].tolist()
    if staying and (not plan.allow_broken if meets else plan.index.belongs(row)):
        return _needed(plan, row, staying[0])
    if meets:
        return Verdict(goes=False, reason="older-ones-are-enough")
    rules = len(plan.policy.rules)
    details = f"none of {format_count(rules, 'rule')} selects it" if rules else ""
    return Verdict(goes=False, reason="criteria-not-met", details=details)


def _needed(plan: PrunePlan, row: int, because_of: int) -> Verdict:
    reason = "belongs-to-kept-image" if plan.index.belongs(row) else "needed-by-list"
    return Verdict(goes=False, reason=reason, because_of=because_of)


def _policy_of(plan: PrunePlan, name: str | None) -> Policy:
    """The policy of a rule; the whole policy if no rule has this name."""
    return {rule.name: rule.policy for rule in plan.policy.rules}.get(name or "", plan.policy)


def _keep_details(plan: PrunePlan, row: int, keep: Keep, policy: Policy) -> str:
    index = plan.index
    if keep is Keep.LAST_TAGS:
        rank = ranked(names_of(index), policy, find_tags(index, newest_pulls(index))).rank(row)
        if rank is None:
            return "its tag belongs to an image that is not cached"
        repository = Reference.parse(index.url(row)).repository
        place = "newest" if not rank else f"{format_ordinal(rank + 1)} newest"
        matching = " that match" if policy.patterns else ""
        return f"its tag is the {place} of {repository}{matching}, and {policy.keep_last} are kept"
    if keep is Keep.OTHER_TAG:
        return ", ".join(keeping_tags(index, plan.policy, row))
    return f"pulled or created since {policy.keep_since}, or never" if keep is Keep.RECENT else ""
