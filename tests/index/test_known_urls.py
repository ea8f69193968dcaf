"""By which URLs a server knows manifests, and which tags only it knows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tests.support.cachebuilder import CacheBuilder, digest_of, folder_of
from tests.support.listings import listing_of
from tests.support.plain_layout import PlainBuilder, PlainLayout
from tests.support.scanning import scanned

from fastprune.index.cache_index import CacheIndex
from fastprune.index.known_urls import KnownUrls, find_known_urls, moved_tags
from fastprune.layouts.default import DEFAULT_LAYOUT
from fastprune.scanning.memory import StateFolder

A = "docker.io/library/a"


def row_of(index: CacheIndex, path: str) -> int:
    return [index.path(row) for row in range(len(index))].index(path)


def entries(known: KnownUrls, index: CacheIndex) -> list[tuple[str, str, bool, bool]]:
    paths = [index.path(row) for row in known.rows.tolist()]
    columns = (paths, known.urls, known.unseen.tolist(), known.own.tolist())
    return list(zip(*columns, strict=True))


@pytest.mark.parametrize(
    "url",
    [
        f"{A}:1",
        f"{A}:latest",
        f"{A}:LaTeSt",
        A,
        "host:5000/a",
        "host:5000/a:1",
        "host:5000/a:latest",
        f"{A}@sha256:{digest_of('x')}",
        f"{A}:latest@sha256:{digest_of('x')}",
        f"{A}:latest.1",
        "host:5000/latest:1",
    ],
)
def test_the_folder_of_a_url_is_that_of_the_server(url: str) -> None:
    assert DEFAULT_LAYOUT.manifest_folder_of(url) == folder_of(url)


def test_tags_that_no_file_shows_are_found(tmp_path: Path) -> None:
    builder = CacheBuilder(tmp_path)
    image = builder.image(f"{A}:1")
    pulled = builder.image(f"{A}@sha256:{digest_of('any')}", name=digest_of("any"))
    index = scanned(tmp_path)
    known = find_known_urls(
        index,
        listing_of(
            [
                (f"{A}:1", image),
                (f"{A}:stable", image),
                (f"quay.io/b/a@sha256:{image}", image),
                (f"{A}:3", pulled),
                (f"{A}:gone", digest_of("gone")),
            ]
        ),
    )
    found = {(path, url): (unseen, own) for path, url, unseen, own in entries(known, index)}
    assert found == {
        (f"img/{image}", f"{A}:1"): (False, True),
        (f"img/{image}", f"{A}:stable"): (True, False),
        (f"img/{image}", f"quay.io/b/a@sha256:{image}"): (False, False),
        (f"img/{pulled}", f"{A}:3"): (True, False),
    }
    assert known.strangers == ((f"{A}:gone", f"sha256:{digest_of('gone')}"),)
    assert np.all(np.diff(known.rows) >= 0)
    row = row_of(index, f"img/{image}")
    assert known.urls_of(np.array([row])) == [
        [f"{A}:1", f"{A}:stable", f"quay.io/b/a@sha256:{image}"]
    ]


def test_twins_are_told_apart_by_the_folder_of_the_url(tmp_path: Path) -> None:
    builder = CacheBuilder(tmp_path)
    image = builder.image(f"{A}:1", config=builder.blob(b"c"))
    assert builder.image(f"{A}:latest", config=digest_of(b"c"), folder="lts") == image
    index = scanned(tmp_path)
    known = find_known_urls(
        index, listing_of([(f"{A}:2", image), (f"{A}:latest", image), (f"{A}:Latest", image)])
    )
    assert sorted(entries(known, index)) == [
        (f"img/{image}", f"{A}:2", True, False),
        (f"lts/{image}", f"{A}:Latest", True, False),
        (f"lts/{image}", f"{A}:latest", False, True),
    ]


def test_an_entry_whose_file_is_only_in_the_other_folder_has_no_file(tmp_path: Path) -> None:
    image = CacheBuilder(tmp_path).image(f"{A}:1")
    index = scanned(tmp_path)
    known = find_known_urls(index, listing_of([(f"{A}:latest", image)]))
    assert not len(known)
    assert known.strangers == ((f"{A}:latest", f"sha256:{image}"),)


def test_what_is_loaded_and_which_tags_moved_can_be_told(tmp_path: Path) -> None:
    builder = CacheBuilder(tmp_path)
    before, now = builder.image(f"{A}:1"), builder.image(f"{A}:1", layers=[builder.blob(5)])
    other, untouched = builder.image(f"{A}:2"), builder.image(f"{A}:4")
    gone = builder.image(f"{A}:5")
    listing = listing_of(
        [
            (f"{A}:1", now),
            (f"{A}:3", other),
            (f"{A}:4", untouched),
            (f"{A}:5", digest_of("not here")),
        ]
    )
    index = scanned(tmp_path, listing=listing)
    known = index.known
    assert known is not None
    loaded = {index.path(row) for row in np.flatnonzero(known.loaded(len(index))).tolist()}
    assert loaded == {f"img/{now}", f"img/{other}", f"img/{untouched}"}
    assert {index.path(row) for row in moved_tags(index).tolist()} == {
        f"img/{before}",
        f"img/{gone}",
    }
    [urls] = known.urls_of(np.array([row_of(index, f"img/{before}")]))
    assert urls == []


def test_without_a_list_nothing_is_known(tmp_path: Path) -> None:
    CacheBuilder(tmp_path).image(f"{A}:1")
    index = scanned(tmp_path)
    assert index.known is None
    assert not len(moved_tags(index))


def test_an_empty_cache_has_only_strangers(tmp_path: Path) -> None:
    CacheBuilder(tmp_path)
    index = scanned(tmp_path, listing=listing_of([(f"{A}:1", digest_of("x"))]))
    assert index.known is not None
    assert index.known.strangers == ((f"{A}:1", f"sha256:{digest_of('x')}"),)
    index = scanned(tmp_path, listing=listing_of([]))
    assert index.known is not None
    assert (len(index.known), index.known.strangers) == (0, ())


@pytest.mark.parametrize("edges", [True, False])
def test_a_remembered_scan_heeds_the_list_of_today(
    edges: bool, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    image = CacheBuilder(tmp_path).image(f"{A}:1")
    state = StateFolder(str(tmp_path_factory.mktemp("state")))
    for tag in ("2", "3"):
        listing = listing_of([(f"{A}:{tag}", image)])
        index = scanned(tmp_path, state=state, edges=edges, listing=listing)
        assert index.known is not None
        assert index.known.urls == [f"{A}:{tag}"]
    assert scanned(tmp_path, state=state, edges=edges).known is None


def test_a_second_layout_says_where_a_url_is_kept(tmp_path: Path) -> None:
    layout = PlainLayout(("one", "two"), "data")
    builder = PlainBuilder(tmp_path / "cache", layout)
    image = builder.image(f"{A}:1", builder.blob("x"))
    assert builder.image(f"{A}:edge", f"data/{digest_of('x')}", folder=1)[-64:] == image[-64:]
    index = scanned(
        builder.root,
        layout=layout,
        listing=listing_of([(f"{A}:edge", image[-64:]), (f"{A}:2", image[-64:])]),
    )
    assert index.known is not None
    assert sorted(entries(index.known, index)) == [
        (image, f"{A}:2", True, False),
        (f"two/{image[-64:]}", f"{A}:edge", False, True),
    ]
