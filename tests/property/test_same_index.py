"""A scan gives the same index, however the work is cut into chunks, ordered and distributed."""

from __future__ import annotations

import contextlib
import random
import warnings
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.property.decoding import decoded
from tests.property.indexing import Shuffle, index_of
from tests.property.profile import examples
from tests.support.oracle import is_digest_url, is_real_time, load
from tests.support.scanning import scanned
from tests.support.strategies import PATTERNS, CacheSketch, caches, on_disk

from fastprune.executors.executor import Executor, View
from fastprune.executors.processes import ProcessExecutor
from fastprune.index.times import BAD_TIME, NO_TIME
from fastprune.model import ManifestKind

T = TypeVar("T")
R = TypeVar("R")

CHUNKS = st.one_of(st.integers(1, 13), st.none())
PATTERN_SETS = st.lists(
    st.lists(st.sampled_from(PATTERNS), min_size=1, max_size=3).map(tuple), max_size=3
).map(tuple)


class ShufflingExecutor:
    """Gives back the results of all items in a random order."""

    jobs = 3
    remote = False

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def map_unordered(
        self, function: Callable[[T], Iterable[R]], items: Iterable[T], *, ahead: int = 1
    ) -> Iterator[R]:
        # The parts of one item stay in order, as a stream from a worker does.
        streams = [list(function(item)) for item in items]
        while streams:
            stream = self._random.choice(streams)
            yield stream.pop(0)
            streams = [one for one in streams if one]

    def require(self, view: View) -> None:
        """There is nothing to compare."""

    def close(self) -> None:
        """There is nothing to end."""


@pytest.fixture(scope="module", params=["forked", "spawned"])
def pools(request: pytest.FixtureRequest) -> Iterator[list[Executor]]:
    """One, two and three workers."""
    forked = request.param == "forked"
    with contextlib.ExitStack() as stack:
        with warnings.catch_warnings():
            # Python 3.12 warns of forking beside threads; here no thread holds a lock.
            warnings.simplefilter("ignore", DeprecationWarning)
            opened = [
                stack.enter_context(contextlib.closing(ProcessExecutor(jobs, fork=forked)))
                for jobs in (1, 2, 3)
            ]
        yield list(opened)


@examples(60)
@given(
    sketch=caches(corrupt=True, foreign=True),
    chunk=CHUNKS,
    which=st.integers(0, 2),
    edges=st.booleans(),
    pattern_sets=PATTERN_SETS,
)
def test_worker_processes_give_the_index_of_a_scan_in_this_process(
    pools: list[Executor],
    sketch: CacheSketch,
    chunk: int | None,
    which: int,
    edges: bool,
    pattern_sets: tuple[tuple[str, ...], ...],
) -> None:
    with on_disk(sketch) as root:
        here = scanned(root, edges=edges, pattern_sets=pattern_sets)
        there = scanned(root, pools[which], edges=edges, pattern_sets=pattern_sets, chunk=chunk)
        assert decoded(here) == decoded(there)


@examples(80)
@given(sketch=caches(corrupt=True, foreign=True), chunk=CHUNKS, seed=st.integers(0, 2**32))
def test_any_sharding_and_any_order_of_results_give_the_same_index(
    sketch: CacheSketch, chunk: int | None, seed: int
) -> None:
    with on_disk(sketch) as root:
        whole = scanned(root, chunk=1000)
        parts = scanned(root, ShufflingExecutor(seed), chunk=chunk)
        assert decoded(whole) == decoded(parts)


@examples(80)
@given(sketch=caches(corrupt=True), chunk=st.integers(1, 13), seed=st.integers(0, 2**32))
def test_merging_shards_is_associative_and_commutative(
    sketch: CacheSketch, chunk: int, seed: int
) -> None:
    shuffle: Shuffle = random.Random(seed).shuffle
    sets = (("docker.io",), (":1", "^quay"))
    whole = index_of(sketch, pattern_sets=sets)
    parts = index_of(sketch, pattern_sets=sets, chunk=chunk, shuffle=shuffle)
    assert decoded(whole) == decoded(parts)


@examples(80)
@given(sketch=caches(corrupt=True, foreign=True))
def test_an_index_says_what_the_files_say(sketch: CacheSketch) -> None:
    with on_disk(sketch) as root:
        index = scanned(root)
        cache = load(root)
        says = decoded(index)
    # Sorted by folder and digest, as the paths are.
    assert says["order"] == sorted(cache.manifests)
    assert {path for path, _ in says["faults"]} == set(cache.corrupt)
    assert says["foreign"] == tuple(sorted(cache.foreign))
    assert [name for name, present, _ in says["blobs"] if present] == sorted(cache.blobs)
    for path, manifest in cache.manifests.items():
        found = says["manifests"][path]
        assert ManifestKind(found["kind"]).is_list == found["is_list"] == manifest.is_list
        assert (found["url"], found["blobs"]) == (manifest.url, list(manifest.blobs))
        assert found["digest_url"] == is_digest_url(manifest.url)
        assert found["file_size"] == manifest.size
        for column, written in (("created", manifest.created), ("pulled", manifest.pulled)):
            number, text = found[column]
            assert text == written
            assert (number == NO_TIME) == (written == "")
            assert (number > BAD_TIME) == is_real_time(written)
        twin = ("lts" if path.startswith("img") else "img") + path[3:]
        assert found["twin"] in ({twin} if twin in cache.manifests else {None})
        assert set(found["children"]) == {
            one.path for one in cache.manifests.values() if one.digest in manifest.children
        }
        assert len(found["children"]) == len(set(found["children"]))
