"""The rule that keeps the newest tags of each repository.

Stage: select. Input: a `CacheIndex`. Output: `Tags`. Pure, no I/O.

A tag is a URL, one that a file shows or one that only a server knows. Manifests with the same URL
count once: a list and its child, or the manifests that a tag named before and after it moved. Tags
that belong to an image, such as those of signatures, are no versions: they are left out
(`fastprune.index.attached`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from fastprune.index.arrays import distinct, marked
from fastprune.index.attached import names_a_digest
from fastprune.index.cache_index import CacheIndex, Rows
from fastprune.index.refcounts import Mask
from fastprune.index.times import BAD_TIME, NO_TIME, Times
from fastprune.selection.rules.names import Names, names_of

_LATEST = "latest"
_NO_TAG = -1
_NO_RANK = 2**62
_NO_REPOSITORY = "@"

Columns = tuple[NDArray[np.int64], Times, Times]
"""Of each tag a number for its repository, its creation and its last pull."""


@dataclass(frozen=True, slots=True, eq=False)
class Tags:
    """The tags of a cache: t tags, and the r names that carry them; see `Names`.

    Attributes:
        names: All n + u names.
        carriers: (r,): the names that carry a tag, ascending.
        of_carriers: (r,): the tag of each, as a position in `ranks`.
        ranks: int64 (t,): 0 for the newest tag of its repository, 1 for the next, and so on.
        columns: The values that rank them.
        examples: (t,): a name that carries each.
    """

    names: Names
    carriers: Rows
    of_carriers: Rows
    ranks: NDArray[np.int64]
    columns: Columns
    examples: Rows

    def among(self, matches: Mask) -> Tags:
        """The tags, ranked only among those that some names carry: bool (n + u,)."""
        some = distinct(self.of_carriers[matches[self.carriers]])
        repositories, created, pulled = self.columns
        columns = (repositories[some], created[some], pulled[some])
        ranks = np.full(len(self.ranks), _NO_RANK, dtype=np.int64)
        ranks[some] = _ranks(self.names, columns, self.examples[some])
        return replace(self, ranks=ranks)

    def tagged(self, *, newest: int | None = None) -> Mask:
        """Which names are tags, bool (n + u,); or only so many of the newest of each repository."""
        carriers = self.carriers
        if newest is not None:
            carriers = carriers[self.ranks[self.of_carriers] < newest]
        return marked(carriers, len(self.names))

    def rank(self, name: int) -> int | None:
        """The rank of a tag by its name, which is the row for one that a file shows.

        None if it is no tag, or one that is not ranked.
        """
        at = int(np.searchsorted(self.carriers, name))
        if at == len(self.carriers) or self.carriers[at] != name:
            return None
        rank = int(self.ranks[self.of_carriers[at]])
        return None if rank == _NO_RANK else rank


def of_no_cached_image(names: Names) -> Mask:
    """Which names are tags that belong to an image that is not cached, bool (n + u,)."""
    alone = np.zeros(len(names), dtype=bool)
    attached = names.index.attached
    if names.others is not None:
        attached = np.concatenate([attached, names.others.attached])
    tags = names.tags
    for piece, urls in names.pieces(tags[~attached[tags]]):
        alone[piece] = [names_a_digest(url.rpartition(":")[2]) for url in urls]
    return alone


def find_tags(index: CacheIndex, pulls: Times) -> Tags:
    """Finds the tags, and which are the newest of their repositories.

    Tags are compared by `created`, then by their last pull (see `newest_pulls`), then by name. Of
    the manifests that carry a tag the newest counts. An unknown time is older than any other.
    """
    names = names_of(index)
    carriers = names.tags
    repositories, tags = _split(names, carriers)
    tagged = repositories != _NO_TAG
    carriers, repositories, tags = carriers[tagged], repositories[tagged], tags[tagged]
    order = np.lexsort((tags, repositories))
    first = np.ones(len(order), dtype=bool)
    first[1:] = (np.diff(repositories[order]) != 0) | (np.diff(tags[order]) != 0)
    of_carriers = np.empty(len(order), dtype=np.intp)
    of_carriers[order] = np.cumsum(first) - 1
    examples = carriers[order[first]]
    created, pulled = np.full((2, len(examples)), NO_TIME, dtype=np.int64)
    rows = names.rows(carriers)
    known = np.where(index.created[rows] > BAD_TIME, index.created[rows], NO_TIME)
    np.maximum.at(created, of_carriers, known)
    np.maximum.at(pulled, of_carriers, pulls[rows])
    columns = (repositories[order[first]], created, pulled)
    ranks = _ranks(names, columns, examples)
    return Tags(names, carriers, of_carriers, ranks, columns, examples)


def _split(names: Names, carriers: Rows) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """A number for the repository of each name (`_NO_TAG` if it is no tag), and its tag's hash.

    Repositories are told apart exactly. Two tags of one repository with the same hash would
    count as one: that can only keep more.
    """
    repositories, tags = np.empty((2, len(carriers)), dtype=np.int64)
    numbers: dict[str, int] = {}
    first = 0
    for some, urls in names.pieces(carriers):
        piece = slice(first, first + len(some))
        first += len(some)
        split = _repositories_and_tags(urls)
        repositories[piece] = [numbers.setdefault(name, len(numbers)) for name, _, _ in split]
        tags[piece] = [hash(tag) for _, _, tag in split]
    # All URLs without a tag share one number.
    repositories[repositories == numbers.get(_NO_REPOSITORY, _NO_TAG)] = _NO_TAG
    return repositories, tags


def _repositories_and_tags(urls: list[str]) -> list[tuple[str, str, str]]:
    """Repository, a colon and tag of each URL.

    A URL with a digest, even a malformed one, gets no tag and no repository here. The same
    holds for a tag that belongs to an image.
    """
    split = [url.rpartition(":") for url in urls]
    for at, (repository, colon, tag) in enumerate(split):
        if "@" in repository or "@" in tag or names_a_digest(tag):
            split[at] = (_NO_REPOSITORY, "", "")
        elif not colon or not tag or "/" in tag:
            # A colon before the last slash belongs to a port.
            url = repository + colon + tag
            split[at] = (url.removesuffix(":"), ":", _LATEST)
    return split


def _ranks(names: Names, columns: Columns, examples: Rows) -> NDArray[np.int64]:
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
        tags = (tag for _, _, tag in _repositories_and_tags(names.urls(examples[run])))
        by_name = dict(zip(run.tolist(), tags, strict=True))
        order[first : last + 1] = sorted(by_name, key=by_name.__getitem__)
    # Now they ascend within each repository: the last is the newest.
    ends = np.searchsorted(repositories[order], repositories[order], side="right")
    ranks = np.empty(len(order), dtype=np.int64)
    ranks[order] = ends - 1 - np.arange(len(order))
    return ranks
