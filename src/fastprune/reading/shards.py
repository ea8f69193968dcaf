"""Shards: what a worker read from a chunk of manifest files, as flat columns.

Stage: parse. Input: `ManifestRecord`s. Output: `ShardIndex`, cheap to send between
processes. Pure, no I/O, and no numpy: workers start without it.
"""

from __future__ import annotations

import binascii
import re
from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from itertools import chain
from typing import Any, NamedTuple, TypeAlias

from fastprune.errors import ManifestError
from fastprune.layouts.layout import ManifestRecord, shown
from fastprune.model import DIGEST_BYTES, DIGEST_PREFIX, LARGEST_INT64, LINE_CHARS

ABSENT = 255
"""The kind of a row whose file could not be read or understood."""

TIME_CHARS = 19
"""Characters of a time: YYYY-MM-DDTHH:MM:SS."""

EMPTY_TIME = b"\xff" * TIME_CHARS
"""Stands in the time columns for an empty or odd text. It isn't ASCII, so no file can hold it."""

UrlMatch: TypeAlias = "Callable[[Sequence[bytes]], array[int]]"

_BEFORE_HEX = f"\n{DIGEST_PREFIX}".encode()
_LINE_WORDS = LINE_CHARS // len(_BEFORE_HEX)
_OWN_DIGEST_CHARS = len("@") + len(DIGEST_PREFIX) + 2 * DIGEST_BYTES
ODD_TIME_CHARS = 64
"""Characters that are kept of a time that is not `TIME_CHARS` long."""

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}").fullmatch
_ABSENT_RECORD = ManifestRecord(ABSENT, "", "", "", "", [])


class UrlForm(IntEnum):
    """What a URL ends with. Most digest URLs name the digest of their own file."""

    TAG = 0
    DIGEST = 1
    OWN_DIGEST = 2


# The members of an enumeration are slow to get.
_TAG, _ANY_DIGEST, _OWN_DIGEST = map(int, UrlForm)


class Fault(NamedTuple):
    """A manifest file that could not be read or understood.

    Attributes:
        row: Position of the file in its chunk.
        reason: Why, in words.
        retry: Whether reading again may help: the server may have been writing it, or the
            system was short of something.
        vanished: Whether the file was gone, which is no fault of the cache.
        unknown: Whether it could not be read, or is no regular file: it may be sound. If not,
            it was read, and its content is broken.
    """

    row: int
    reason: str
    retry: bool = False
    vanished: bool = False
    unknown: bool = False


class Mismatch(NamedTuple):
    """A manifest file that can be understood, but does not match its name; see `Fault`."""

    row: int
    reason: str


@dataclass(frozen=True, slots=True)
class ShardIndex:
    """Flat columns of one chunk of manifest files, a row per file that was asked for.

    Attributes:
        chunk: The number of the chunk.
        kinds: uint8 a row; `ABSENT` where there is a fault.
        url_forms: uint8 a row: values of `UrlForm`.
        url_bytes: The URLs in UTF-8, one after the other. A URL that ends with the digest of
            its own file, which the file name tells, is cut before it.
        url_lengths: uint32 a row: bytes of these.
        created: `TIME_CHARS` ASCII characters a row, or `EMPTY_TIME`.
        pulled: The same.
        odd_times: Triples of row, column (0 created, 1 pulled) and the text that didn't fit.
        url_matches: uint32 a row: bit k says that pattern set k matches the URL; empty
            if no patterns were given.
        file_sizes: uint32 a row: bytes of the file.
        declared: int64 a row: sum of the sizes of an image's descriptors, else 0.
        digest_counts: uint32 a row: how many digests it refers to; empty without edges.
        digests: 32 raw bytes each, row after row: children of lists, blobs of images.
        sizes: int64 each: the descriptor's size of every digest of an image.
        faults: What could not be read.
        mismatches: The files that do not match their names, if that was asked for.
        read: uint32: which files of the chunk have a row, ascending: those that are not as they
            are remembered. None if nothing was remembered; then all have one.
        identities: The identity of each row's file before it was read (see
            `fastprune.reading.identities`); empty if that was not asked for.
        known_matches: `url_matches` of the files that have no row.
    """

    chunk: int
    kinds: bytes
    url_forms: bytes
    url_bytes: bytes
    url_lengths: array[int]
    created: bytes
    pulled: bytes
    odd_times: tuple[tuple[int, int, str], ...]
    url_matches: array[int]
    file_sizes: array[int]
    declared: array[int]
    digest_counts: array[int]
    digests: bytes
    sizes: array[int]
    faults: tuple[Fault, ...]
    mismatches: tuple[Mismatch, ...] = ()
    read: array[int] | None = None
    identities: bytes = b""
    known_matches: array[int] = field(default_factory=lambda: array("I"))


