"""The right answers of prunes of a cache that is arrays of numbers, without code of fastprune.

Children never cross a repository, and lists are never nested. No child has a second file. So
selection, expansion and protection are one step each.
"""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from arrays import NO_TIME, Arrays, Form, Ints, Mask, spread
from content import FIRST_DAY

CUTOFF = "2025-01-01T00:00:00"
KEPT_SINCE = "2026-04-01T00:00:00"
EVER = "9999-12-31T23:59:59"
KEEP_LAST = 2


class Answer(NamedTuple):
    """What a prune removes: manifests, blobs with the orphans, and the bytes of all these files."""

    manifests: int
    blobs: int
    bytes: int


def seconds(text: str) -> int:
    """A time as seconds since the first day."""
    return int((datetime.fromisoformat(text) - FIRST_DAY).total_seconds())


def answers_of(whole: Arrays) -> dict[str, Answer]:
    """What a prune by each rule removes."""
    nothing = np.zeros(len(whole), dtype=bool)
    pulls = newest_pulls(whole)
    some, of_file = whole.repositories, whole.repository_of(np.arange(len(whole)))
    known, recent = whole.created != NO_TIME, seconds(KEPT_SINCE)
    cutoff, dated = seconds(CUTOFF), known & (whole.created < seconds(CUTOFF))
    last, tagged = last_tags(whole, pulls), whole.form != Form.OWN_DIGEST
    in_use = nothing.copy()
    in_use[whole.in_use] = True
    quay = [at for at, name in enumerate(some.hosts) if name == "quay.io"]
    selections = {
        "--pattern": (np.isin(some.host[of_file], quay), nothing),
        "--older-than": (dated, nothing),
        "--not-pulled-for": ((pulls != NO_TIME) & (pulls < cutoff), nothing),
        "--dangling": (dangling(whole), nothing),
        "--broken": (nothing, nothing),
        "--keep-last": (tagged, last),
        "--keep-within": (
            dated,
            (pulls >= recent) | (whole.created >= recent) | (pulls == NO_TIME),
        ),
        "--keep-from": (dated, in_use),
    }
    return {name: answer(whole, *masks) for name, masks in selections.items()}


def answer(whole: Arrays, selected: Mask, kept: Mask) -> Answer:
    """What goes if some files are selected and some are kept."""
    removed = selected & ~kept
    parents, children = whole.edges
    goes = np.zeros(whole.documents, dtype=bool)
    goes[whole.document[removed]] = True
    owned = np.zeros(whole.documents, dtype=bool)
    # The file of a document has its number; second files come behind.
    own = whole.form[: whole.documents] == Form.OWN_DIGEST
    own |= whole.repositories.loaded[whole.repository_of(np.arange(whole.documents))]
    owned[children[goes[parents]]] = True
    removed[: whole.documents] |= owned & own & ~kept[: whole.documents]
    stays = np.zeros(whole.documents, dtype=bool)
    stays[whole.document[~removed]] = True
    removed[children[stays[parents]]] = False
    stays[whole.document[~removed]] = True
    images = np.flatnonzero(stays[whole.lists :])
    needed = np.zeros(len(whole.blob_sizes), dtype=bool)
    counts = whole.starts[images + 1] - whole.starts[images]
    needed[whole.references[spread(whole.starts[images], counts)]] = True
    blobs = np.flatnonzero(~needed)
    files = np.flatnonzero(removed)
    size = int(whole.file_sizes_of(files).sum()) + int(whole.blob_sizes[blobs].sum())
    return Answer(len(files), len(blobs), size)


def newest_pulls(whole: Arrays) -> NDArray[np.int64]:
    """When each file, its list or any of its children was last pulled; `NO_TIME` if unknown."""
    pulls = np.where(whole.pulled != NO_TIME, whole.pulled, whole.created).astype(np.int64)
    parents, children = whole.edges
    latest = np.full(whole.documents, NO_TIME, dtype=np.int64)
    np.maximum.at(latest, parents, pulls[children])
    pulls = np.maximum(pulls, latest[whole.document])
    # The newest file of each list, for its children.
    newest = np.full(whole.documents, NO_TIME, dtype=np.int64)
    np.maximum.at(newest, whole.document, pulls)
    np.maximum.at(pulls, children, newest[parents])
    return pulls


def dangling(whole: Arrays) -> Mask:
    """Which files are those of untagged images in no list."""
    alone: Mask = (whole.form == Form.OWN_DIGEST) & ~whole.is_list
    alone[whole.edges[1]] = False
    return alone


def last_tags(whole: Arrays, pulls: Ints) -> Mask:
    """Which files carry one of the newest tags of their repository."""
    files = np.flatnonzero(whole.form != Form.OWN_DIGEST)
    documents = whole.document[files]
    repositories = whole.repository_of(files)
    prefixed, latest = whole.repositories.prefixed[repositories], whole.is_latest[files]
    number = whole.number[whole.version[documents]].astype(np.int64)
    # `latest` sorts between numbers and tags that begin with a v.
    number[latest] = np.where(prefixed[latest], -1, 2**20)
    own = whole.form[files] == Form.TAG_OF_ITS_OWN
    # Of several children with tags of their own, the digests decide: their first six digits.
    digits = np.zeros(len(files), dtype=np.int64)
    digits[own] = first_digits(whole, documents[own]) + 1
    name = number << 25 | digits
    order = np.lexsort((name, pulls[files], whole.created[files], repositories))
    repositories, name = repositories[order], name[order]
    # A list and its child may have one tag: it is one tag. Then neither has a time.
    begins = np.ones(len(order), dtype=bool)
    begins[1:] = (np.diff(repositories) != 0) | (np.diff(name) != 0)
    tag = np.cumsum(begins) - 1
    ends = np.searchsorted(repositories, repositories, side="right") - 1
    kept = np.zeros(len(whole), dtype=bool)
    kept[files[order[tag[ends] - tag < KEEP_LAST]]] = True
    return kept


def first_digits(whole: Arrays, documents: Ints) -> NDArray[np.int64]:
    """The first six hex digits of the digests of documents, as numbers."""
    first = whole.digests(0, documents)[:, :3].astype(np.int64)
    numbers: NDArray[np.int64] = first[:, 0] << 16 | first[:, 1] << 8 | first[:, 2]
    return numbers
