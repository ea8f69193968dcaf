"""The file of a remembered scan: what is written is what is read."""

from __future__ import annotations

import zlib
from functools import partial
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from tests.property.profile import examples

from fastprune.index import column_files
from fastprune.index.remembered import COLUMNS, RememberedFolder, ScanHeader, decoded, encoded

END = 16
Columns = dict[str, NDArray[Any]]

texts = st.text(max_size=8)
folders = st.builds(
    RememberedFolder,
    st.one_of(st.just(""), st.binary(min_size=32, max_size=32).map(bytes.hex)),
    st.integers(0, 2**31),
    st.lists(st.binary(min_size=32, max_size=32).map(bytes.hex), max_size=3).map(tuple),
    st.lists(texts, max_size=3).map(tuple),
)
headers = st.builds(
    ScanHeader,
    *(texts, texts, texts, texts),
    st.floats(0, 1e11),
    st.integers(0, 2**53),
    st.lists(folders, max_size=4).map(tuple),
    st.lists(st.tuples(st.integers(0, 2**31), texts, texts), max_size=3).map(tuple),
)


def columns_of(lengths: dict[str, int], seed: int) -> Columns:
    """Columns with so many rows each, of any values."""
    chance = np.random.default_rng(seed)
    columns = {}
    for name, (kind, width) in COLUMNS.items():
        size = np.dtype(kind).itemsize
        raw = chance.integers(0, 256, lengths[name] * width * size, dtype=np.uint8)
        column = raw.view(np.dtype(kind).newbyteorder("="))
        columns[name] = column if width == 1 else column.reshape(-1, width)
    return columns


def written(header: ScanHeader, columns: Columns) -> bytes:
    """The file that holds these columns."""
    return b"".join(encoded(header, {name: partial(list, [columns[name]]) for name in columns}))


def check(header: ScanHeader, columns: Columns) -> bytes:
    """Writes and reads it, and compares; gives the file."""
    content = written(header, columns)
    scan = decoded(memoryview(content))
    assert scan.header == header
    assert len(scan) == len(columns["kinds"])
    for name, column in columns.items():
        found = scan.column(name)
        assert (found.shape, found.dtype) == (column.shape, column.dtype)
        assert found.tobytes() == column.tobytes() == bytes(scan.raw(name))
        assert scan.place(name)[0] % 8 == 0
    # Each byte but those of the footer has a checksum.
    at = END
    for piece in scan.pieces:
        assert piece.start == at
        assert 0 < piece.size <= column_files.PIECE_BYTES
        assert zlib.crc32(content[at : at + piece.size]) == piece.checksum
        at += piece.size
    footer = int.from_bytes(content[-END : -END + 8], "little")
    assert len(content) == at + footer + END
    return content


@examples(60)
@given(
    header=headers,
    lengths=st.fixed_dictionaries({name: st.integers(0, 40) for name in COLUMNS}),
    seed=st.integers(0, 2**32),
    pieces=st.integers(1, 16),
)
def test_what_is_written_is_what_is_read(
    header: ScanHeader, lengths: dict[str, int], seed: int, pieces: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(column_files, "PIECE_BYTES", 8 * pieces)
        check(header, columns_of(lengths, seed))


HEADER = ScanHeader("1", "c", "/c", "l", 1.5, 2, (), ())


@pytest.mark.parametrize("rows", [0, 1, 2, 7, 8, 9])
def test_sizes_at_the_edge_of_a_piece(rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(column_files, "PIECE_BYTES", 64)
    for more in (-1, 0, 1):
        lengths = dict.fromkeys(COLUMNS, max(0, 64 * rows + more))
        check(HEADER, columns_of(lengths, rows))


def test_many_rows_in_pieces_of_the_real_size() -> None:
    lengths = dict.fromkeys(COLUMNS, 1000)
    lengths["url_pool"] = column_files.PIECE_BYTES + 1
    lengths["created"] = column_files.PIECE_BYTES // 8
    content = check(HEADER, columns_of(lengths, 1))
    assert len(decoded(memoryview(content)).pieces) == len(COLUMNS) + 1


def test_a_column_that_is_made_in_parts_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(column_files, "PIECE_BYTES", 64)
    columns = columns_of(dict.fromkeys(COLUMNS, 100), 1)
    parts = {
        name: partial(np.split, column, [1, 1, 8, 30, 31, 90]) for name, column in columns.items()
    }
    assert b"".join(encoded(HEADER, parts)) == written(HEADER, columns)


def test_nothing_at_all_is_a_file() -> None:
    content = check(HEADER, columns_of(dict.fromkeys(COLUMNS, 0), 1))
    assert decoded(memoryview(content)).pieces == ()


def test_wider_types_are_cut_to_those_of_the_file() -> None:
    columns = columns_of(dict.fromkeys(COLUMNS, 3), 1)
    columns["counts"] = np.array([1, 2, 2**32 - 1], dtype=np.int64)
    scan = decoded(memoryview(written(HEADER, columns)))
    assert scan.column("counts").tolist() == [1, 2, 2**32 - 1]


def test_columns_can_not_be_written_to() -> None:
    content = written(HEADER, columns_of(dict.fromkeys(COLUMNS, 3), 1))
    with pytest.raises(ValueError, match="read-only"):
        decoded(memoryview(content)).column("counts")[0] = 1
