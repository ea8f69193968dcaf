"""The rule that keeps the newest tags of each repository.

Stage: select. Input: a `CacheIndex`. Output: `Tags`. Pure, no I/O.

A tag is a URL. Manifests with the same URL count once: a list and its child, or the manifests
that a tag named before and after it moved. Tags that belong to an image, such as those of
signatures, are no versions: they are left out (`fastprune.index.attached`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from fastprune.index.attached import names_a_digest
from fastprune.index.cache_index import CacheIndex, Rows
from fastprune.index.refcounts import Mask
from fastprune.index.times import BAD_TIME, NO_TIME, Times

_PIECE = 1 << 16
_LATEST = "latest"
_NO_TAG = -1
_NO_RANK = 2**62
_NO_REPOSITORY = "@"

Columns = tuple[NDArray[np.int64], Times, Times]
"""Of each tag a number for its repository, its creation and its last pull."""


@dataclass(frozen=True, slots=True, eq=False)
class Tags:
    """The tags of a cache: t tags, and the r manifests that carry them.

    Attributes:
        rows: (r,): the manifests, ascending.
        of_rows: (r,): the tag of each, as a position in `ranks`.
        ranks: int64 (t,): 0 for the newest tag of its repository, 1 for the next, and so on.
        columns: The values that rank them.
        examples: (t,): a row that carries each.
    """

    rows: Rows
    of_rows: Rows
    ranks: NDArray[np.int64]
    columns: Columns
    examples: Rows

    def among(self, index: CacheIndex, matches: Mask) -> Tags:
        """The tags, ranked only among those that some manifests carry.

        Args:
            index: The cache.
            matches: bool (n,): these manifests.
        """
        meant = np.zeros(len(self.ranks), dtype=bool)
        meant[self.of_rows[matches[self.rows]]] = True
        some = np.flatnonzero(meant)
        repositories, created, pulled = self.columns
        columns = (repositories[some], created[some], pulled[some])
        ranks = np.full(len(self.ranks), _NO_RANK, dtype=np.int64)
        ranks[some] = _ranks(index, columns, self.examples[some])
        return replace(self, ranks=ranks)

    def tagged(self, manifests: int, *, newest: int | None = None) -> Mask:
        """Which manifests have a tag, bool (n,).

        Args:
            manifests: n.
            newest: Only so many of the newest tags of each repository.
        """
        rows = self.rows if newest is None else self.rows[self.ranks[self.of_rows] < newest]
        mask = np.zeros(manifests, dtype=bool)
        mask[rows] = True
        return mask

    def rank(self, row: int) -> int | None:
        """The rank of a manifest's tag; None if it has no tag, or one that is not ranked."""
        at = int(np.searchsorted(self.rows, row))
        if at == len(self.rows) or self.rows[at] != row:
            return None
        rank = int(self.ranks[self.of_rows[at]])
        return None if rank == _NO_RANK else rank


def of_no_cached_image(index: CacheIndex) -> Mask:
    """Which manifests carry a tag that belongs to an image that is not cached, bool (n,)."""
    alone = np.zeros(len(index), dtype=bool)
    rows = np.flatnonzero(~index.digest_urls & ~index.attached)
    for first in range(0, len(rows), _PIECE):
        piece = rows[first : first + _PIECE]
        alone[piece] = [names_a_digest(url.rpartition(":")[2]) for url in index.urls(piece)]
    return alone


def find_tags(index: CacheIndex, pulls: Times) -> Tags:
    """Finds the tags, and which are the newest of their repositories.

    Tags are compared by `created`, then by their last pull, then by name. Of the manifests
    that carry a tag the newest counts. An unknown time is older than any other.

    Args:
        index: The cache.
        pulls: int64 (n,): see `newest_pulls`.
    """
    rows = np.flatnonzero(~index.digest_urls)
    repositories, names = _split(index, rows)
    tagged = repositories != _NO_TAG
    rows, repositories, names = rows[tagged], repositories[tagged], names[tagged]
    order = np.lexsort((names, repositories))
    first = np.ones(len(order), dtype=bool)
    first[1:] = (np.diff(repositories[order]) != 0) | (np.diff(names[order]) != 0)
    of_rows = np.empty(len(order), dtype=np.intp)
    of_rows[order] = np.cumsum(first) - 1
    examples = rows[order[first]]
    created, pulled = np.full((2, len(examples)), NO_TIME, dtype=np.int64)
    known = np.where(index.created[rows] > BAD_TIME, index.created[rows], NO_TIME)
    np.maximum.at(created, of_rows, known)
    np.maximum.at(pulled, of_rows, pulls[rows])
    columns = (repositories[order[first]], created, pulled)
    return Tags(rows, of_rows, _ranks(index, columns, examples), columns, examples)


def _split(index: CacheIndex, rows: Rows) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """For each row a number for its repository (`_NO_TAG` if it has no tag), and its tag's hash.

    Repositories are told apart exactly. Two tags of one repository with the same hash would
    count as one: that can only keep more.
    """
    repositories, names = np.empty((2, len(rows)), dtype=np.int64)
    numbers: dict[str, int] = {}
    for first in range(0, len(rows), _PIECE):
        piece = slice(first, first + _PIECE)
        split = _names(index, rows[piece])
        repositories[piece] = [numbers.setdefault(name, len(numbers)) for name, _, _ in split]
        names[piece] = [hash(tag) for _, _, tag in split]
    # All URLs without a tag share one number.
    repositories[repositories == numbers.get(_NO_REPOSITORY, _NO_TAG)] = _NO_TAG
    return repositories, names


def _names(index: CacheIndex, rows: Rows) -> list[tuple[str, str, str]]:
    """Repository, a colon and tag of each row.

    A URL with a digest, even a malformed one, gets no tag and no repository here. The same
    holds for a tag that belongs to an image.
    """
    split = [url.rpartition(":") for url in index.urls(rows)]
    for at, (repository, colon, tag) in enumerate(split):
        if "@" in repository or "@" in tag or names_a_digest(tag):
            split[at] = (_NO_REPOSITORY, "", "")
        elif not colon or not tag or "/" in tag:
            # A colon before the last slash belongs to a port.
            url = repository + colon + tag
            split[at] = (url.removesuffix(":"), ":", _LATEST)
    return split


def _ranks(index: CacheIndex, columns: Columns, examples: Rows) -> NDArray[np.int64]:
    """How many tags of the same repository are newer, int64 (t,); see `Tags`."""
    repositories = columns[0]
    order = np.lexsort(columns[::-1])
    same = np.ones(max(len(order) - 1, 0), dtype=bool)
    for column in columns:
        same &= column[order][1:] == column[order][:-1]
    # Runs of tags that only their names tell apart: from each True to the next False.
    edges = np.flatnonzero(np.diff(np.concatenate([[False], same, [False]])))
    for first, last in edges.reshape(-1, 2).tolist():
        run = order[first : last + 1]
        tags = (tag for _, _, tag in _names(index, examples[run]))
        by_name = dict(zip(run.tolist(), tags, strict=True))
        order[first : last + 1] = sorted(by_name, key=by_name.__getitem__)
    # Now they ascend within each repository: the last is the newest.
    ends = np.searchsorted(repositories[order], repositories[order], side="right")
    ranks = np.empty(len(order), dtype=np.int64)
    ranks[order] = ends - 1 - np.arange(len(order))
    return ranks
