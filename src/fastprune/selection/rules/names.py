"""Names: all URLs by which manifests are known, those that only a server knows included.

Stage: select. Input: a `CacheIndex`. Output: `Names`. Pure, no I/O.

A criterion or a rule that goes by URLs is asked about each name, as a manifest goes only if it is
selected by all its names. Without a server, the names are the n URLs of the files: nothing is
copied, and nothing takes longer.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fastprune.index.arrays import Scalar, pieces
from fastprune.index.cache_index import CacheIndex, Rows
from fastprune.index.refcounts import Mask
from fastprune.index.server_urls import OtherTags

_PIECE = 1 << 16


@dataclass(frozen=True, slots=True, eq=False)
class Names:
    """The n URLs that the files show, in the order of the rows, and then u tags that they don't.

    Attributes:
        index: The cache of n manifests.
        others: The u tags that only a server knows; None if u is 0.
    """

    index: CacheIndex
    others: OtherTags | None

    def __len__(self) -> int:
        return len(self.index) + (0 if self.others is None else len(self.others))

    @property
    def tags(self) -> Rows:
        """The names that are no digest URLs, ascending."""
        shown = np.flatnonzero(~self.index.digest_urls)
        if self.others is None:
            return shown
        return np.concatenate([shown, np.arange(len(self.index), len(self))])

    def rows(self, names: Rows) -> Rows:
        """The manifest of each of some names."""
        if self.others is None:
            return names
        rows, unseen = names.copy(), names >= len(self.index)
        rows[unseen] = self.others.rows[names[unseen] - len(self.index)]
        return rows

    def urls(self, names: Rows) -> list[str]:
        """The URLs of some names."""
        if self.others is None:
            return self.index.urls(names)
        unseen, others = names >= len(self.index), self.others.urls
        tags = [others[at] for at in (names[unseen] - len(self.index)).tolist()]
        shown = self.index.urls(names[~unseen])
        if not tags or not shown or bool((unseen[1:] >= unseen[:-1]).all()):
            return shown + tags
        by_kind = (iter(shown), iter(tags))
        return [next(by_kind[other]) for other in unseen.tolist()]

    def url(self, name: int) -> str:
        """The URL of one name."""
        if self.others is None or name < len(self.index):
            return self.index.url(name)
        return self.others.urls[name - len(self.index)]

    def pieces(self, names: Rows) -> Iterator[tuple[Rows, list[str]]]:
        """Some names in pieces that fit into memory, each with its URLs."""
        for piece in pieces(names, _PIECE):
            yield piece, self.urls(piece)

    def spread(self, values: NDArray[Scalar]) -> NDArray[Scalar]:
        """What is so of manifests, (n,), for each of their names, (n + u,)."""
        if self.others is None:
            return values
        return np.concatenate([values, values[self.others.rows]])

    def shown(self, values: NDArray[Scalar]) -> NDArray[Scalar]:
        """What is so of the URLs that files show, (n,), of what is so of all names, (n + u,)."""
        return values[: len(self.index)]

    def any_other(self, masks: Mask) -> Mask:
        """Which manifests have another tag for which this is so: bool (n + u,) to bool (n,)."""
        some = np.zeros(len(self.index), dtype=bool)
        if self.others is not None:
            some[self.others.rows[masks[len(self.index) :]]] = True
        return some

    def any(self, masks: Mask) -> Mask:
        """Which manifests have a name for which this is so: bool (n + u,) to bool (n,)."""
        return masks if self.others is None else self.shown(masks) | self.any_other(masks)

    def all(self, masks: Mask) -> Mask:
        """Which manifests have no name for which this is not so: bool (n + u,) to bool (n,)."""
        return masks if self.others is None else ~self.any(~masks)


def names_of(index: CacheIndex) -> Names:
    """The names of all manifests of a cache."""
    return Names(index, index.others)
