"""Caches on a file system that is far away: the answers are the same, and tune tries more workers.

No test here asserts a time.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.cli.program import run
from tests.faults.injection import run_far_away
from tests.support.cachebuilder import CacheBuilder, snapshot

LATENCY = 5_000
"""Microseconds: so much that the processor does not matter, also on a busy machine."""

MANIFESTS = 400

TIMES = ("seconds", "estimate")


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    builder = CacheBuilder(tmp_path_factory.mktemp("far") / "registry" / "cache")
    for number in range(MANIFESTS):
        builder.image(f"a{number % 2}/image:{number}", layers=[builder.blob(10)])
    builder.blob(11)
    return builder.root


def test_tune_finds_out_that_workers_wait_and_tries_more_of_them(cache: Path) -> None:
    before = snapshot(cache)
    words = ("tune", "--seconds", "1", "--files", "100", "--format", "json")
    result = run_far_away(LATENCY, *words, cache=cache)
    assert (result.code, result.err) == (0, "")
    document = json.loads(result.out)
    assert document["scan"]["waits"] is True
    assert document["scan"]["too_small"] is False
    tried = [one["jobs"] for one in document["scan"]["settings"]]
    assert tried[:4] == [1, 2, 4, 8]
    assert tried == sorted(tried)
    assert document["recommendation"]["jobs"] in tried[2:]
    assert snapshot(cache) == before


@pytest.mark.parametrize(
    "words",
    [
        ("list", "--format", "json"),
        ("prune", "--pattern", "a1/", "--dry-run", "--format", "json", "--grace", "1s"),
        ("verify", "--format", "json"),
        ("du", "--format", "json"),
    ],
    ids=" ".join,
)
def test_many_workers_give_the_same_answers(words: tuple[str, ...], cache: Path) -> None:
    near = run(*words, "--jobs", "1", cache=cache)
    far = run_far_away(1_000, *words, "--jobs", "16", cache=cache)
    assert (far.code, far.err) == (near.code, near.err)
    assert without_times(json.loads(far.out)) == without_times(json.loads(near.out))


def without_times(value: object) -> object:
    """A document without what differs from run to run."""
    if isinstance(value, dict):
        return {name: without_times(each) for name, each in value.items() if name not in TIMES}
    return [without_times(each) for each in value] if isinstance(value, list) else value