class ChunkRecords:
    """The records of one chunk while it is being read, a slot per file.

    Slots that nothing was put into are absent in the shard that `pack` makes.

    Attributes:
        names: The file name of each slot.
        faults: What could not be read or understood.
        mismatches: The files that do not match their names.
    """

    __slots__ = ("_chunk", "_records", "_sizes", "faults", "mismatches", "names")

    def __init__(self, chunk: int, names: Sequence[str]) -> None:
        self._chunk = chunk
        self.names = names
        self._records = [_ABSENT_RECORD] * len(names)
        self._sizes = array("I", bytes(4 * len(names)))
        self.faults: list[Fault] = []
        self.mismatches: list[Mismatch] = []

    def put(self, row: int, record: ManifestRecord, size: int) -> None:
        """Stores the record of a row's file, and its size in bytes."""
        self._records[row] = record
        self._sizes[row] = size

    def pack(self, *, edges: bool, match: UrlMatch | None) -> ShardIndex:
        """Turns the records into columns; records that fail the checks become faults.

        Without edges, digests and their sizes are checked, and left out. `match` gives the bits of
        the pattern sets that match URLs in UTF-8.
        """
        try:
            packed = _pack_edges(self._records)
        except ManifestError:
            self._drop_invalid()
            packed = _pack_edges(self._records)
        kinds, urls, created, pulled, _, _ = _columns(self._records)
        forms = url_forms(urls, self.names)
        pooled = [
            url[:-_OWN_DIGEST_CHARS] if form == _OWN_DIGEST else url
            for url, form in zip(urls, forms, strict=True)
        ]
        url_bytes, url_lengths = _pack_texts(pooled)
        odd_times: list[tuple[int, int, str]] = []
        return ShardIndex(
            chunk=self._chunk,
            kinds=bytes(kinds),
            url_forms=forms,
            url_bytes=url_bytes,
            url_lengths=url_lengths,
            created=_pack_times(created, 0, odd_times),
            pulled=_pack_times(pulled, 1, odd_times),
            odd_times=tuple(odd_times),
            url_matches=match([url.encode() for url in urls]) if match else array("I"),
            file_sizes=self._sizes,
            declared=packed.declared,
            digest_counts=packed.counts if edges else array("I"),
            digests=packed.digests if edges else b"",
            sizes=packed.sizes if edges else array("q"),
            faults=tuple(self.faults),
            mismatches=tuple(
                mismatch for mismatch in self.mismatches if kinds[mismatch.row] != ABSENT
            ),
        )

    def _drop_invalid(self) -> None:
        for row, record in enumerate(self._records):
            try:
                check_record(record)
            except ManifestError as error:
                self.faults.append(Fault(row, str(error)))
                self._records[row] = _ABSENT_RECORD


def _columns(records: Sequence[ManifestRecord]) -> Sequence[tuple[Any, ...]]:
    """The fields of records, a tuple for each field; empty ones without records."""
    return tuple(zip(*records, strict=True)) or ((),) * len(ManifestRecord._fields)


class _Edges(NamedTuple):
    digests: bytes
    counts: array[int]
    sizes: array[int]
    declared: array[int]


