"""The cache of numbers that `bench_scale.py` measures is what files give; its answers are right."""

from __future__ import annotations

import json
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.property.decoding import decoded
from tests.support.scanning import scanned

from fastprune.executors.inline import InlineExecutor
from fastprune.index.cache_index import CacheIndex

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
FOLDERS = ("img", "lts")
SEEDS = (1, 2)


@pytest.fixture(autouse=True)
def path_to_benchmarks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [str(BENCHMARKS), *sys.path])


def write_files(whole: Any, root: Path) -> None:
    """Writes the files of a cache of numbers, one by one."""
    from array_pieces import pooled_urls
    from arrays import BLOB, DOCUMENT, Form
    from content import FIRST_DAY, Document, ManifestFile, manifest_bytes

    def name(what: int, number: int) -> str:
        digest: str = whole.digests(what, np.array([number])).tobytes().hex()
        return digest

    def time(seconds: int) -> str:
        return "" if seconds < 0 else (FIRST_DAY + timedelta(seconds=seconds)).isoformat()

    for folder in (*FOLDERS, "blobs"):
        (root / folder).mkdir(parents=True)
    for blob, size in enumerate(whole.blob_sizes.tolist()):
        with (root / "blobs" / name(BLOB, blob)).open("wb") as file:
            file.truncate(size)
    for number, document in enumerate(whole.document.tolist()):
        digest = name(DOCUMENT, document)
        [url] = pooled_urls(whole, np.array([number]))
        if whole.form[number] == Form.OWN_DIGEST:
            url += f"@sha256:{digest}"
        oci = bool(whole.repositories.oci[whole.of_version[whole.version[document]]])
        content: dict[str, Any] = {"schemaVersion": 2}
        if document < whole.lists:
            first = whole.lists + int(whole.first_child[document])
            children = range(first, first + int(whole.children[document]))
            names = [name(DOCUMENT, child) for child in children]
            names += [f"{at:064x}" for at in range(int(whole.elsewhere[document]))]
            content["manifests"] = [{"digest": f"sha256:{one}", "size": 1} for one in names]
        else:
            image = document - whole.lists
            blobs = whole.references[whole.starts[image] : whole.starts[image + 1]].tolist()
            *layers, config = (
                {"digest": f"sha256:{name(BLOB, one)}", "size": int(whole.blob_sizes[one])}
                for one in blobs
            )
            content |= {"config": config, "layers": layers}
        file_type = 2 * oci + (document >= whole.lists)
        said = Document(digest, 0, file_type, b"", json.dumps(content).encode())
        times = (time(int(whole.created[number])), time(int(whole.pulled[number])))
        folder = FOLDERS[whole.folder[number]]
        path = root / folder / digest
        assert not path.exists()
        path.write_bytes(manifest_bytes(ManifestFile(folder, url, said, *times)))


def facts_of(size: Any) -> Any:
    from bench_scale import ask
    from scale_steps import Facts

    executor = InlineExecutor()
    return Facts(*(ask(executor, size, what) for what in ("counts", "answers", "references")))


def in_memory(size: Any) -> CacheIndex:
    from bench_scale import merged

    index: CacheIndex = merged(size, InlineExecutor(), facts_of(size))
    return index


@pytest.mark.parametrize("seed", SEEDS)
def test_shards_of_numbers_give_the_index_of_files(tmp_path: Path, seed: int) -> None:
    from array_pieces import PATTERNS
    from arrays import Size, arrays

    size = Size(400, seed)
    write_files(arrays(size), tmp_path / "cache")
    expected = decoded(scanned(tmp_path / "cache", pattern_sets=(PATTERNS,)))
    found = decoded(in_memory(size))
    for index in (expected, found):
        del index["root"]
        for manifest in index["manifests"].values():
            # The real ones also hold the document of the registry.
            assert manifest.pop("file_size") > 0
    assert found == expected
    assert not expected["faults"]
    assert len(expected["manifests"]) > 300


@pytest.mark.parametrize("seed", SEEDS)
def test_every_step_gives_the_answers_of_the_numbers(seed: int) -> None:
    from arrays import Size
    from measure import MeasureError
    from scale_steps import RULES, STEPS

    size = Size(3_000, seed)
    index, facts = in_memory(size), facts_of(size)
    for step in STEPS:
        step.check(index, facts, step.work(index, step.prepare(index, facts)))
    for step, rule in zip(STEPS, RULES, strict=False):
        answer = facts.answers[rule]
        wrong = facts._replace(answers={**facts.answers, rule: answer._replace(blobs=1)})
        selection = step.work(index, step.prepare(index, facts))
        with pytest.raises(MeasureError, match=f"{rule} removes"):
            step.check(index, wrong, selection)


