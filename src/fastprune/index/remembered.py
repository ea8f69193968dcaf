r"""RememberedScan: what a scan read, as columns that lie in a file and are mapped.

Stage: read, index. Input: the bytes of a file, or columns. Output: columns, or the bytes of a file.
Pure, no I/O; without numpy until a column is asked for as an array.

The file has four parts, all numbers little-endian:

    "fastprune scan\n" and the version of the format as a digit    16 bytes
    the columns of `COLUMNS`, each filled up with zeros to a multiple of 8 bytes
    a JSON object: the fields of `ScanHeader`, and of each column its place and checksums
    the bytes of the JSON object (uint64), its CRC-32 (uint32), "scan"    16 bytes

A column has a CRC-32 (RFC 1952) for each `PIECE_BYTES` of it. They find what a disk or a crash
did to the file. Nothing here keeps off who writes it on purpose: `fastprune.scanning.store` does.

Rows are ordered by folder and digest, as in a `CacheIndex`. A manifest that could not be read or
understood has no row, so each scan reads it.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from fastprune.errors import NotBelievedError
from fastprune.model import DIGEST_BYTES
from fastprune.reading.marks import IDENTITY_BYTES

if TYPE_CHECKING:
    from numpy.typing import NDArray

VERSION = 1
"""The version of the format. Any change that would be misread raises it."""

PIECE_BYTES = 4 << 20

COLUMNS = {
    "digests": ("u1", DIGEST_BYTES),
    "identities": ("u1", IDENTITY_BYTES),
    "kinds": ("u1", 1),
    "url_forms": ("u1", 1),
    "url_lengths": ("<u4", 1),
    "url_pool": ("u1", 1),
    "created": ("<i8", 1),
    "pulled": ("<i8", 1),
    "counts": ("<u4", 1),
    "blob_ids": ("<u4", 1),
    "blob_digests": ("u1", DIGEST_BYTES),
    "blob_sizes": ("<i8", 1),
    "child_parents": ("<i4", 1),
    "child_rows": ("<i4", 1),
    "strangers": ("<u8", 1),
}
"""The columns: name -> type of an element, and elements a row.

- `digests`: the file names. `identities`: see `fastprune.reading.identities`.
- `kinds`, `url_forms`, `url_lengths`: as in a `ShardIndex`.
- `url_pool`: the URLs in UTF-8, row after row; one that ends with the digest of its own row is cut
  before that.
- `created`, `pulled`: see `fastprune.index.times`.
- `counts`: of an image, how many blobs it refers to; of a list, how many of its children are no
  row here.
- `blob_ids`: the blobs of the images, row after row: positions in `blob_digests`.
- `blob_digests`: first the blobs with a file, sorted, then the others, sorted.
- `blob_sizes`: bytes by the descriptors of the rows, which all give the same size; -1 without any.
- `child_parents`: rows of lists, each with the row of a child in `child_rows`; sorted.
- `strangers`: the first eight bytes of the digest of each child that is no row, as a big-endian
  number; list after list. A list is read again if a manifest comes that may be such a child.
