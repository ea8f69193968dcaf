"""Shards that workers merge give the same index, whatever is merged with what."""

from __future__ import annotations

import random
from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.property.decoding import decoded
from tests.property.indexing import Shuffle, index_of
from tests.property.profile import examples
from tests.property.test_digest_tables import DIGESTS
from tests.property.test_gathering import FILES, packed
from tests.property.test_same_index import CHUNKS, PATTERN_SETS, ShufflingExecutor
from tests.support.scanning import scanned
from tests.support.strategies import CacheSketch, caches, on_disk

from fastprune.index.builder import IndexBuilder
from fastprune.index.digests import as_digests, told_apart
from fastprune.index.merging import MergedShard, merge_shards, some_rows
from fastprune.layouts.default import DEFAULT_LAYOUT
from fastprune.layouts.layout import ManifestRecord
from fastprune.reading.chunks import ReadTask
from fastprune.scanning.pieces import LARGE_CACHE, PieceTask, SoFar, read_piece, sizes_of_work


def said(shard: MergedShard) -> dict[str, object]:
    """What a merged shard says, to be compared."""
    columns = {field.name: getattr(shard, field.name) for field in fields(shard)}
    values = {
        name: column.tolist() if isinstance(column, np.ndarray) else column
        for name, column in columns.items()
    }
    return values | {"odd_times": sorted(shard.odd_times)}


@examples(80)
@given(
    sketch=caches(corrupt=True),
    chunk=st.integers(1, 13),
    merge=st.integers(1, 7),
    seed=st.integers(0, 2**32),
)
def test_shards_that_are_merged_in_any_groups_and_order_give_the_same_index(
    sketch: CacheSketch, chunk: int, merge: int, seed: int
) -> None:
    shuffle: Shuffle = random.Random(seed).shuffle
    sets = (("docker.io",), (":1", "^quay"))
    whole = index_of(sketch, pattern_sets=sets)
    parts = index_of(sketch, pattern_sets=sets, chunk=chunk, shuffle=shuffle, merge=merge)
    assert decoded(whole) == decoded(parts)


@examples(80)
@given(
    sketch=caches(corrupt=True, foreign=True),
    chunk=CHUNKS,
    seed=st.integers(0, 2**32),
    edges=st.booleans(),
    pattern_sets=PATTERN_SETS,
)
def test_a_scan_whose_workers_merge_gives_the_index_of_one_whose_workers_do_not(
    sketch: CacheSketch,
    chunk: int | None,
    seed: int,
    edges: bool,
    pattern_sets: tuple[tuple[str, ...], ...],
) -> None:
    options: dict[str, Any] = {"edges": edges, "pattern_sets": pattern_sets}
    with on_disk(sketch) as root:
        here = scanned(root, merge=False, **options)
        there = scanned(root, ShufflingExecutor(seed), chunk=chunk, merge=True, **options)
        assert decoded(here) == decoded(there)


@examples(60)
@given(sketch=caches(corrupt=True), size=st.integers(1, 9))
def test_a_piece_that_is_read_in_chunks_says_what_one_chunk_says(
    sketch: CacheSketch, size: int
) -> None:
    with on_disk(sketch) as root:
        names = sorted(path.name for path in (root / "img").iterdir() if len(path.name) == 64)
        digests = bytes.fromhex("".join(names))
        if not digests:
            return
        task = ReadTask(str(root / "img"), 3, digests, 1 << 20, True, (), DEFAULT_LAYOUT)
        *_, whole = read_piece(PieceTask(task))
        *_, parts = read_piece(PieceTask(task, size))
        assert isinstance(whole, MergedShard)
        assert isinstance(parts, MergedShard)
        assert said(whole) == said(parts)


