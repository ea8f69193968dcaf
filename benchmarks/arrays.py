"""A cache of any size as arrays of numbers, without files.

`generate.py` writes files. This draws from the same distributions (see `content.py`), many at once.
`array_pieces.py` makes of it what workers would send, and `array_answers.py` the right answers. The
digest of a document or a blob is a function of its number. The same seed gives the same cache.
"""

from __future__ import annotations

import dataclasses
import functools

import numpy as np
from numpy.typing import NDArray

from answers import BIGGEST_REPOSITORY, SMALL_ORGANISATION
from content import SECONDS_COVERED
from generate import (
    LISTS_SHARE,
    MANIFESTS_PER_REPOSITORY,
    MANIFESTS_PER_TAG,
    MAX_TAGS,
    NAMES,
    ORGANISATIONS,
    REGISTRIES,
)

FOLDERS = (IMG, LTS) = (0, 1)
DOCUMENT, BLOB, ELSEWHERE = range(3)  # what a digest is of
NO_TIME = -1  # stands for an empty time; others are seconds since the first day
MOST_LAYERS_OF_BASE, MOST_PLATFORMS = 6, 8
REFERENCES_IN_USE = 5_000

_HOSTS, _ORGANISATIONS = tuple(REGISTRIES), (*ORGANISATIONS, SMALL_ORGANISATION)

Ints = NDArray[np.integer]
Mask = NDArray[np.bool_]


class Form:
    """What the URL of a file ends with."""

    TAG, OWN_DIGEST, TAG_OF_ITS_OWN = range(3)


