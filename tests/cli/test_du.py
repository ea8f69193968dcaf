"""`du`: its rows add up to the bytes on disk, and its table can be read."""

from __future__ import annotations

import csv
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.cli.golden import check_golden
from tests.cli.program import run
from tests.support.cachebuilder import FOLDERS, CacheBuilder, Corruption, snapshot
from tests.support.realcaches import REAL_CACHES, RealCache, unpack

from fastprune.executors.inline import InlineExecutor
from fastprune.model import parse_time
from fastprune.policy.policy import Policy
from fastprune.scanning.scanner import ScanOptions
from fastprune.text.cells import cells
from fastprune.usage.report import UsageSort, sorted_groups, usage_rows
from fastprune.usage.rows import By
from fastprune.usage.surveying import Survey, survey_cache
from fastprune.usage.table import table_lines

CUTOFFS = {7: parse_time("2026-11-23T07:57:22") or 0, 30: parse_time("2026-11-23T07:57:20") or 0}
GENERATOR = Path(__file__).resolve().parents[2] / "benchmarks" / "generate.py"


def disk_usage(root: Path) -> int:
    """Bytes of all regular files in the three folders."""
    return sum(
        entry.stat(follow_symlinks=False).st_size
        for folder in FOLDERS
        for entry in os.scandir(root / folder)
        if entry.is_file(follow_symlinks=False)
    )


def surveyed(root: Path) -> Survey:
    return survey_cache(str(root), Policy(), lambda _: InlineExecutor(), ScanOptions())


def measured(root: Path, *options: str) -> Any:
    result = run("du", "--format", "json", *options, cache=root)
    assert (result.code, result.err) == (0, "")
    return json.loads(result.out)


@pytest.fixture(scope="module")
def generated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("generated") / "cache"
    subprocess.run(
        [sys.executable, GENERATOR, root, "--manifests", "500", "--jobs", "1"],
        check=True,
        capture_output=True,
        timeout=60,
    )
    return root


@pytest.mark.parametrize("name", REAL_CACHES)
def test_the_rows_add_up_to_the_bytes_on_disk(name: RealCache, tmp_path: Path) -> None:
    root = unpack(name, tmp_path)
    survey = surveyed(root)
    for by in By:
        usage = survey.usage(by)
        rows = list(usage_rows(usage, np.arange(len(usage)), None))
        assert sum(row.unique for row in rows) == usage.total == disk_usage(root)
    document = measured(root)
    assert sum(row["unique"] for row in document["rows"]) == disk_usage(root)
    assert document["totals"]["bytes"] == disk_usage(root)


def test_they_do_on_a_generated_cache_with_orphans_and_dangling_images(generated: Path) -> None:
    document = measured(generated, "--top", "3")
    assert sum(row["unique"] for row in document["rows"]) == disk_usage(generated)
    kinds = [row["kind"] for row in document["rows"]]
    assert kinds[:4] == ["repository"] * 3 + ["others"]
    assert {"shared", "dangling", "orphans"} <= set(kinds)


def test_what_if_is_what_a_dry_run_says(generated: Path) -> None:
    (answer,) = [one for one in measured(generated)["what_if"] if one["days"] == 365]
    result = run(
        *("prune", "--not-pulled-for", "365d", "--dry-run", "--summary", "--format", "json"),
        cache=generated,
    )
    assert json.loads(result.out)["totals"]["bytes"] == answer["bytes_freed"] > 0


def test_broken_images_short_blobs_and_unreadable_manifests_add_up_too(tmp_path: Path) -> None:
    builder = CacheBuilder(tmp_path / "cache")
    layer = builder.blob(5000)
    builder.image("docker.io/library/whole:1", layers=[layer])
    builder.image("docker.io/library/broken:1", layers=[layer, "ab" * 32])
    os.truncate(builder.root / "blobs" / layer, 123)
    builder.blob(77)
    damaged = builder.corrupt(Corruption.CUT)
    builder.raw("blobs", "README", b"not part of the cache")
    result = run("du", "--format", "json", cache=builder.root)
    assert result.code == 0
    assert damaged in result.err
    rows = {row["kind"]: row for row in json.loads(result.out)["rows"]}
    foreign = len(b"not part of the cache")
    assert sum(row["unique"] for row in rows.values()) == disk_usage(builder.root) - foreign
    assert set(rows) == {"repository", "shared", "broken", "orphans", "unreadable"}
    assert (rows["shared"]["unique"], rows["orphans"]["unique"]) == (123, 77)
    assert rows["unreadable"]["unique"] == (builder.root / damaged).stat().st_size
    assert rows["unreadable"]["manifests"] == rows["broken"]["images"] == 1


@pytest.mark.parametrize("width", [80, 200])
def test_text(width: int, tmp_path: Path) -> None:
    root = unpack("loaded", tmp_path)
    result = run("du", cache=root, env={"COLUMNS": str(width)})
    assert (result.code, result.err) == (0, "")
    assert max(map(len, result.out.splitlines()[1:])) <= width
    check_golden(f"du-loaded-{width}.txt", result.out, cache=root)


