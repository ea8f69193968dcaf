"""Steps on arrays, compared with plain loops that do the same."""

from __future__ import annotations

from itertools import accumulate

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from tests.property.profile import examples

from fastprune.index.arrays import begins_run, paired, positions_in, starts_of, unpaired

LARGEST = 2**31 - 1
numbers = st.integers(0, LARGEST)


@examples(50)
@given(st.lists(st.tuples(st.integers(0, 99), st.integers(0, 5))))
def test_positions_are_those_of_the_pieces_one_after_the_other(
    pieces: list[tuple[int, int]],
) -> None:
    starts = np.array([start for start, _ in pieces], dtype=np.uint32)
    lengths = np.array([length for _, length in pieces], dtype=np.uint32)
    wanted = [at for start, length in pieces for at in range(start, start + length)]
    assert positions_in(starts, lengths).tolist() == wanted
    ends = list(accumulate(lengths.tolist(), initial=0))
    assert starts_of(lengths).tolist() == ends[:-1]


@examples(50)
@given(st.lists(st.integers(0, 3)))
def test_a_run_begins_where_a_value_differs_from_the_one_before(values: list[int]) -> None:
    wanted = [not at or values[at] != values[at - 1] for at in range(len(values))]
    assert begins_run(np.array(values, dtype=np.int64)).tolist() == wanted


@examples(50)
@given(st.lists(st.tuples(numbers, numbers)))
def test_pairs_come_back_and_sort_as_pairs(pairs: list[tuple[int, int]]) -> None:
    first = np.array([one for one, _ in pairs], dtype=np.int32)
    second = np.array([two for _, two in pairs], dtype=np.uint32)
    heads, tails = unpaired(np.sort(paired(first, second)))
    assert list(zip(heads.tolist(), tails.tolist(), strict=True)) == sorted(pairs)
