"""`explain`: it says of an image what a prune would do with it."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from tests.cli.golden import check_golden
from tests.cli.program import Result, run
from tests.support.cachebuilder import CacheBuilder, snapshot
from tests.support.documents import Json
from tests.support.realcaches import REAL_CACHES, RealCache, unpack

from fastprune.text.quantities import format_bytes

TYPHA = "docker.io/calico/typha:v3.27.0"


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return unpack("pulled", tmp_path)


def explained(cache: Path, *words: str) -> Json:
    result = run("explain", *words, "--format", "json", cache=cache)
    assert (result.code, result.err) == (0, "")
    found: Json = json.loads(result.out)
    return found


def ages(text: str) -> str:
    return re.sub(r"\(.* ago\)", "(<age> ago)", text)


def test_text(cache: Path) -> None:
    result = run("explain", "calico/typha:v3.27.0", cache=cache)
    assert (result.code, result.err) == (0, "")
    check_golden("explain.txt", ages(result.out))


@pytest.mark.parametrize("name", REAL_CACHES)
def test_what_comes_free_is_what_a_prune_of_it_alone_frees(name: RealCache, tmp_path: Path) -> None:
    root = unpack(name, tmp_path)
    urls = run("list", "--format", "url", cache=root).out.split()
    tags = [url for url in urls if "@" not in url and urls.count(url) == 1]
    assert tags
    for url in tags[::4]:
        pattern = f"^{re.escape(url)}$"
        report = run("prune", "--pattern", pattern, "--dry-run", "--format", "json", cache=root)
        totals = json.loads(report.out)["totals"]
        free = explained(root, url)["frees"]
        assert free == {key: totals[key] for key in free}, url


@pytest.mark.parametrize("linked", ["blobs", "img"])
def test_files_with_other_hard_links_do_not_come_free(linked: str, tmp_path: Path) -> None:
    builder = CacheBuilder(tmp_path / "cache")
    layer = builder.blob(9000)
    digest = builder.image("r.example/app:1", layers=[layer, builder.blob(500)])
    builder.image("r.example/app:2")
    before = explained(builder.root, "app:1")["frees"]
    name = digest if linked == "img" else layer
    size = builder.link(f"{linked}/{name}").stat().st_size
    report = run("prune", "--pattern", ":1$", "--dry-run", "--format", "json", cache=builder.root)
    totals = json.loads(report.out)["totals"]
    free = explained(builder.root, "app:1")["frees"]
    assert free == {key: totals[key] for key in free}
    assert free == before | {"bytes": before["bytes"] - size, "bytes_linked": size}
    text = run("explain", "app:1", cache=builder.root).out
    assert f"Frees nothing, as its files have other hard links: {format_bytes(size)}\n" in text


@pytest.mark.parametrize(
    "words",
    [
        TYPHA,
        "calico/typha:v3.27.0",
        "636f22ca883c23fd0c44cea402585adb5f720da21195dfa1d3a10dafdf59ed29",
        "sha256:636f22ca883c",
        "636f22ca",
    ],
)
def test_a_unique_part_is_enough(words: str, cache: Path) -> None:
    assert explained(cache, words)["manifest"]["url"] == TYPHA


def test_a_name_of_several_lists_them(cache: Path) -> None:
    result = run("explain", "typha", cache=cache)
    assert result.code in (1, 2)
    assert result.out == ""
    assert TYPHA in result.err


def test_an_unknown_name_is_an_error(cache: Path) -> None:
    result = run("explain", "no/such:image", cache=cache)
    assert (result.code, result.out) == (1, "")
    assert "no image is called 'no/such:image'; 'fastprune list' shows what there is" in result.err


def test_with_the_options_of_prune_it_says_what_that_would_do(cache: Path) -> None:
    assert (
        "it would go: it is selected"
        in run("explain", TYPHA, "--pattern", "typha", cache=cache).out
    )
    assert "it would stay" in run("explain", TYPHA, "--pattern", "nginx", cache=cache).out


def test_it_only_reads(cache: Path) -> None:
    before = snapshot(cache)
    explained(cache, TYPHA)
    assert snapshot(cache) == before


@pytest.mark.parametrize("words", ["app", "app1:2"], ids=["several", "nearly"])
def test_a_line_feed_in_a_url_of_the_cache_begins_no_line(words: str, tmp_path: Path) -> None:
    builder = CacheBuilder(tmp_path / "cache")
    for number in (1, 2):
        builder.image(f"example.org/app{number}:1\nfastprune: all is well")
    error = run("explain", words, cache=builder.root).err
    assert "app1:1" in error
    assert not any(line.startswith("fastprune: all") for line in error.splitlines())


def test_control_characters_in_a_name_are_not_printed_raw(cache: Path) -> None:
    result: Result = run("explain", "x\x1b[2J", cache=cache)
    assert result.code == 1
    assert "\x1b" not in result.err