@pytest.mark.parametrize("width", [80, 200])
def test_text_by_everything(width: int, tmp_path: Path) -> None:
    root = unpack("pulled", tmp_path)
    survey = surveyed(root)
    for by in By:
        usage = survey.usage(by)
        order = sorted_groups(usage, UsageSort.unique, reverse=True)
        rows = list(usage_rows(usage, order, 5))
        lines = list(table_lines(usage, rows, survey.ages(), CUTOFFS, width=width))
        assert max(map(cells, lines[1:])) <= width
        check_golden(f"du-pulled-{by}-{width}.txt", "\n".join([*lines, ""]), cache=root)


@pytest.mark.parametrize("by", By)
def test_on_a_narrow_terminal_columns_are_left_out_and_no_line_wraps(
    by: By, tmp_path: Path
) -> None:
    survey = surveyed(unpack("pulled", tmp_path))
    usage = survey.usage(by)
    rows = list(usage_rows(usage, sorted_groups(usage, UsageSort.unique, reverse=True), 5))
    for width in range(42, 80):
        _, _, heading, *lines = table_lines(usage, rows, survey.ages(), CUTOFFS, width=width)
        assert max(map(cells, [heading, *lines])) <= width
        assert heading.split()[0] == by.name.upper()
        assert "UNIQUE" in heading
        assert ("LAST PULL" in heading) <= ("IMAGES" in heading)


def test_json_and_csv_say_the_same(tmp_path: Path) -> None:
    root = unpack("loaded", tmp_path)
    document = measured(root)
    check_golden("du-loaded.json", json.dumps(document, indent=1) + "\n", cache=root)
    result = run("du", "--format", "csv", cache=root)
    rows = list(csv.DictReader(result.out.splitlines()))
    assert [{key: value or None for key, value in row.items()} for row in rows] == [
        {key: None if value is None else str(value) for key, value in row.items()}
        for row in document["rows"]
    ]


def test_a_selection_shows_what_comes_free_and_what_stays(tmp_path: Path) -> None:
    root = unpack("pulled", tmp_path)
    rows = measured(root, "--pattern", "kube-proxy:")["rows"]
    assert [row["kind"] for row in rows] == ["repository", "shared_outside", "outside"]
    report = run("prune", "--pattern", "kube-proxy:", "-n", "--format", "json", cache=root)
    assert rows[0]["unique"] == json.loads(report.out)["totals"]["bytes"]
    assert sum(row["unique"] for row in rows) == disk_usage(root)


def test_depth_sums_repositories(tmp_path: Path) -> None:
    root = unpack("pulled", tmp_path)
    registries = measured(root, "--by", "registry")["rows"]
    cut = measured(root, "--depth", "1")["rows"]
    assert [row | {"kind": ""} for row in cut] == [row | {"kind": ""} for row in registries]
    names = [row["name"] for row in measured(root, "--depth", "2", "--sort", "name")["rows"]]
    assert "docker.io/kubernetesui" in names
    whole, deepest = measured(root)["rows"], measured(root, "--depth", "9" * 26)["rows"]
    assert whole == deepest


def test_it_only_reads(tmp_path: Path) -> None:
    root = unpack("pulled", tmp_path)
    before = snapshot(root)
    assert run("du", cache=root).code == 0
    assert snapshot(root) == before


def test_names_from_the_cache_are_not_printed_raw(tmp_path: Path) -> None:
    builder = CacheBuilder(tmp_path / "cache")
    builder.image("evil.example/\x1b[31m\u202e\n:1", folder="img")
    for form in ("text", "json", "csv"):
        for by in ("repository", "layer"):
            result = run("du", "--format", form, "--by", by, cache=builder.root)
            assert result.code == 0
            assert "evil.example" in result.out
            assert not {"\x1b", "\u202e"} & set(result.out)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--by", "tag"), "--by: 'tag' is none of registry, repository, image, layer"),
        (("--sort", "size"), "--sort: 'size' is none of"),
        (("--format", "xml"), "--format: 'xml' is none of text, json, csv"),
        (("--depth", "0"), "--depth"),
        (("--top", "-1"), "--top"),
        (("--depth", "1", "--by", "image"), "--depth cuts names of repositories"),
    ],
)
def test_wrong_options_are_usage_errors(options: tuple[str, ...], said: str) -> None:
    result = run("du", *options, cache=Path("/nonexistent"))
    assert (result.code, result.out) == (2, "")
    assert said in " ".join(result.err.split())


@pytest.mark.parametrize(("top", "noun"), [("1", "2 others"), ("2", "1 other")])
def test_what_is_left_out_is_counted_with_its_noun(top: str, noun: str, tmp_path: Path) -> None:
    builder = CacheBuilder(tmp_path / "cache")
    for number in range(3):
        builder.image(f"r.example/a{number}:1", layers=[builder.blob(100)])
    result = run("du", "--top", top, cache=builder.root)
    assert re.search(rf"(?m)(^|\s){noun}(\s|$)", result.out), result.out
