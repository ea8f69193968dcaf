"""`list` in every format, on the two caches that a real server wrote."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from functools import cache as remembered
from pathlib import Path

import pytest
from tests.cli.golden import check_golden
from tests.cli.program import WIDTH, Result, run
from tests.support.cachebuilder import CacheBuilder
from tests.support.oracle import Cache, load
from tests.support.realcaches import REAL_CACHES, RealCache, unpack

FORMATS = ("text", "url", "csv", "json", "jsonl", "table")
VARIANTS = {
    "text-header-short": ("--format", "text", "--header", "--short-digest"),
    "table-bare-full": ("--format", "table", "--no-header", "--full-digest"),
    "by-size": ("--format", "text", "--sort", "-size", "--limit", "7"),
    "by-created": ("--format", "text", "--sort", "created", "--limit", "7"),
    "selected": ("--format", "text", "--pattern", "nginx,typha", "--exclude", "latest"),
} | {form: ("--format", form) for form in FORMATS}
# What a program may rely on; more may come within a version, but nothing goes.
ITEM_KEYS = {
    "url",
    "repository",
    "tag",
    "digest",
    "kind",
    "type",
    "created",
    "pulled",
    "bytes",
    "path",
}

Listing = Callable[[RealCache, str], Result]


@pytest.fixture(scope="module")
def roots(tmp_path_factory: pytest.TempPathFactory) -> dict[RealCache, Path]:
    folder = tmp_path_factory.mktemp("list")
    return {name: unpack(name, folder) for name in REAL_CACHES}


@pytest.fixture(scope="module")
def listing(roots: dict[RealCache, Path]) -> Listing:
    """Runs each variant once, however many tests look at it."""

    @remembered
    def listed(name: RealCache, variant: str) -> Result:
        return run("list", *VARIANTS[variant], cache=roots[name])

    return listed


@pytest.fixture(params=REAL_CACHES)
def name(request: pytest.FixtureRequest) -> RealCache:
    found: RealCache = request.param
    return found


@pytest.fixture
def known(name: RealCache, roots: dict[RealCache, Path]) -> Cache:
    return load(roots[name])


@pytest.mark.parametrize(
    ("name", "variant"),
    [("pulled", variant) for variant in VARIANTS] + [("loaded", form) for form in FORMATS],
)
def test_a_listing_is_as_the_golden_file_has_it(
    name: RealCache, variant: str, listing: Listing, roots: dict[RealCache, Path]
) -> None:
    result = listing(name, variant)
    assert (result.code, result.err) == (0, "")
    check_golden(f"list-{name}-{variant}.txt", result.out, cache=roots[name])


def test_text_is_what_a_pipe_gets_by_default(
    listing: Listing, roots: dict[RealCache, Path]
) -> None:
    assert run("list", cache=roots["pulled"]) == listing("pulled", "text")


def test_text_has_six_columns_with_one_blank_between(
    name: RealCache, listing: Listing, known: Cache
) -> None:
    lines = listing(name, "text").out.splitlines()
    assert len(lines) == len(known.manifests)
    assert all(len(line.split(" ")) == 6 and "" not in line.split(" ") for line in lines)


def test_url_prints_one_image_url_a_line(name: RealCache, listing: Listing, known: Cache) -> None:
    urls = sorted(manifest.url for manifest in known.manifests.values())
    assert listing(name, "url").out.splitlines() == urls


def test_json_has_a_version_and_the_documented_keys(
    name: RealCache, listing: Listing, known: Cache, roots: dict[RealCache, Path]
) -> None:
    document = json.loads(listing(name, "json").out)
    assert set(document) >= {"version", "command", "image_path", "manifests", "corrupt"}
    assert document["version"] == 1
    assert document["command"] == "list"
    assert document["image_path"] == str(roots[name])
    assert document["corrupt"] == []
    assert {item["path"] for item in document["manifests"]} == set(known.manifests)
    for item in document["manifests"]:
        manifest = known.manifests[item["path"]]
        assert set(item) >= ITEM_KEYS
        assert item["url"] == manifest.url
        assert item["digest"] == f"sha256:{manifest.digest}"
        assert item["kind"] == ("list" if manifest.is_list else "image")
        assert (item["bytes"] is None) == manifest.is_list
        assert (item["created"] or "") == manifest.created
        assert (item["pulled"] or "") == manifest.pulled


def test_jsonl_has_the_same_items_one_a_line(name: RealCache, listing: Listing) -> None:
    items = [json.loads(line) for line in listing(name, "jsonl").out.splitlines()]
    assert items == json.loads(listing(name, "json").out)["manifests"]


def test_csv_is_read_back_as_what_json_says(name: RealCache, listing: Listing) -> None:
    rows = list(csv.DictReader(io.StringIO(listing(name, "csv").out)))
    items = json.loads(listing(name, "json").out)["manifests"]
    for row, item in zip(rows, items, strict=True):
        assert row["repository"] == item["repository"]
        assert row["type"] == item["kind"]
        assert row["tag_or_digest"] in (item["tag"], item["digest"])
        assert row["size"] == ("" if item["bytes"] is None else str(item["bytes"]))


def test_a_table_lines_up_and_fits_the_terminal(name: RealCache, listing: Listing) -> None:
    lines = listing(name, "table").out.splitlines()
    assert {len(line) for line in lines} == {len(lines[0])}
    assert len(lines[0]) <= WIDTH


def test_a_terminal_that_knows_few_characters_gets_escapes(tmp_path: Path) -> None:
    builder = CacheBuilder(tmp_path / "cache")
    builder.image("镜像😀:1")
    for form in ("url", "table", "json"):
        options = ("list", "--format", form, "--quiet")
        result = run(*options, cache=builder.root, env={"PYTHONIOENCODING": "ascii"})
        assert (result.code, result.err) == (0, "")
        assert "\\u955c\\u50cf\\ud83d\\ude00" in result.out
    assert json.loads(result.out)["manifests"][0]["url"] == "镜像😀:1"


def test_the_limit_is_that_of_the_sorted_listing(
    listing: Listing, roots: dict[RealCache, Path]
) -> None:
    some = run("list", "--format", "url", "--sort", "-url", "--limit", "3", cache=roots["loaded"])
    assert some.out.splitlines() == listing("loaded", "url").out.splitlines()[:-4:-1]
    assert run("list", "--limit", "0", cache=roots["loaded"]) == Result(0, "", "")


def test_a_listing_of_nothing_is_empty_and_no_error(roots: dict[RealCache, Path]) -> None:
    assert run("list", "--pattern", "no-such-image", cache=roots["loaded"]) == Result(0, "", "")
