"""The caches and requests that property tests draw."""

from __future__ import annotations

from hypothesis import given, settings
from tests.support.cachebuilder import (
    files,
)
from tests.support.oracle import (
    Cache,
    Outcome,
    expected,
    kept_images_lost_blobs,
    kept_lists_lost_children,
    load,
)
from tests.support.strategies import (
    CacheSketch,
    ImageSketch,
    ListSketch,
    Request,
    caches,
    on_disk,
    requests,
)


@given(caches(corrupt=True, foreign=True))
@settings(max_examples=50, deadline=None)
def test_a_sketch_is_read_back_from_disk_as_it_was(sketch: CacheSketch) -> None:
    with on_disk(sketch) as root:
        cache = load(root)
        assert files(root) == cache.paths
    assert cache.blobs == dict(sketch.blobs)
    corrupt = {f"{one.folder}/{one.name}" for one in sketch.corrupt}
    assert set(cache.corrupt) - cache.unknown == corrupt
    assert cache.unknown <= cache.foreign
    assert cache.foreign == {f"{one.folder}/{one.name}" for one in sketch.foreign}
    assert len(cache.manifests) == len(sketch.manifests)
    for one in sketch.manifests:
        found = cache.manifests[f"{one.folder}/{one.name}"]
        assert (found.url, found.created, found.pulled) == (one.url, one.created, one.pulled)
        assert found.is_list == isinstance(one, ListSketch)
        if isinstance(one, ImageSketch):
            assert found.blobs == (*one.layers, one.config)
        else:
            assert found.children == one.children


@given(caches(corrupt=True), requests())
@settings(max_examples=100, deadline=None)
def test_no_outcome_breaks_what_stays(sketch: CacheSketch, request_: Request) -> None:
    with on_disk(sketch) as root:
        cache = load(root)
        outcome = request_.expected(cache)
        for path in outcome.removed:
            (root / path).unlink()
        after = load(root)
        assert files(root) == outcome.left
    assert outcome.left | outcome.removed == cache.paths
    assert not outcome.left & outcome.removed
    assert outcome.protected.keys() <= outcome.left
    assert kept_images_lost_blobs(cache, after) == []
    if not request_.allow_broken:
        assert kept_lists_lost_children(cache, after) == []


def _what_happens(cache: Cache, outcome: Outcome) -> dict[str, object]:
    """Which hard cases one example holds."""
    every = cache.manifests.values()
    pairs = {(one.digest, child) for one in every for child in one.children}
    going = outcome.lists | outcome.images
    twins = {
        path for path in going if path.replace("img/", "lts/") in cache.manifests.keys() - {path}
    }
    protected = [cache.manifests[path] for path in outcome.protected]
    return {
        "a refusal": outcome.refused,
        "corrupt files skipped": outcome.corrupt and outcome.removed,
        "an image protected": any(not one.is_list for one in protected),
        "a list protected": any(one.is_list for one in protected),
        "several protectors": any(len(by) > 1 for by in outcome.protected.values()),
        "an image by expansion": outcome.images - outcome.selected,
        "a list by expansion": outcome.lists - outcome.selected,
        "one copy of two": any(path.replace("img/", "lts/") not in going for path in twins),
        "both copies": any(path.replace("img/", "lts/") in going for path in twins),
        "a cycle of lists": any((two, one) in pairs for one, two in pairs if one != two),
        "equal URLs": len({one.url for one in every}) < len(every),
        "a layer twice": any(len(set(one.blobs)) < len(one.blobs) for one in every),
        "a missing blob": any(set(one.blobs) - set(cache.blobs) for one in every),
        "a malformed time": outcome.malformed,
        "a blob that goes": outcome.blobs,
        "a blob that stays": not outcome.refused and any("blobs/" in one for one in outcome.left),
        "nothing to do": not outcome.refused and not outcome.removed,
    }


def test_the_hard_cases_come_up() -> None:
    missing = set(_what_happens(Cache(), expected(Cache())))

    @given(caches(corrupt=True), requests())
    @settings(max_examples=200, deadline=None, derandomize=True, database=None)
    def look(sketch: CacheSketch, request_: Request) -> None:
        with on_disk(sketch) as root:
            cache = load(root)
        happens = _what_happens(cache, request_.expected(cache))
        missing.difference_update(name for name in happens if happens[name])

    look()
    assert missing == set()