def _pack_edges(records: Sequence[ManifestRecord]) -> _Edges:
    *_, digest_lines, size_lists = _columns(records)
    digests = pack_digests(digest_lines)
    sizes = pack_sizes(list(chain.from_iterable(size_lists)))
    try:
        declared = array("q", map(sum, size_lists))
    except OverflowError:
        raise ManifestError("the sizes of an image add up to more than 2^63 bytes") from None
    # Every line was checked to be as long as a digest.
    counts = array("I", [(len(lines) + 1) // LINE_CHARS for lines in digest_lines])
    return _Edges(digests, counts, sizes, declared)


def check_record(record: ManifestRecord) -> None:
    """Checks one record as `ChunkRecords.pack` checks a whole chunk at once.

    Raises:
        ManifestError: A digest or a size can't be used; the message says which.
    """
    _pack_edges([record])


def pack_digests(lines: Sequence[str]) -> bytes:
    """Turns digests into raw bytes, all or nothing.

    There is a line feed between two; each should be `sha256:` and 64 lower-case hex digits. The
    check is strict, and costs a fraction of checking each digest alone. A line feed and the prefix
    are one word of eight bytes, and the hex digits are eight more. So every ninth word is checked
    and removed, until only hex digits are left.

    Raises:
        ManifestError: At least one digest has another form.
    """
    text = "\n".join(["", *filter(None, lines)])
    try:
        count, rest = divmod(len(text), LINE_CHARS)
        if rest or text != text.lower():
            raise ValueError
        words = array("Q", text.encode("ascii"))
        # After a line of another length, a line feed is among the hex digits.
        if words[::_LINE_WORDS].tobytes() != _BEFORE_HEX * count:
            raise ValueError
        del words[::_LINE_WORDS]
        return binascii.unhexlify(words)
    except ValueError:
        odd = next((line for line in text[1:].split("\n") if not is_digest(line)), text[1:])
        raise ManifestError(f"not a sha256 digest: {odd[:80]!r}") from None


def is_digest(text: str) -> bool:
    """Whether a text is `sha256:` and 64 lower-case hex digits."""
    return _DIGEST(text) is not None


def is_digest_url(url: str) -> bool:
    """Whether a URL is `repository@sha256:<64 lower-case hex digits>`."""
    repository, _, digest = url.rpartition("@")
    return repository != "" and _DIGEST(digest) is not None


def url_form(url: str, name: str) -> UrlForm:
    """What a URL ends with; `name` is that of its file, 64 lower-case hex digits."""
    return UrlForm(url_forms([url], [name])[0])


def url_forms(urls: Sequence[str], names: Sequence[str]) -> bytes:
    """What many URLs end with: values of `UrlForm`; see `url_form`."""
    ends = [f"@{DIGEST_PREFIX}{name}" for name in names]
    return bytes(
        [
            _OWN_DIGEST
            if is_own and len(url) > _OWN_DIGEST_CHARS
            else (_ANY_DIGEST if "@" in url and is_digest_url(url) else _TAG)
            for url, is_own in zip(urls, map(str.endswith, urls, ends), strict=True)
        ]
    )


def _pack_texts(texts: Sequence[str]) -> tuple[bytes, array[int]]:
    """Texts in UTF-8 end to end, and the bytes of each."""
    joined = "".join(texts)
    if joined.isascii():
        return joined.encode("ascii"), array("I", map(len, texts))
    encoded = [text.encode() for text in texts]
    return b"".join(encoded), array("I", map(len, encoded))


def pack_sizes(sizes: Sequence[int]) -> array[int]:
    """Turns descriptor sizes into an int64 array.

    Raises:
        ManifestError: One is not a whole number from 0 to 2^63 - 1.
    """
    try:
        packed = array("q", sizes)
    except (TypeError, OverflowError):
        packed = None
    if packed is None or set(map(type, sizes)) - {int} or (packed and min(packed) < 0):
        whole = (size for size in sizes if type(size) is not int or not 0 <= size <= LARGEST_INT64)
        odd: object = next(whole, sizes[0])
        raise ManifestError(f"not a size: {shown(odd)}")
    return packed


def _pack_times(texts: Sequence[str], column: int, odd_times: list[tuple[int, int, str]]) -> bytes:
    joined = "".join(texts)
    if joined.isascii() and set(map(len, texts)) == {TIME_CHARS}:
        return joined.encode("ascii")
    fitting = []
    for row, text in enumerate(texts):
        fits = len(text) == TIME_CHARS and text.isascii()
        fitting.append(text.encode("ascii") if fits else EMPTY_TIME)
        if text and not fits:
            odd_times.append((row, column, text[:ODD_TIME_CHARS]))
    return b"".join(fitting)