@dataclasses.dataclass(frozen=True, slots=True)
class Size:
    """Which cache: about so many manifests, from this seed."""

    manifests: int
    seed: int = 1


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Repositories:
    """The repositories, a row each."""

    host: Ints
    organisation: Ints
    word: Ints
    tags: Ints
    lists: Mask  # publishes lists, else single images
    oci: Mask
    loaded: Mask  # by `ociregistry load` from a text list
    prefixed: Mask  # tags begin with a v
    slow: Ints  # layers that outlive a version
    latest: Mask  # has a tag `latest` ...
    same_latest: Mask  # ... which names the newest version

    @property
    def hosts(self) -> tuple[str, ...]:
        """The registries that `host` speaks of."""
        return _HOSTS

    @staticmethod
    def name(host: int, organisation: int, word: int, number: int) -> str:
        """Registry and repository, of a repository with these columns."""
        if number == 0:
            return BIGGEST_REPOSITORY
        return f"{_HOSTS[host]}/{_ORGANISATIONS[organisation]}/{NAMES[word]}-{number}"


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Arrays:
    """A whole cache as numbers.

    Documents are lists, l of them, and then images; a document has one file, and some a second
    one, in lts/. Blobs are configs (by image), new layers, layers that stay, base layers, orphans.

    Attributes:
        repositories: The repositories.
        of_version: The repository of each version ...
        number: ... and its place in it. Beyond the last tag, it is `latest`.
        version: The version of each document.
        lists: How many documents are lists.
        first_child: Of each list the first image that it refers to ...
        children: ... how many these are ...
        elsewhere: ... and how many more it names that are not cached.
        starts: Where the references of each image begin in `references`; and their end.
        references: Blobs, image after image.
        blob_sizes: Bytes of each.
        present: How many of the blobs something refers to; the others are orphans.
        document: The document of each file.
        folder: Its folder.
        form: What its URL ends with.
        is_latest: Whether its tag is `latest`.
        created: Seconds since the first day.
        pulled: The same.
        listing: For each folder its files, in the order in which it is listed.
    """

    size: Size
    repositories: Repositories
    of_version: Ints
    number: Ints
    version: Ints
    lists: int
    first_child: Ints
    children: Ints
    elsewhere: Ints
    starts: Ints
    references: Ints
    blob_sizes: Ints
    present: int
    document: Ints
    folder: Ints
    form: Ints
    is_latest: Mask
    created: Ints
    pulled: Ints
    listing: tuple[Ints, ...]

    def __len__(self) -> int:
        return len(self.document)

    @property
    def is_list(self) -> Mask:
        """Whether a file is that of a list."""
        return self.document < self.lists

    @property
    def documents(self) -> int:
        """How many documents there are."""
        return len(self.version)

    def repository_of(self, files: Ints) -> Ints:
        """The repository of some files."""
        return self.of_version[self.version[self.document[files]]]

    @property
    def in_use(self) -> NDArray[np.intp]:
        """Some files with a tag that no other one has: those that a list of references names."""
        tagged = np.flatnonzero(self.form == Form.TAG)
        tagged = tagged[~self.repositories.loaded[self.repository_of(tagged)]]
        return tagged[:: max(1, len(tagged) // REFERENCES_IN_USE)]

    @property
    def file_sizes(self) -> NDArray[np.int64]:
        """Bytes of each file: it holds each descriptor twice, once in base64."""
        return self.file_sizes_of(np.arange(len(self)))

    def file_sizes_of(self, files: Ints) -> NDArray[np.int64]:
        """Bytes of some files."""
        return 1_200 + 430 * self.entries_of(self.document[files])

    def children_of(self, documents: Ints) -> Ints:
        """How many cached children lists have; for images a number without a meaning."""
        return self.children[np.minimum(documents, self.lists - 1)]

    def entries_of(self, documents: Ints) -> NDArray[np.int64]:
        """How many descriptors documents hold."""
        images = np.maximum(documents - self.lists, 0)
        of_lists = self.children_of(documents)
        of_lists = of_lists + self.elsewhere[np.minimum(documents, self.lists - 1)]
        of_images = self.starts[images + 1] - self.starts[images]
        return np.where(documents < self.lists, of_lists, of_images).astype(np.int64)

    @property
    def edges(self) -> tuple[Ints, Ints]:
        """Lists, each with an image that it refers to: documents."""
        parents = np.repeat(np.arange(self.lists), self.children)
        return parents, spread(self.first_child, self.children) + self.lists

    def digests(self, what: int, numbers: Ints) -> NDArray[np.uint8]:
        """The digests of documents or blobs, uint8 (k, 32)."""
        return digests_of(self.size.seed, keys_of(what, numbers))


# Digests.


def keys_of(what: int, numbers: Ints) -> NDArray[np.uint64]:
    """Documents, blobs and what is elsewhere, told apart by their first bits."""
    keys: NDArray[np.uint64] = numbers.astype(np.uint64) | np.uint64(what << 56)
    return keys


def digests_of(seed: int, keys: NDArray[np.uint64]) -> NDArray[np.uint8]:
    """A digest for each key, uint8 (k, 32), by four steps of splitmix64 (Steele et al., 2014)."""
    words = np.empty((len(keys), 4), dtype=np.uint64)
    state = _mixed(keys + np.uint64(seed << 32))
    for column in range(4):
        state = state + np.uint64(0x9E3779B97F4A7C15)
        words[:, column] = _mixed(state)
    digests: NDArray[np.uint8] = words.view(np.uint8)
    return digests


def _mixed(state: NDArray[np.uint64]) -> NDArray[np.uint64]:
    state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed: NDArray[np.uint64] = state ^ (state >> np.uint64(31))
    return mixed


def spread(starts: Ints, counts: Ints) -> NDArray[np.int64]:
    """All positions in pieces of an array, piece after piece."""
    ends = np.cumsum(counts, dtype=np.int64)
    shifts = np.repeat(starts - (ends - counts), counts)
    positions: NDArray[np.int64] = np.arange(ends[-1] if len(ends) else 0) + shifts
    return positions


# The cache.


@functools.lru_cache(maxsize=1)
def arrays(size: Size) -> Arrays:
    """Draws a whole cache."""
    rng = np.random.default_rng(size.seed)
    some = _repositories(size.manifests, rng)
    own_latest = some.latest & ~some.same_latest
    versions = some.tags + own_latest
    of_version = np.repeat(np.arange(len(versions), dtype=np.int32), versions)
    firsts = np.cumsum(versions) - versions
    number = (np.arange(len(of_version)) - firsts[of_version]).astype(np.int32)
    beyond = number == some.tags[of_version]
    with_list = some.lists[of_version]
    # A new list around the images of the version before.
    around = with_list & (number > 0) & ~beyond & ~some.loaded[of_version]
    around &= rng.random(len(number)) < 0.03
    fresh = np.where(with_list, rng.choice([1, 2, 3], len(number), p=[0.88, 0.09, 0.03]), 1)
    fresh[around] = 0
    left_behind = ~beyond & (rng.random(len(number)) < 0.04)
    images = fresh + left_behind
    image_version = np.repeat(np.arange(len(number), dtype=np.int32), images)
    first_image = np.cumsum(images) - images
    place = np.arange(len(image_version)) - first_image[image_version]
    dangling = place >= fresh[image_version]
    of_images = (image_version, np.where(dangling, 0, place))
    starts, references, blob_sizes, present = _blobs(
        size.manifests, rng, some, (of_version, number, around), of_images
    )
    list_version = np.flatnonzero(with_list).astype(np.int32)
    holding = _last_true(~around)[list_version]
    children = fresh[holding]
    platforms = rng.choice([2, 2, 3, 4, 5, 6, 8], len(children))
    platforms = np.maximum(children + 1, platforms)
    attested = some.oci[of_version[list_version]] & (rng.random(len(children)) < 0.5)
    elsewhere = platforms - children + attested * np.minimum(platforms, 12 - platforms)
    version = np.concatenate([list_version, image_version])
    lists, documents = len(list_version), len(version)
    # Files: one of each document, and then the second ones.
    form = np.zeros(documents, dtype=np.uint8)
    child = ~dangling & with_list[image_version]
    tagged = rng.random(len(child)) < 0.01
    of_image = np.where(child & tagged, Form.TAG_OF_ITS_OWN, Form.OWN_DIGEST)
    of_image[~dangling & ~child] = Form.TAG
    of_image[child & some.loaded[of_version[image_version]]] = Form.TAG
    form[lists:] = of_image
    document_of_version = np.empty(len(number), dtype=np.int32)
    document_of_version[image_version[place == 0]] = lists + np.flatnonzero(place == 0)
    document_of_version[list_version] = np.arange(lists)
    copied = document_of_version[(firsts + some.tags - 1)[some.same_latest]]
    document = np.concatenate([np.arange(documents, dtype=np.int32), copied])
    form = np.concatenate([form, np.full(len(copied), Form.TAG, dtype=np.uint8)])
    is_latest = np.concatenate([beyond[version], np.ones(len(copied), dtype=bool)])
    # Children of a list in lts/ are in img/, unless the list was loaded.
    folder = np.where(is_latest & (form == Form.TAG), LTS, IMG).astype(np.uint8)
    created, pulled = _times(rng, some.loaded[of_version[version[document]]])
    listing = tuple(
        rng.permutation(np.flatnonzero(folder == one).astype(np.int32)) for one in FOLDERS
    )
    return Arrays(
        size=size,
        repositories=some,
        of_version=of_version,
        number=number,
        version=version,
        lists=lists,
        first_child=first_image[holding],
        children=children,
        elsewhere=elsewhere,
        starts=starts,
        references=references,
        blob_sizes=blob_sizes,
        present=present,
        document=document,
        folder=folder,
        form=form,
        is_latest=is_latest,
        created=created,
        pulled=pulled,
        listing=listing,
    )


def _repositories(manifests: int, rng: np.random.Generator) -> Repositories:
    """Draws repositories until they hold about as many manifests as wanted."""
    many = manifests // 2 + 100
    lists = rng.random(many) < LISTS_SHARE
    lists[0] = True
    # Zipf: a repository has at least n tags with probability 1 / n.
    most = min(MAX_TAGS, 1 + manifests // 100)
    tags = np.minimum(1 / (1 - rng.random(many)), most).astype(np.int32)
    tags[0] = most
    by_tag, by_repository = (
        np.where(lists, shares[True], shares[False])
        for shares in (MANIFESTS_PER_TAG, MANIFESTS_PER_REPOSITORY)
    )
    planned = np.cumsum(by_repository + tags * by_tag)
    many = int(np.searchsorted(planned, manifests)) + 1
    lists, tags = lists[:many], tags[:many]
    weights = np.array(list(REGISTRIES.values()))
    organisation = rng.integers(len(ORGANISATIONS), size=many, dtype=np.int16)
    organisation[500::1_000] = len(ORGANISATIONS)  # the small one
    loaded = rng.random(many) < 0.04
    latest = rng.random(many) < 0.36
    host = rng.choice(len(weights), many, p=weights / weights.sum()).astype(np.int16)
    host[0] = 0  # that of `BIGGEST_REPOSITORY`
    return Repositories(
        host=host,
        organisation=organisation,
        word=rng.integers(len(NAMES), size=many, dtype=np.int16),
        tags=tags,
        lists=lists,
        oci=rng.random(many) < 0.6,
        loaded=loaded,
        prefixed=rng.random(many) < 0.4,
        slow=rng.integers(1, 4, size=many),
        latest=latest,
        same_latest=latest & ~loaded & (rng.random(many) < 0.4),
    )


def _times(rng: np.random.Generator, unknown: Mask) -> tuple[Ints, Ints]:
    """When each file was created and last pulled; `NO_TIME` where that is unknown."""
    created, pulled = rng.integers(SECONDS_COVERED, size=(2, len(unknown)), dtype=np.int32)
    pulled = np.maximum(created, pulled)
    pulled[rng.random(len(unknown)) < 0.02] = NO_TIME
    created[unknown] = pulled[unknown] = NO_TIME
    return created, pulled


def _last_true(flags: Mask) -> NDArray[np.int64]:
    """For each position the last one up to it whose flag is set; the first one is set."""
    last: NDArray[np.int64] = np.maximum.accumulate(np.where(flags, np.arange(len(flags)), 0))
    return last


def _blobs(
    manifests: int,
    rng: np.random.Generator,
    some: Repositories,
    of_versions: tuple[Ints, Ints, Mask],
    of_images: tuple[Ints, Ints],
) -> tuple[Ints, Ints, Ints, int]:
    """Draws the blobs.

    Args:
        manifests: About how many manifests there are.
        rng: Where chance comes from.
        some: The repositories.
        of_versions: Of each version its repository, its place there, whether it has no new image.
        of_images: Of each image its version and its architecture.

    Returns:
        Where the references of images begin, the references, the sizes of all blobs, and how many
        of these are referred to.
    """
    of_version, number, around = of_versions
    image_version, arch = of_images
    images = len(image_version)
    # `n ** u` for a uniform u is at most k with probability log k / log n: Zipf's law.
    base_images = max(8, manifests // 400)
    chosen = (base_images ** rng.random(len(number))).astype(np.int64)
    base = chosen[_last_true((number == 0) | (rng.random(len(number)) < 0.15))][image_version]
    chain = rng.integers(2, MOST_LAYERS_OF_BASE + 1, size=base_images + 1)[base]
    slow = some.slow[of_version[image_version]]
    new = rng.choice([1, 1, 2, 3], images)
    counts = chain + slow + new + 1
    ends = np.cumsum(counts, dtype=np.int64)
    starts = np.concatenate([[0], ends])
    references = np.empty(int(ends[-1]), dtype=np.int32)
    references[ends - 1] = np.arange(images)
    first_new = images + np.cumsum(new) - new
    for place in range(3):
        here = np.flatnonzero(new > place)
        references[(starts[:-1] + chain + slow)[here] + place] = first_new[here] + place
    # Layers that stay: in the order of repositories, slots, versions each is new or as before.
    versions = np.bincount(of_version)
    slots = np.cumsum(some.slow * versions)
    first_slot, first_slow = slots - some.slow * versions, images + int(new.sum())
    repository = np.repeat(np.arange(len(versions)), some.slow * versions)
    within = (np.arange(int(slots[-1])) - first_slot[repository]) % versions[repository]
    first_version = np.cumsum(versions) - versions
    renewed = ~around[first_version[repository] + within] & (rng.random(len(within)) < 0.35)
    layer = first_slow - 1 + np.cumsum(renewed | (within == 0))
    first_base = int(layer[-1]) + 1
    del repository, within, renewed
    of_image = of_version[image_version]
    for place in range(3):
        here = np.flatnonzero(slow > place)
        at = (first_slot + place * versions)[of_image[here]] + number[image_version[here]]
        references[(starts[:-1] + chain)[here] + place] = layer[at]
    # Base layers get numbers in the order of their codes, as far as something refers to them.
    code = (base * MOST_PLATFORMS + arch) * MOST_PLATFORMS
    codes = np.zeros((base_images + 2) * MOST_PLATFORMS**2, dtype=bool)
    for place in range(MOST_LAYERS_OF_BASE):
        codes[code[chain > place] + place] = True
    numbers = np.cumsum(codes) - 1 + first_base
    for place in range(MOST_LAYERS_OF_BASE):
        here = np.flatnonzero(chain > place)
        references[starts[here] + place] = numbers[code[here] + place]
    present = first_base + int(codes.sum())
    many = present + round(first_base * 0.02)
    sizes = np.exp(13.8 + 2.4 * rng.standard_normal(many, dtype=np.float32))
    sizes = np.clip(sizes, 180, 800_000_000).astype(np.int64)
    sizes[:images] = 1_500 + rng.integers(16_384, size=images)
    return starts, references, sizes, present
