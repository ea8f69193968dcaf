"""The table of `list` fits every terminal, and lines up whatever the names are."""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path

import pytest
from tests.support.cachebuilder import CacheBuilder
from tests.support.realcaches import unpack
from tests.support.scanning import scanned

from fastprune.index.cache_index import CacheIndex
from fastprune.report.listing import HEADER, Format, SortKey, render, sorted_rows
from fastprune.text.cells import cells
from fastprune.text.style import Style, colored

WIDTHS = (*range(40, 121), 150, 200)
CODES = re.compile(r"\x1b\[[0-9;]*m")


def index_of(root: Path) -> CacheIndex:
    return scanned(root, edges=False)


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> CacheIndex:
    return index_of(unpack("pulled", tmp_path_factory.mktemp("table")))


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory) -> CacheIndex:
    builder = CacheBuilder(tmp_path_factory.mktemp("wide") / "cache")
    builder.image("镜像.example/仓库/很长的名字/一个很长很长的名字:最新版本最新版本最新版本")
    builder.image("docker.io/library/e\u0301:1", layers=[builder.blob(999_950)])
    builder.image("docker.io/" + "long/" * 40 + "x:" + "t" * 120, layers=[builder.blob(5)])
    builder.image("a:1")
    return index_of(builder.root)


def table(index: CacheIndex, width: int, *, short: bool = True) -> list[str]:
    rows = sorted_rows(index, index.digests[:, 0].nonzero()[0], SortKey.url, reverse=False)
    draw = partial(render, index, rows, Format.table, header=True, short_digest=short)
    lines = list(draw(width=width))
    # Colours change nothing but colours.
    assert [CODES.sub("", line) for line in draw(width=width, paint=colored)] == lines
    return lines


@pytest.mark.parametrize("short", [True, False])
@pytest.mark.parametrize("cache", ["real", "wide"])
def test_no_line_wraps_at_any_width(
    cache: str, short: bool, request: pytest.FixtureRequest
) -> None:
    index = request.getfixturevalue(cache)
    for width in WIDTHS:
        lines = table(index, width, short=short)
        assert len(lines) > 1
        assert {cells(line) for line in lines} == {cells(lines[0])}
        assert cells(lines[0]) <= width


def test_all_columns_are_there_at_80_and_the_size_always(real: CacheIndex) -> None:
    assert table(real, 80)[0].split() == list(HEADER)
    assert table(real, 60)[0].split() == ["REPOSITORY", "TAG|DIGEST", "PULLED", "SIZE"]
    assert table(real, 40)[0].split() == ["REPOSITORY", "TAG|DIGEST", "SIZE"]


def test_full_digests_are_whole_where_there_is_room(real: CacheIndex) -> None:
    at = table(real, 100, short=False)
    assert any(re.search(r"sha256:[0-9a-f]{64} ", line) for line in at)


def test_sizes_are_on_the_right_and_units_below_each_other(wide: CacheIndex) -> None:
    sizes = [line[-8:] for line in table(wide, 100)[1:]]
    assert "  1.0 MB" in sizes
    assert "   16  B" in sizes


def test_colours_are_for_the_heading_and_for_lists(real: CacheIndex) -> None:
    rows = sorted_rows(real, real.digests[:, 0].nonzero()[0], SortKey.url, reverse=False)
    heading, *lines = render(
        real, rows, Format.table, header=True, short_digest=True, width=80, paint=colored
    )
    assert heading.startswith(f"\x1b[{Style.HEADING.value}m")
    for line in lines:
        assert (colored(Style.LIST, "list") in line) == (" list " in CODES.sub("", line))
        assert line.count("\x1b") in (0, 2)
