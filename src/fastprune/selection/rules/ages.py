"""Rules by age: created or pulled before a time, or since.

Stage: select. Input: a `CacheIndex` and times. Output: masks and times. Pure, no I/O.
"""

from __future__ import annotations

import numpy as np

from fastprune.index.cache_index import CacheIndex
from fastprune.index.refcounts import Mask
from fastprune.index.times import BAD_TIME, NO_TIME, Times
from fastprune.model import parse_time


def newest_pulls(index: CacheIndex) -> Times:
    """When each image was last pulled, as a unit, int64 (n,).

    An empty or malformed `pulled` falls back to `created`. A list counts as pulled when
    any of its children was, and a child when a list that refers to it was: clients that
    hold a child in their own cache ask for the list alone. The same holds for tags that
    belong to an image: a client that asks for the signature uses the image.
    """
    pulls = np.where(index.pulled > BAD_TIME, index.pulled, index.created)
    pulls = np.where(pulls > BAD_TIME, pulls, NO_TIME)
    parents, children = index.part_parents, index.part_rows
    # One round per level of lists in lists; a cycle ends when no time grows.
    while bool((pulls[parents] < pulls[children]).any()):
        np.maximum.at(pulls, parents, pulls[children])
    while bool((pulls[children] < pulls[parents]).any()):
        np.maximum.at(pulls, children, pulls[parents])
    return pulls


def before(times: Times, cutoff: str) -> Mask:
    """Which times are known and strictly before a cutoff, bool (n,).

    The cutoff is `YYYY-MM-DDTHH:MM:SS`, checked by `Policy.check`.
    """
    early: Mask = (times > BAD_TIME) & (times < _seconds(cutoff))
    return early


def since(index: CacheIndex, pulls: Times, cutoff: str) -> Mask:
    """Which images were pulled or created at a time or later, bool (n,).

    Images without any time count, too: unknown is not old. See `before` for the cutoff, and
    `newest_pulls` for `pulls`.
    """
    limit = _seconds(cutoff)
    late: Mask = (pulls >= limit) | (index.created >= limit) | (pulls == NO_TIME)
    return late


def _seconds(cutoff: str) -> int:
    seconds = parse_time(cutoff)
    assert seconds is not None, "checked by Policy.check"
    return seconds
