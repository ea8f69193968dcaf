"""Shards that are joined say what they said one by one, and give the same index."""

from __future__ import annotations

import random
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.property.decoding import decoded
from tests.property.indexing import Shuffle, index_of
from tests.property.profile import examples
from tests.support.strategies import MALFORMED_TIMES, PATTERNS, TIMES, CacheSketch, caches

from fastprune.index.builder import IndexBuilder
from fastprune.index.gathering import ShardGatherer
from fastprune.layouts.default import DEFAULT_LAYOUT
from fastprune.layouts.layout import ManifestRecord
from fastprune.patterns import UrlMatcher
from fastprune.reading.shard_rows import joined_shards
from fastprune.reading.shards import (
    ChunkRecords,
    Fault,
    Mismatch,
    ShardIndex,
)

DIGESTS = st.binary(min_size=32, max_size=32)
TEXTS = st.sampled_from((*TIMES, *MALFORMED_TIMES))


@st.composite
def records(draw: st.DrawFn) -> ManifestRecord | None:
    """What a file says; None for one that can't be read."""
    if draw(st.integers(0, 5)) == 0:
        return None
    kind = draw(st.integers(0, 3))
    digests = draw(st.lists(DIGESTS, max_size=3))
    sizes = draw(st.lists(st.integers(0, 2**40), min_size=len(digests), max_size=len(digests)))
    return ManifestRecord(
        kind,
        draw(st.sampled_from(["docker.io/a:1", "quay.io/ä/b:2", "", "a@sha256:" + "0" * 64])),
        draw(TEXTS),
        draw(TEXTS),
        "\n".join(f"sha256:{digest.hex()}" for digest in digests),
        sizes if kind & 1 else [],
    )


FILES = st.lists(st.tuples(DIGESTS, records(), st.booleans()), max_size=12)


def packed(files: list[tuple[bytes, ManifestRecord | None, bool]], *, edges: bool) -> ShardIndex:
    chunk = ChunkRecords(7, [name.hex() for name, _, _ in files])
    for row, (_, record, odd) in enumerate(files):
        if record is None:
            chunk.faults.append(Fault(row, "not valid JSON", retry=odd))
            continue
        chunk.put(row, record, 100 + len(record.url))
        if odd:
            chunk.mismatches.append(Mismatch(row, "another name"))
    return chunk.pack(edges=edges, match=UrlMatcher([("docker",), (":2$",)]).match)


def in_order(shard: ShardIndex) -> ShardIndex:
    """The shard with its odd times by row: whatever their order, they say the same."""
    return replace(shard, odd_times=tuple(sorted(shard.odd_times)))


@examples(150)
@given(files=FILES.filter(bool), cuts=st.sets(st.integers(1, 11)), edges=st.booleans())
def test_pieces_of_a_shard_are_joined_to_the_shard(
    files: list[tuple[bytes, ManifestRecord | None, bool]], cuts: set[int], edges: bool
) -> None:
    whole = packed(files, edges=edges)
    bounds = [0, *sorted(cut for cut in cuts if cut < len(files)), len(files)]
    ranges = [range(first, last) for first, last in pairwise(bounds)]
    pieces = [packed(files[some.start : some.stop], edges=edges) for some in ranges]
    assert in_order(joined_shards(pieces)) == in_order(whole)


def test_joined_shards_have_the_number_of_the_first() -> None:
    record = ManifestRecord(1, "docker.io/a:1", "", "", "", [])
    shard = packed([(bytes(32), record, False)], edges=True)
    joined = joined_shards([replace(shard, chunk=3), replace(shard, chunk=5)])
    assert (joined.chunk, len(joined.kinds)) == (3, 2)


@examples(80)
@given(
    sketch=caches(corrupt=True),
    chunk=st.integers(1, 13),
    enough=st.integers(1, 30),
    seed=st.integers(0, 2**32),
)
def test_gathering_any_number_of_rows_gives_the_same_index(
    sketch: CacheSketch, chunk: int, enough: int, seed: int
) -> None:
    shuffle: Shuffle = random.Random(seed).shuffle
    sets = ((PATTERNS[0],),)
    whole = index_of(sketch, pattern_sets=sets)
    parts = index_of(sketch, pattern_sets=sets, chunk=chunk, shuffle=shuffle, enough=enough)
    assert decoded(whole) == decoded(parts)


@pytest.mark.parametrize("good_first", [True, False])
@pytest.mark.parametrize("enough", [1, 100])
def test_of_two_readings_of_a_file_that_was_listed_twice_the_one_that_succeeded_counts(
    good_first: bool, enough: int
) -> None:
    name, record = bytes(range(32)), ManifestRecord(1, "docker.io/a:1", "", "", "", [])
    builder = IndexBuilder("cache", 0.0, [name * 2, b""], (), layout=DEFAULT_LAYOUT, edges=True)
    gatherer = ShardGatherer(builder, enough=enough)
    said = [record, None] if good_first else [None, record]
    for position, one in enumerate(said):
        shard = packed([(name, one, False)], edges=True)
        gatherer.add(shard, builder.rows_of(0, slice(position, position + 1)))
    gatherer.flush()
    index = builder.finish([], [], 0)
    assert index.urls(np.arange(len(index))) == ["docker.io/a:1"]