"""

_MAGIC = b"fastprune scan\n%d" % VERSION
_END = struct.Struct("<QI4s")
_END_MAGIC = b"scan"
_ALIGNMENT = 8
_IS_LITTLE_ENDIAN = struct.pack("=H", 1) == struct.pack("<H", 1)


class RememberedFolder(NamedTuple):
    """What is remembered of a folder of the cache.

    Attributes:
        identity: What `folder_identity` gave before the folder was listed, in hex; empty if it has
            to be listed again in any case.
        files: How many names of it have a row; of the folder of blobs: how many have a file.
        unread: The names of manifests that have no row.
        foreign: Paths in it that are not cached files.
    """

    identity: str
    files: int
    unread: tuple[str, ...] = ()
    foreign: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ScanHeader:
    """What is remembered beside the columns.

    Attributes:
        made_by: The version of the fastprune that read it.
        cache: What tells the cache from others.
        path: Where the cache was; for people.
        layout: What kind of cache it is.
        scanned_at: When the scan began: seconds since the epoch.
        max_manifest_bytes: Larger manifest files were not read.
        folders: Those of the manifests, then that of the blobs.
        odd_times: Malformed times as they were written: row, created, pulled.
    """

    made_by: str
    cache: str
    path: str
    layout: str
    scanned_at: float
    max_manifest_bytes: int
    folders: tuple[RememberedFolder, ...]
    odd_times: tuple[tuple[int, str, str], ...]


class Piece(NamedTuple):
    """A part of the file, and its checksum."""

    start: int
    size: int
    checksum: int


@dataclass(frozen=True, slots=True, eq=False)
class RememberedScan:
    """A remembered scan.

    Attributes:
        header: What is remembered beside the columns.
        pieces: What has to be checked before a column is believed.
    """

    header: ScanHeader
    pieces: tuple[Piece, ...]
    _content: memoryview
    _places: Mapping[str, tuple[int, int]]
    _forget: Callable[[int, int], None]

    def __len__(self) -> int:
        return self._places["kinds"][1]

    def raw(self, name: str) -> memoryview:
        """The bytes of a column."""
        start, size = self._places[name]
        return self._content[start : start + size]

    def column(self, name: str) -> NDArray[Any]:
        """A column as an array: (n,), or (n, k) if it has k elements a row; read only."""
        import numpy as np

        kind, width = COLUMNS[name]
        array = np.frombuffer(self.raw(name), dtype=np.dtype(kind).newbyteorder("="))
        return array if width == 1 else array.reshape(-1, width)

    def place(self, name: str) -> tuple[int, int]:
        """Where a column begins in the file, and how many bytes it has."""
        return self._places[name]

    def forget(self, *names: str) -> None:
        """Gives back the memory of columns that are not needed soon; they can still be read."""
        for name in names:
            self._forget(*self._places[name])


def encoded(
    header: ScanHeader, columns: Mapping[str, Callable[[], Iterable[NDArray[Any]]]]
) -> Iterator[bytes | memoryview]:
    """The bytes of a file, piece by piece.

    Args:
        header: What is remembered beside the columns.
        columns: For each name of `COLUMNS`, what makes the arrays that it has end to end; called
            when it is written.
    """
    import orjson

    yield _MAGIC
    at, places = len(_MAGIC), {}
    for name, (kind, _) in COLUMNS.items():
        checksums, size = [], 0
        for piece in _pieces(columns[name](), kind):
            size += len(piece)
            checksums.append(zlib.crc32(piece))
            yield piece
        if left := -size % _ALIGNMENT:
            filling = bytes(left)
            checksums[-1] = zlib.crc32(filling, checksums[-1])
            yield filling
        places[name] = (at, size, checksums)
        at += size + left
    # orjson writes a plain tuple as an array, and no named one.
    fields = asdict(header) | {"folders": [tuple(folder) for folder in header.folders]}
    footer = orjson.dumps({"columns": places, **fields})
    yield footer
    yield _END.pack(len(footer), zlib.crc32(footer), _END_MAGIC)


def _pieces(arrays: Iterable[NDArray[Any]], kind: str) -> Iterator[memoryview]:
    """The bytes of arrays, end to end, in pieces that have a checksum each.

    What fills a piece alone is not copied: most columns are one array.
    """
    held = bytearray()
    for array in arrays:
        content = array.astype(kind, copy=False).reshape(-1).view("u1").data
        while len(held) + len(content) >= PIECE_BYTES:
            missing = PIECE_BYTES - len(held)
            some, content = content[:missing], content[missing:]
            if held:
                held += some
                yield memoryview(held)
                held = bytearray()
            else:
                yield some
        held += content
    if held:
        yield memoryview(held)


def decoded(
    content: memoryview, forget: Callable[[int, int], None] = lambda start, size: None
) -> RememberedScan:
    """The scan in a file, whose pieces are not checked yet.

    Args:
        content: The whole file, mapped.
        forget: Gives back the memory of a part of it: where it begins, and its bytes.

    Raises:
        NotBelievedError: It is damaged, or of another version.
    """
    import orjson

    try:
        if bytes(content[: len(_MAGIC) - 1]) != _MAGIC[:-1]:
            raise ValueError
        if bytes(content[: len(_MAGIC)]) != _MAGIC or not _IS_LITTLE_ENDIAN:
            raise NotBelievedError("it is of another version")
        end = len(content) - _END.size
        size, checksum, magic = _END.unpack(content[end:])
        footer = bytes(content[max(0, end - size) : end])
        if magic != _END_MAGIC or len(footer) != size or zlib.crc32(footer) != checksum:
            raise ValueError
        document = orjson.loads(footer)
        places: dict[str, list[Any]] = document.pop("columns")
        header = ScanHeader(**document)
        header = ScanHeader(
            **document
            | {
                "folders": tuple(
                    RememberedFolder(identity, files, tuple(unread), tuple(foreign))
                    for identity, files, unread, foreign in header.folders
                ),
                "odd_times": tuple((row, *texts) for row, *texts in header.odd_times),
            }
        )
    except (ValueError, TypeError, LookupError, AttributeError, struct.error):
        raise NotBelievedError("it is damaged") from None
    pieces = [
        Piece(first, min(PIECE_BYTES, start + size + -size % _ALIGNMENT - first), checksum)
        for start, size, checksums in places.values()
        for first, checksum in zip(range(start, start + size, PIECE_BYTES), checksums, strict=True)
    ]
    return RememberedScan(
        header,
        tuple(pieces),
        content,
        {name: (start, size) for name, (start, size, _) in places.items()},
        forget,
    )
