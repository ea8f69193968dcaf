r"""Files of flat columns that one run leaves for the next: their bytes, checked and mapped.

Stage: read, index. Input: the bytes of a file, or columns. Output: columns, or the bytes of a file.
Pure, no I/O; without numpy until a column is asked for as an array.

Such a file has four parts, all numbers little-endian:

    what it is, a line feed, and the version of the format as a digit    16 bytes
    the columns, each filled up with zeros to a multiple of 8 bytes
    a JSON object: fields, and in `columns` of each column its place, bytes and checksums
    the bytes of the JSON object (uint64), its CRC-32 (uint32), 4 letters    16 bytes

A column has a CRC-32 (RFC 1952) for each `PIECE_BYTES` of it. They find what a disk or a crash
did to the file. Nothing here keeps off who writes it on purpose: `fastprune.scanning.store` does.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar

from fastprune.errors import NotBelievedError

if TYPE_CHECKING:
    from numpy.typing import NDArray

PIECE_BYTES = 4 << 20

_END = struct.Struct("<QI4s")
_ALIGNMENT = 8
_IS_LITTLE_ENDIAN = struct.pack("=H", 1) == struct.pack("<H", 1)


class ColumnForm(NamedTuple):
    """What kind of file it is.

    Attributes:
        magic: Its first 16 bytes. The last one is the version.
        end_magic: Its last 4 bytes.
        columns: The columns: name -> type of an element, and elements a row.
        counted: The column whose rows are counted.
    """

    magic: bytes
    end_magic: bytes
    columns: Mapping[str, tuple[str, int]]
    counted: str


class Piece(NamedTuple):
    """A part of the file, and its checksum."""

    start: int
    size: int
    checksum: int


@dataclass(frozen=True, slots=True)
class Origin:
    """Who wrote a file, and about what: the header of each begins with this.

    Attributes:
        made_by: The version of the fastprune that wrote it.
        cache: What tells the cache from others.
        path: Where the cache was; for people.
        layout: What kind of cache it is.
    """

    made_by: str
    cache: str
    path: str
    layout: str


Header = TypeVar("Header", bound=Origin)


@dataclass(frozen=True, slots=True, eq=False)
class ColumnFile(Generic[Header]):
    """A file of columns.

    Attributes:
        header: What is in it beside the columns.
        pieces: What has to be checked before a column is believed.
    """

    header: Header
    pieces: tuple[Piece, ...]
    _form: ColumnForm
    _content: memoryview
    _places: Mapping[str, tuple[int, int]]
    _forget: Callable[[int, int], None]

    def __len__(self) -> int:
        kind, width = self._form.columns[self._form.counted]
        bytes_each = int(kind[-1])
        return self._places[self._form.counted][1] // (bytes_each * width)

    def raw(self, name: str) -> memoryview:
        """The bytes of a column."""
        start, size = self._places[name]
        return self._content[start : start + size]

    def column(self, name: str) -> NDArray[Any]:
        """A column as an array: (n,), or (n, k) if it has k elements a row; read only."""
        import numpy as np

        kind, width = self._form.columns[name]
        array = np.frombuffer(self.raw(name), dtype=np.dtype(kind).newbyteorder("="))
        return array if width == 1 else array.reshape(-1, width)

    def place(self, name: str) -> tuple[int, int]:
        """Where a column begins in the file, and how many bytes it has."""
        return self._places[name]

    def forget(self, *names: str) -> None:
        """Gives back the memory of columns that are not needed soon; they can still be read."""
        for name in names:
            self._forget(*self._places[name])


def encoded_columns(
    form: ColumnForm,
    fields: Mapping[str, Any],
    columns: Mapping[str, Callable[[], Iterable[NDArray[Any]]]],
) -> Iterator[bytes | memoryview]:
    """The bytes of a file, piece by piece.

    Args:
        form: What kind of file it is.
        fields: What goes into the JSON object.
        columns: What makes the arrays that each column has end to end; called when it is written.
    """
    import orjson

    yield form.magic
    at, places = len(form.magic), {}
    for name, (kind, _) in form.columns.items():
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
    footer = orjson.dumps({"columns": places, **fields})
    yield footer
    yield _END.pack(len(footer), zlib.crc32(footer), form.end_magic)


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


def decoded_columns(
    form: ColumnForm,
    content: memoryview,
    header_of: Callable[[dict[str, Any]], Header],
    forget: Callable[[int, int], None],
) -> ColumnFile[Header]:
    """The columns in a file that is mapped, whose pieces are not checked yet.

    `forget` gives back the memory of a part of it: where it begins, and its bytes.

    Raises:
        NotBelievedError: It is damaged, or of another version.
    """
    import orjson

    magic = form.magic
    try:
        if bytes(content[: len(magic) - 1]) != magic[:-1]:
            raise ValueError
        if bytes(content[: len(magic)]) != magic or not _IS_LITTLE_ENDIAN:
            raise NotBelievedError("it is of another version")
        end = len(content) - _END.size
        size, checksum, end_magic = _END.unpack(content[end:])
        footer = bytes(content[max(0, end - size) : end])
        if end_magic != form.end_magic or len(footer) != size or zlib.crc32(footer) != checksum:
            raise ValueError
        fields: dict[str, Any] = orjson.loads(footer)
        places: dict[str, list[Any]] = fields.pop("columns")
        pieces = [
            Piece(first, min(PIECE_BYTES, start + size + -size % _ALIGNMENT - first), checksum)
            for start, size, checksums in places.values()
            for first, checksum in zip(
                range(start, start + size, PIECE_BYTES), checksums, strict=True
            )
        ]
        found = {name: (start, size) for name, (start, size, _) in places.items()}
        header = header_of(fields)
    except (ValueError, TypeError, LookupError, AttributeError, struct.error):
        raise NotBelievedError("it is damaged") from None
    return ColumnFile(header, tuple(pieces), form, content, found, forget)
