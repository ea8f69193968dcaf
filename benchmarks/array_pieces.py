"""What workers would send of a cache that is arrays of numbers: names in folders, and shards.

The pieces come in the order in which a file system lists the files: an arbitrary one. They are made
in a worker process, which alone holds the arrays. So neither their memory nor the time to make them
counts for the process that merges.
"""

from __future__ import annotations

import functools
from array import array
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from array_answers import answers_of
from arrays import (
    BLOB,
    DOCUMENT,
    ELSEWHERE,
    FOLDERS,
    NO_TIME,
    Arrays,
    Form,
    Ints,
    Size,
    arrays,
    digests_of,
    keys_of,
    spread,
)
from content import FIRST_DAY
from fastprune.index.merging import merge_shards
from fastprune.reading.folders import ListingPart
from fastprune.reading.marks import FileSizes
from fastprune.reading.shards import EMPTY_TIME, ShardIndex, UrlForm
from generate import MAX_TAGS

ROWS_IN_PIECE, ROWS_IN_CHUNK = 8_192, 1_024  # as the scanner cuts large caches
NAMES_IN_PART = 1 << 16  # as workers list blobs, each part in order
REGISTRY = "quay.io"
PATTERNS = (r"^quay\.io/",)
"""The pattern whose bit the shards have."""

_EPOCH = np.datetime64(FIRST_DAY, "s")


class Piece(NamedTuple):
    """Something that a worker is asked for.

    Attributes:
        size: Of which cache.
        what: `counts`, `names`, `blobs`, `shard`, `orphans` or `answers`.
        folder: Of names and of a shard.
        number: Which of them; of a shard its chunk.
        first: Its first file in the listing of the folder.
    """

    size: Size
    what: str
    folder: int = 0
    number: int = 0
    first: int = 0


def pieces(size: Size, what: str, files: list[int]) -> list[Piece]:
    """All pieces of names or of shards, in order; `files` says how many each folder has."""
    rows = NAMES_IN_PART if what == "names" else ROWS_IN_PIECE
    places = [(folder, first) for folder in FOLDERS for first in range(0, files[folder], rows)]
    return [Piece(size, what, folder, at, first) for at, (folder, first) in enumerate(places)]


def piece_of(piece: Piece) -> Iterator[Any]:
    """Makes a piece; runs in a worker, which draws the cache when it is first asked."""
    whole = arrays(piece.size)
    if piece.what == "counts":
        yield counts_of(whole)
    elif piece.what == "answers":
        yield answers_of(whole)
    elif piece.what == "references":
        yield references_in_use(whole)
    elif piece.what == "names":
        files = whole.listing[piece.folder][piece.first : piece.first + NAMES_IN_PART]
        yield whole.digests(DOCUMENT, whole.document[files]).tobytes()
    elif piece.what == "blobs":
        many = len(whole.blob_sizes)
        for first in range(0, many, NAMES_IN_PART):
            last = min(first + NAMES_IN_PART, many)
            digests = whole.digests(BLOB, np.arange(first, last))
            ordered = np.take(digests, np.argsort(digests.view(">u8")[:, 0]), axis=0)
            yield ListingPart(ordered.tobytes(), (), last == many)
    elif piece.what == "orphans":
        yield FileSizes(0, _packed("q", orphan_sizes(whole)))
    else:
        files = whole.listing[piece.folder][piece.first : piece.first + ROWS_IN_PIECE]
        chunks = range(0, len(files), ROWS_IN_CHUNK)
        yield merge_shards(
            [shard_of(whole, piece.number, files[at : at + ROWS_IN_CHUNK]) for at in chunks]
        )


def counts_of(whole: Arrays) -> dict[str, Any]:
    """The cache in figures."""
    named = whole.entries_of(whole.document)
    children = np.where(whole.is_list, whole.children_of(whole.document), 0)
    return {
        "manifests": len(whole),
        "files": [len(files) for files in whole.listing],
        "lists": int(whole.is_list.sum()),
        "children": int(children.sum()),
        "repositories": len(whole.repositories.tags),
        "blobs": len(whole.blob_sizes),
        "orphans": len(whole.blob_sizes) - whole.present,
        "references": int(named[~whole.is_list].sum()),
        "bytes": int(whole.blob_sizes.sum()) + int(whole.file_sizes.sum()),
    }


def orphan_sizes(whole: Arrays) -> Ints:
    """Bytes of the files of the orphans, in the order of their digests."""
    orphans = np.arange(whole.present, len(whole.blob_sizes))
    words = whole.digests(BLOB, orphans).view(">u8").reshape(-1, 4)
    sizes: Ints = whole.blob_sizes[orphans[np.lexsort(words.T[::-1])]]
    return sizes


