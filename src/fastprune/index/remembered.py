r"""RememberedScan: what a scan read, as columns that lie in a file and are mapped.

Stage: read, index. Input: the bytes of a file, or columns. Output: columns, or the bytes of a file.
Pure, no I/O; without numpy until a column is asked for as an array.

`fastprune.index.column_files` has the format. The file begins with "fastprune scan\n" and the
version, and ends with "scan". It has the columns of `COLUMNS`, and the fields of `ScanHeader`.

Rows are ordered by folder and digest, as in a `CacheIndex`. A manifest that could not be read or
understood has no row, so each scan reads it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

from fastprune.index.column_files import (
    ColumnFile,
    ColumnForm,
    Origin,
    decoded_columns,
    encoded_columns,
)
from fastprune.model import DIGEST_BYTES
from fastprune.reading.marks import IDENTITY_BYTES

if TYPE_CHECKING:
    from numpy.typing import NDArray

VERSION = 1
"""The version of the format. Any change that would be misread raises it."""

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

FORM = ColumnForm(b"fastprune scan\n%d" % VERSION, b"scan", COLUMNS, "kinds")


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
class ScanHeader(Origin):
    """What is remembered beside the columns.

    Attributes:
        scanned_at: When the scan began: seconds since the epoch.
        max_manifest_bytes: Larger manifest files were not read.
        folders: Those of the manifests, then that of the blobs.
        odd_times: Malformed times as they were written: row, created, pulled.
    """

    scanned_at: float
    max_manifest_bytes: int
    folders: tuple[RememberedFolder, ...]
    odd_times: tuple[tuple[int, str, str], ...]


RememberedScan = ColumnFile[ScanHeader]
"""A remembered scan; it has a row for each manifest."""


def encoded(
    header: ScanHeader, columns: Mapping[str, Callable[[], Iterable[NDArray[Any]]]]
) -> Iterator[bytes | memoryview]:
    """The bytes of a file, piece by piece; see `encoded_columns`."""
    # orjson writes a plain tuple as an array, and no named one.
    fields = asdict(header) | {"folders": [tuple(folder) for folder in header.folders]}
    return encoded_columns(FORM, fields, columns)


def decoded(
    content: memoryview, forget: Callable[[int, int], None] = lambda start, size: None
) -> RememberedScan:
    """The scan in a file, whose pieces are not checked yet; see `decoded_columns`."""
    return decoded_columns(FORM, content, _header_of, forget)


def _header_of(fields: dict[str, Any]) -> ScanHeader:
    header = ScanHeader(**fields)
    folders = (
        RememberedFolder(identity, files, tuple(unread), tuple(foreign))
        for identity, files, unread, foreign in header.folders
    )
    odd_times = ((row, created, pulled) for row, created, pulled in header.odd_times)
    return replace(header, folders=tuple(folders), odd_times=tuple(odd_times))
