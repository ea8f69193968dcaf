"""DigestTable compared with a dict, on digests that differ little."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from tests.property.profile import examples

from fastprune.index.digests import DigestSorter, DigestTable, as_digests, sort_order
from fastprune.model import DIGEST_BYTES

# A table looks for the first eight bytes first: so only a few values, close to each other.
_HEADS = st.one_of(
    st.sampled_from([bytes(8), b"\xff" * 8, bytes(7) + b"\x01", b"\x01" + bytes(7), b"\x80" * 8]),
    st.binary(min_size=8, max_size=8),
)
# numpy's own byte strings would drop zeros at the end.
_TAILS = st.one_of(
    st.sampled_from([bytes(24), bytes(23) + b"\x01", b"\x01" + bytes(23), b"\xff" * 24]),
    st.binary(min_size=24, max_size=24),
)
DIGESTS = st.builds(bytes.__add__, _HEADS, _TAILS)
# One head with very many tails: a bucket of the table that is too full.
CROWDS = st.builds(
    lambda head, count: [head + number.to_bytes(24, "big") for number in range(count)],
    _HEADS,
    st.sampled_from([0, 63, 64, 65, 66, 300]),
)


def check(listed: list[bytes], wanted: list[bytes]) -> None:
    table = DigestTable.from_unsorted(as_digests(b"".join(listed)))
    ids = {digest: position for position, digest in enumerate(sorted(set(listed)))}
    assert [digest.tobytes() for digest in table.digests] == list(ids)
    assert len(table) == len(ids)
    found = table.find(as_digests(b"".join(wanted)))
    assert found.tolist() == [ids.get(digest, -1) for digest in wanted]


@examples(200)
@given(listed=st.lists(DIGESTS), other=st.lists(DIGESTS))
def test_a_table_finds_what_a_dict_finds(listed: list[bytes], other: list[bytes]) -> None:
    check(listed, listed[::-1] + other)


@examples(100)
@given(crowd=CROWDS, listed=st.lists(DIGESTS, max_size=5), other=st.lists(DIGESTS, max_size=5))
def test_a_crowd_with_one_beginning_is_told_apart(
    crowd: list[bytes], listed: list[bytes], other: list[bytes]
) -> None:
    check(crowd + listed, other + crowd[::7] + [digest[::-1] for digest in crowd[:9]])


@examples(50)
@given(count=st.integers(0, 5000), seed=st.binary(min_size=24, max_size=24))
def test_large_tables_find_every_member_and_no_neighbour(count: int, seed: bytes) -> None:
    # Evenly spread heads, like those of real digests.
    step = 2**64 // max(1, count)
    heads = [number * step for number in range(count)]
    listed = [head.to_bytes(8, "big") + seed for head in heads]
    neighbours = [((head + 1) % 2**64).to_bytes(8, "big") + seed for head in heads]
    check(listed, listed + neighbours)


@examples(100)
@given(parts=st.lists(st.tuples(st.lists(DIGESTS), st.booleans())))
def test_a_table_of_sorted_and_other_parts_has_each_digest_once(
    parts: list[tuple[list[bytes], bool]],
) -> None:
    sorter = DigestSorter()
    for part, is_sorted in parts:
        sorter.add(as_digests(b"".join(sorted(part) if is_sorted else part)))
    everything = {digest for part, _ in parts for digest in part}
    assert [one.tobytes() for one in sorter.table().digests] == sorted(everything)


@examples(200)
@given(listed=st.lists(DIGESTS))
def test_the_sort_order_is_a_permutation_that_sorts(listed: list[bytes]) -> None:
    digests = as_digests(b"".join(listed))
    order = sort_order(digests)
    assert sorted(order.tolist()) == list(range(len(listed)))
    assert [digest.tobytes() for digest in digests[order]] == sorted(listed)


def test_a_crowd_of_very_many_takes_no_time_worth_a_word() -> None:
    # A manifest may name any digests. Looked up one by one, these would take too long.
    tails = np.arange(100_000, dtype=">u8")
    crowd = np.zeros((len(tails), DIGEST_BYTES), dtype=np.uint8)
    crowd[:, -8:] = tails.view(np.uint8).reshape(-1, 8)
    found = DigestTable.from_unsorted(crowd[::2]).find(crowd)
    assert found.tolist() == [-1 if tail % 2 else tail // 2 for tail in range(len(tails))]


def test_an_empty_table_holds_nothing_and_an_empty_question_finds_nothing() -> None:
    check([], [])
    check([], [bytes(DIGEST_BYTES)])
    check([bytes(DIGEST_BYTES)], [])


@examples(100)
@given(parts=st.lists(st.lists(DIGESTS, max_size=20), max_size=5))
def test_digests_that_come_in_parts_are_sorted_as_a_whole(parts: list[list[bytes]]) -> None:
    sorter = DigestSorter()
    for part in parts:
        sorter.add(as_digests(b"".join(part)))
    expected = sorted({digest for part in parts for digest in part})
    assert sorter.table().digests.tobytes() == b"".join(expected)