def shard_of(whole: Arrays, chunk: int, files: Ints) -> ShardIndex:
    """The shard that a worker makes of some files."""
    documents = whole.document[files]
    lists = documents < whole.lists
    counts = whole.entries_of(documents)
    keys, sizes = _edges(whole, documents, counts)
    sums = np.zeros(len(files), dtype=np.int64)
    images = np.flatnonzero(~lists)
    if len(images):
        own = counts[images]
        sums[images] = np.add.reduceat(sizes, np.cumsum(own) - own)
    urls = [url.encode() for url in pooled_urls(whole, files)]
    own_digest = whole.form[files] == Form.OWN_DIGEST
    repositories = whole.repositories
    of_file = whole.repository_of(files)
    hosts = np.array([name == REGISTRY for name in repositories.hosts])
    return ShardIndex(
        chunk=chunk,
        kinds=(2 * repositories.oci[of_file] + ~lists).astype(np.uint8).tobytes(),
        url_forms=np.where(own_digest, UrlForm.OWN_DIGEST, UrlForm.TAG).astype("u1").tobytes(),
        url_bytes=b"".join(urls),
        url_lengths=array("I", map(len, urls)),
        created=_texts(whole.created[files]),
        pulled=_texts(whole.pulled[files]),
        odd_times=(),
        url_matches=_packed("I", hosts[repositories.host[of_file]]),
        file_sizes=_packed("I", whole.file_sizes_of(files)),
        declared=_packed("q", sums),
        digest_counts=_packed("I", counts),
        digests=digests_of(whole.size.seed, keys).tobytes(),
        sizes=_packed("q", sizes),
        faults=(),
    )


def _edges(whole: Arrays, documents: Ints, counts: Ints) -> tuple[NDArray[np.uint64], Ints]:
    """The keys of the digests that documents refer to, in order; the sizes that images give."""
    keys = np.empty(int(counts.sum()), dtype=np.uint64)
    at = np.cumsum(counts) - counts
    is_list = documents < whole.lists
    lists, images = documents[is_list], documents[~is_list] - whole.lists
    references = whole.references[spread(whole.starts[images], counts[~is_list])]
    keys[spread(at[~is_list], counts[~is_list])] = keys_of(BLOB, references)
    children = whole.children[lists]
    there = spread(whole.first_child[lists], children) + whole.lists
    keys[spread(at[is_list], children)] = keys_of(DOCUMENT, there)
    # A list names at most 16 manifests that are not cached.
    elsewhere = spread(lists.astype(np.int64) * 16, whole.elsewhere[lists])
    keys[spread(at[is_list] + children, whole.elsewhere[lists])] = keys_of(ELSEWHERE, elsewhere)
    return keys, whole.blob_sizes[references]


def pooled_urls(whole: Arrays, files: Ints) -> Iterator[str]:
    """The URLs of files, without the digest if it is that of the file."""
    some, plain_and_prefixed = whole.repositories, tags()
    of_file = whole.repository_of(files)
    documents = whole.document[files]
    columns = (
        *(some.host[of_file], some.organisation[of_file], some.word[of_file]),
        *(of_file, some.prefixed[of_file], whole.number[whole.version[documents]]),
        *(whole.is_latest[files], whole.form[files], documents),
    )
    for host, organisation, word, repository, prefixed, number, latest, form, document in zip(
        *(column.tolist() for column in columns), strict=True
    ):
        name = some.name(host, organisation, word, repository)
        if form == Form.OWN_DIGEST:
            yield name
            continue
        tag = "latest" if latest else plain_and_prefixed[prefixed][number]
        if form == Form.TAG_OF_ITS_OWN:
            digest = whole.digests(DOCUMENT, np.array([document]))
            tag += f"-{digest.tobytes().hex()[:6]}"
        yield f"{name}:{tag}"


def references_in_use(whole: Arrays) -> tuple[str, ...]:
    """The URLs of `Arrays.in_use`."""
    return tuple(pooled_urls(whole, whole.in_use))


@functools.cache
def tags() -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The tags by their numbers, without and with a v."""
    plain = tuple(f"{n // 100 + 1}.{n // 10 % 10}.{n % 10}" for n in range(MAX_TAGS + 1))
    return plain, tuple(f"v{tag}" for tag in plain)


def _texts(times: Ints) -> bytes:
    texts = np.datetime_as_string(_EPOCH + np.maximum(times, 0)).astype(f"S{len(EMPTY_TIME)}")
    texts[times == NO_TIME] = EMPTY_TIME
    return texts.tobytes()


def _packed(code: str, values: NDArray[Any]) -> array[int]:
    packed = array(code)
    packed.frombytes(values.astype(np.dtype(code)).tobytes())
    return packed
