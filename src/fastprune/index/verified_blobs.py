r"""VerifiedBlobs: which blobs were read and found sound, and when, as columns of a file.

Stage: read, index. Input: the bytes of a file, or columns. Output: columns, or the bytes of a file.
Pure, no I/O; without numpy until a column is asked for as an array.

`fastprune.index.column_files` has the format. The file begins with "fastprune blob\n" and the
version, and ends with "blob". It has the columns of `COLUMNS`, and the fields of `VerifiedHeader`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from fastprune.index.column_files import (
    ColumnFile,
    ColumnForm,
    Origin,
    decoded_columns,
    encoded_columns,
)
from fastprune.model import DIGEST_BYTES
from fastprune.reading.marks import BLOB_IDENTITY_BYTES

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from fastprune.index.cache_index import Rows
    from fastprune.index.digests import Digests

VERSION = 1
"""The version of the format. Any change that would be misread raises it."""

COLUMNS = {
    "digests": ("u1", DIGEST_BYTES),
    "identities": ("u1", BLOB_IDENTITY_BYTES),
    "verified": ("<u4", 1),
}
"""The columns: name -> type of an element, and elements a row.

- `digests`: the names of the files, ascending.
- `identities`: what `fastprune.reading.identities` gave before the file was read, and after it.
- `verified`: when its content was found to match its name: seconds since the epoch.
"""

FORM = ColumnForm(b"fastprune blob\n%d" % VERSION, b"blob", COLUMNS, "verified")


@dataclass(frozen=True, slots=True)
class VerifiedHeader(Origin):
    """What is kept beside the columns.

    Attributes:
        written_at: When it was written: seconds since the epoch.
        since: What was verified from then on is not read again by a run that goes on with the
            last one: seconds since the epoch.
    """

    written_at: float
    since: int


VerifiedBlobs = ColumnFile[VerifiedHeader]
"""Blobs that were found sound; it has a row for each."""


def encoded(
    header: VerifiedHeader,
    rows: Rows,
    digests: Digests,
    identities: NDArray[np.uint8],
    verified: NDArray[np.uint32],
) -> Iterator[bytes | memoryview]:
    """The bytes of a file with some rows of these columns, piece by piece."""
    columns: tuple[NDArray[Any], ...] = (digests, identities, verified)
    made = {name: partial(_some, one, rows) for name, one in zip(COLUMNS, columns, strict=True)}
    return encoded_columns(FORM, asdict(header), made)


def _some(column: NDArray[Any], rows: Rows) -> Iterator[NDArray[Any]]:
    """Some rows of a column, in pieces: all of them would take as much memory again."""
    from fastprune.index.arrays import pieces

    for some in pieces(rows):
        yield column[some]


def decoded(
    content: memoryview, forget: Callable[[int, int], None] = lambda start, size: None
) -> VerifiedBlobs:
    """The blobs in a file, whose pieces are not checked yet; see `decoded_columns`."""
    return decoded_columns(FORM, content, _header_of, forget)


def _header_of(fields: dict[str, Any]) -> VerifiedHeader:
    header = VerifiedHeader(**fields)
    if type(header.since) is not int or not isinstance(header.written_at, int | float):
        raise TypeError
    return header
