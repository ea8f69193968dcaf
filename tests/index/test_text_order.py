"""Rows are ordered by texts that are never there all at once."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from tests.property.profile import examples

from fastprune.index.arrays import distinct, pieces
from fastprune.index.cache_index import Rows
from fastprune.index.text_order import in_text_order


@examples(200)
@given(texts=st.lists(st.text(max_size=3)), in_bucket=st.integers(1, 9), seed=st.integers(0, 9))
def test_rows_are_in_the_order_of_their_texts(texts: list[str], in_bucket: int, seed: int) -> None:
    rows = np.random.default_rng(seed).permutation(len(texts)).astype(np.intp)
    ordered = in_text_order(
        rows, lambda some: [texts[row] for row in some.tolist()], in_bucket=in_bucket
    )
    assert ordered.tolist() == sorted(rows.tolist(), key=texts.__getitem__)


def test_few_texts_are_there_at_once() -> None:
    asked: list[int] = []

    def texts_of(rows: Rows) -> list[str]:
        asked.append(len(rows))
        return [f"{row * 7919 % 10_007:05}" for row in rows.tolist()]

    rows = np.arange(10_000)
    ordered = in_text_order(rows, texts_of, in_bucket=500)
    assert texts_of(ordered) == sorted(texts_of(rows))
    # The sample, the pieces that find their buckets, the buckets.
    assert max(asked[:-2]) <= 1_000


def test_equal_texts_share_a_bucket() -> None:
    rows = np.arange(100)
    assert in_text_order(rows, lambda some: ["same"] * len(some), in_bucket=7).tolist() == [
        *range(100)
    ]


@examples(100)
@given(st.lists(st.integers(-5, 5)))
def test_distinct_values_ascend(values: list[int]) -> None:
    assert distinct(np.array(values, dtype=np.int64)).tolist() == sorted(set(values))


def test_pieces_are_all_of_an_array() -> None:
    assert [piece.tolist() for piece in pieces(np.arange(5), 2)] == [[0, 1], [2, 3], [4]]
    assert list(pieces(np.arange(0), 2)) == []