@examples(150)
@given(files=FILES.filter(bool), kept=st.sets(st.integers(0, 11)), edges=st.booleans())
def test_some_rows_of_a_merged_shard_are_those_rows_merged(
    files: list[tuple[bytes, ManifestRecord | None, bool]], kept: set[int], edges: bool
) -> None:
    rows = sorted(row for row in kept if row < len(files)) or [0]
    whole = merge_shards([packed(files, edges=edges)])
    some = said(merge_shards([packed([files[row] for row in rows], edges=edges)]))
    found = said(some_rows(whole, np.array(rows)))
    # Of the size of a blob, all rows say something.
    about_all = {"faults", "blob_sizes", "odd_sized"}
    assert {name: value for name, value in found.items() if name not in about_all} == {
        name: value for name, value in some.items() if name not in about_all
    }
    sizes = dict(zip(map(bytes, whole.blob_digests), whole.blob_sizes.tolist(), strict=True))
    assert found["blob_sizes"] == [sizes[bytes(one)] for one in found["blob_digests"]]  # type: ignore[attr-defined]


@examples(200)
@given(digests=st.lists(DIGESTS), again=st.randoms(use_true_random=False))
def test_digests_are_told_apart_by_all_their_bytes(
    digests: list[bytes], again: random.Random
) -> None:
    listed = digests + [again.choice(digests) for _ in digests]
    found = told_apart(as_digests(b"".join(listed)))
    assert [one.tobytes() for one in found.digests] == sorted(set(listed))
    assert [found.digests[place].tobytes() for place in found.places] == listed
    assert [listed[at] for at in found.order] == sorted(listed)
    assert found.starts.tolist() == [sorted(listed).index(one) for one in sorted(set(listed))]


def _image(*blobs: tuple[bytes, int]) -> ManifestRecord:
    lines = "\n".join(f"sha256:{digest.hex()}" for digest, _ in blobs)
    return ManifestRecord(1, "docker.io/a:1", "", "", lines, [size for _, size in blobs])


@pytest.mark.parametrize("together", [True, False])
@pytest.mark.parametrize("listed", [True, False], ids=["present", "missing"])
def test_of_several_sizes_of_a_blob_the_largest_counts_and_is_told(
    together: bool, listed: bool
) -> None:
    from fastprune.index.digests import DigestTable

    names, blob, other = [bytes([at]) * 32 for at in range(2)], b"b" * 32, b"c" * 32
    builder = IndexBuilder(
        "cache", 0.0, [b"".join(names), b""], (), layout=DEFAULT_LAYOUT, edges=True, remember=True
    )
    said = [_image((blob, 10), (other, 7)), _image((blob, 30), (other, 7))]
    shards = [
        packed([(name, one, False)], edges=True) for name, one in zip(names, said, strict=True)
    ]
    shards = [
        replace(shard, url_matches=shard.url_matches[:0], identities=b"i" * 28) for shard in shards
    ]
    if together:
        builder.add(merge_shards(shards), builder.rows_of(0, [0, 1]))
    else:
        for at, shard in enumerate(shards):
            builder.add(merge_shards([shard]), builder.rows_of(0, [at]))
    builder.set_blobs(DigestTable.from_unsorted(as_digests(blob + other if listed else b"")))
    index = builder.finish([], [], 0)
    assert index.blob_sizes.tolist() == [30, 7]
    # What is remembered could not say which manifest gives which size.
    assert not builder.outcome().index.identities.any()


def test_a_piece_that_takes_long_tells_how_far_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    from fastprune.scanning import pieces

    monkeypatch.setattr(pieces, "_SILENT_SECONDS", 0)
    sketch = ReadTask("/", 5, bytes(32) * 7, 1 << 20, True, (), DEFAULT_LAYOUT)
    *told, last = read_piece(PieceTask(sketch, 3))
    assert told == [SoFar(5, 3, 0), SoFar(5, 6, 0), SoFar(5, 7, 0)]
    assert isinstance(last, MergedShard)
    assert len(last.faults) == 7


def test_pieces_get_smaller_towards_the_end_and_small_caches_keep_small_chunks() -> None:
    large = sizes_of_work(5 * LARGE_CACHE, 16, comparing=False, merging=True)
    assert [large.of(left) for left in (5 * LARGE_CACHE, 400_000, 1)] == [7_812, 3_906, 3_906]
    remote = sizes_of_work(100_000, 16, comparing=False, merging=True)
    assert [remote.of(left) for left in (100_000, 1)] == [1_024, 1_024]
    small = sizes_of_work(10_000, 8, comparing=False, merging=False)
    assert {small.of(left) for left in (10_000, 5_000, 1)} == {156}