def test_an_answer_is_what_plain_sets_give() -> None:
    """By created, for a cache that is small enough to go through it one by one."""
    from array_answers import CUTOFF, answers_of, seconds
    from arrays import Form, Size, arrays

    whole = arrays(Size(2_000, 3))
    files = range(len(whole))
    document = whole.document.tolist()
    gone = {at for at in files if 0 <= whole.created[at] < seconds(CUTOFF)}
    children = {
        parent: range(
            whole.lists + int(whole.first_child[parent]),
            whole.lists + int(whole.first_child[parent]) + int(whole.children[parent]),
        )
        for parent in range(whole.lists)
    }
    loaded = whole.repositories.loaded[whole.repository_of(np.arange(len(whole)))]
    for at in list(gone):
        for child in children.get(document[at], ()):
            if whole.form[child] == Form.OWN_DIGEST or loaded[child]:
                gone.add(child)
    needed = {child for at in files if at not in gone for child in children.get(document[at], ())}
    gone -= needed
    images = {document[at] - whole.lists for at in files if at not in gone} - {
        number - whole.lists for number in range(whole.lists)
    }
    used = {
        blob
        for image in images
        for blob in whole.references[whole.starts[image] : whole.starts[image + 1]].tolist()
    }
    blobs = set(range(len(whole.blob_sizes))) - used
    size = sum(int(whole.blob_sizes[blob]) for blob in blobs)
    size += sum(int(whole.file_sizes[at]) for at in gone)
    assert answers_of(whole)["--older-than"] == (len(gone), len(blobs), size)


def test_the_numbers_have_the_shares_of_the_generated_files() -> None:
    from array_answers import dangling
    from array_pieces import counts_of
    from arrays import NO_TIME, Size, arrays

    whole = arrays(Size(50_000))
    counts = counts_of(whole)
    manifests = counts["manifests"]
    assert 49_000 < manifests < 51_500
    assert 2.1 < counts["blobs"] / manifests < 2.4
    assert 4.8 < counts["references"] / manifests < 6
    assert 0.02 < counts["files"][1] / manifests < 0.04
    assert 0.015 < counts["orphans"] / counts["blobs"] < 0.025
    assert 4_000 < whole.file_sizes.mean() < 5_000
    assert 0.01 < dangling(whole).mean() < 0.04
    assert 0.02 < (whole.created == NO_TIME).mean() < 0.06
    # Layers are shared: by versions, and by repositories.
    uses = np.bincount(whole.references)
    assert 0.1 < (uses > 1).mean() < 0.4
    assert uses.max() > 1_000


def test_the_same_seed_gives_the_same_numbers() -> None:
    from arrays import Size, arrays

    one = arrays(Size(1_000, 5))
    arrays.cache_clear()
    again, other = arrays(Size(1_000, 5)), arrays(Size(1_000, 6))
    assert np.array_equal(one.references, again.references)
    assert np.array_equal(one.listing[0], again.listing[0])
    assert len(one) != len(other) or not np.array_equal(one.references, other.references)


def test_growth_is_that_of_the_time_for_each_manifest() -> None:
    from bench_scale import growth, parse_size

    def cache(manifests: int, processor: float) -> dict[str, Any]:
        return {"manifests": manifests, "steps": {"merge": {"processor_seconds": processor}}}

    grown = growth({"b": cache(1_000, 15.0), "a": cache(100, 1.0)})
    assert grown == {"merge": 1.5}
    assert [parse_size(text) for text in ("500", "10k", "2.5m")] == [500, 10_000, 2_500_000]


def test_a_step_in_a_process_of_its_own_gives_its_result_or_stops() -> None:
    from bench_scale import in_a_process, timed
    from measure import MeasureError

    def fails() -> None:
        raise MeasureError("wrong")

    assert in_a_process(lambda: {"a": 1}) == {"a": 1}
    with pytest.raises(MeasureError, match="exit code 1"):
        in_a_process(fails)
    result, cost = timed(lambda: bytes(50_000_000)[:1])
    assert result == b"\0"
    assert cost.peak > 50_000_000
