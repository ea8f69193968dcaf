"""The oracle's prune, against worked examples and the real caches."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
from tests.support.cachebuilder import (
    files,
)
from tests.support.oracle import (
    Cache,
    Manifest,
    Outcome,
    expected,
    kept_images_lost_blobs,
    kept_lists_lost_children,
    load,
)
from tests.support.realcaches import RealCache, unpack
from tests.support.strategies import (
    MALFORMED_TIMES,
)

HEX = "12" * 32
BY_DIGEST = f"r@sha256:{HEX}"


# The oracle's prune, on toys: letters for digests, a word of letters for several.


def toy(*manifests: Manifest, blobs: str = "", corrupt: str = "") -> Cache:
    return Cache(
        manifests={one.path: one for one in manifests},
        blobs=dict.fromkeys(blobs, 10),
        corrupt={f"img/{letter}": "damaged" for letter in corrupt},
    )


def image(path: str, url: str, blobs: str = "", created: str | None = "") -> Manifest:
    return Manifest(path, is_list=False, url=url, created=created, blobs=tuple(blobs), size=1)


def listing(path: str, url: str, children: str = "", created: str = "") -> Manifest:
    return Manifest(path, True, url, created=created, children=tuple(children), size=1)


def removed(outcome: Outcome) -> str:
    return " ".join(sorted(outcome.removed))


THREE = toy(
    image("img/a", "r/a:1", created="2024-01-01T00:00:00"),
    image("img/b", "r/b:1", created="2024-01-01T00:00:01"),
    image("lts/c", "r/c:latest", created=""),
)


@pytest.mark.parametrize(
    ("patterns", "answer"),
    [
        (["/a"], "img/a"),
        (["a:1", "b"], "img/a img/b"),
        (["A"], ""),
        (["(?i)A:1"], "img/a"),
        (["^a"], ""),
        (["^r/.:1$"], "img/a img/b"),
        (["."], "img/a img/b lts/c"),
        (["nothing"], ""),
        ([], ""),
    ],
)
def test_selection_by_pattern(patterns: list[str], answer: str) -> None:
    assert removed(expected(THREE, patterns=patterns)) == answer


@pytest.mark.parametrize(
    ("cutoff", "answer"),
    [
        ("2024-01-01T00:00:00", ""),
        ("2024-01-01T00:00:01", "img/a"),
        ("9999-12-31T23:59:59", "img/a img/b"),
    ],
)
def test_selection_by_time_is_strict_and_never_takes_an_empty_one(cutoff: str, answer: str) -> None:
    assert removed(expected(THREE, created_before=cutoff)) == answer


@pytest.mark.parametrize("created", [*MALFORMED_TIMES, None])
def test_a_malformed_time_is_never_selected_and_reported(created: str | None) -> None:
    cache = toy(image("img/a", "r/a:1", created=created), image("img/b", "r/b:1"))
    outcome = expected(cache, created_before="9999-12-31T23:59:59")
    assert outcome.selected == outcome.removed == set()
    assert outcome.malformed == {"img/a"}


def test_criteria_combine_with_and() -> None:
    both = expected(THREE, patterns=["/[bc]"], created_before="9999-12-31T23:59:59")
    assert removed(both) == "img/b"


def test_exclude_beats_selection_and_alone_selects_nothing() -> None:
    outcome = expected(THREE, patterns=["."], exclude=["/a", ":latest"])
    assert removed(outcome) == "img/b"
    assert outcome.selected == {"img/b"}
    assert removed(expected(THREE, exclude=["/a"])) == ""


@pytest.mark.parametrize(
    "options",
    [
        {"patterns": ["a", ""]},
        {"exclude": [""]},
        {"created_before": "2024-02-30T00:00:00"},
        {"created_before": ""},
    ],
)
def test_what_would_be_a_usage_error_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"empty pattern|not a time"):
        expected(THREE, **options)


def test_patterns_are_those_of_re2() -> None:
    with pytest.raises(Exception, match="perl operator"):
        expected(THREE, patterns=["a(?=:1)"])


# Expansion.


@pytest.mark.parametrize("url", [BY_DIGEST, "other/repository@sha256:" + HEX, "r/l:1"])
@pytest.mark.parametrize("place", ["img/a", "lts/a"])
def test_a_list_takes_its_cached_children_along(place: str, url: str) -> None:
    cache = toy(listing("img/l", "r/l:1", "axy"), image(place, url, "p"), blobs="p")
    outcome = expected(cache, patterns=["r/l:1"])
    assert outcome.lists == {"img/l"}
    assert outcome.images == {place}
    assert outcome.blobs == {"blobs/p"}
    assert expected(cache, patterns=["l:1"]).left == set()


@pytest.mark.parametrize("url", [BY_DIGEST, "r/l:1"])
def test_a_child_goes_along_though_it_does_not_meet_the_criteria(url: str) -> None:
    cache = toy(
        listing("img/l", "r/l:1", "a", created="2023-01-01T00:00:00"),
        image("img/a", url, created="2025-01-01T00:00:00"),
        image("img/b", url, created="2025-01-01T00:00:00"),
    )
    assert removed(expected(cache, created_before="2024-01-01T00:00:00")) == "img/a img/l"


@pytest.mark.parametrize("url", ["r/l:2", "r/l", "r@sha256:" + "AB" * 32, ""])
def test_a_child_with_a_tag_of_its_own_stays(url: str) -> None:
    cache = toy(listing("img/l", "r/l:1", "a"), image("img/a", url, "p"), blobs="p")
    assert removed(expected(cache, patterns=["l:1"])) == "img/l"


def test_a_child_with_a_tag_of_its_own_goes_when_selected() -> None:
    cache = toy(listing("img/l", "r/l:1", "a"), image("img/a", "r/other:1"))
    assert removed(expected(cache, patterns=["l:1", "other"])) == "img/a img/l"


def test_a_child_in_both_folders_goes_from_both_but_each_by_its_own_url() -> None:
    cache = toy(
        listing("lts/l", "r/l:latest", "a"),
        image("img/a", BY_DIGEST),
        image("lts/a", "r/l:latest"),
    )
    assert removed(expected(cache, patterns=["latest"])) == "img/a lts/a lts/l"
    cache = toy(
        listing("lts/l", "r/l:latest", "a"),
        image("img/a", "r/l:1"),
        image("lts/a", "r/l:latest"),
    )
    assert removed(expected(cache, patterns=["latest"])) == "lts/a lts/l"


def test_expansion_goes_through_nested_lists() -> None:
    cache = toy(
        listing("img/l", "r/l:1", "m"),
        listing("img/m", BY_DIGEST, "n"),
        listing("lts/n", BY_DIGEST, "a"),
        image("img/a", BY_DIGEST),
    )
    assert removed(expected(cache, patterns=["r/l:1"])) == "img/a img/l img/m lts/n"


def test_in_a_nested_list_the_url_to_equal_is_its_own() -> None:
    cache = toy(
        listing("img/l", "r/l:1", "m", created="2023-01-01T00:00:00"),
        listing("img/m", BY_DIGEST, "ab"),
        image("img/a", "r/l:1"),
        image("img/b", BY_DIGEST),
    )
    # By time, so that the URL which both img/l and img/a have does not select img/a.
    assert removed(expected(cache, created_before="2024-01-01T00:00:00")) == "img/b img/l img/m"


def test_a_nested_list_with_a_tag_of_its_own_ends_the_expansion() -> None:
    cache = toy(
        listing("img/l", "r/l:1", "m"), listing("img/m", "r/m:1", "a"), image("img/a", BY_DIGEST)
    )
    assert removed(expected(cache, patterns=["l:1"])) == "img/l"


def test_cycles_of_lists_end() -> None:
    cache = toy(
        listing("img/l", "r/l:1", "lm"),
        listing("img/m", BY_DIGEST, "nl"),
        listing("img/n", BY_DIGEST, "ma"),
        image("img/a", BY_DIGEST),
    )
    assert removed(expected(cache, patterns=["l:1"])) == "img/a img/l img/m img/n"


def test_an_image_takes_no_lists_along() -> None:
    cache = toy(listing("img/l", BY_DIGEST), image("img/a", "r/a:1", "l"), blobs="l")
    assert removed(expected(cache, patterns=["a:1"])) == "blobs/l img/a"


@pytest.mark.parametrize("allow_broken", [False, True])
def test_expansion_never_takes_or_passes_what_is_excluded(allow_broken: bool) -> None:
    cache = toy(
        listing("img/l", "r/l:1", "mb"),
        listing("img/m", f"keep@sha256:{HEX}", "a"),
        image("img/a", BY_DIGEST),
        image("img/b", f"keep@sha256:{HEX}"),
    )
    outcome = expected(cache, patterns=["l:1"], exclude=["^keep"], allow_broken=allow_broken)
    assert removed(outcome) == "img/l"
    assert outcome.protected == {}


# Protection.


def test_a_shared_child_stays_under_a_surviving_tag() -> None:
    cache = toy(
        listing("img/l", "r/l:1", "a"),
        listing("img/m", "r/l:2", "a"),
        image("img/a", BY_DIGEST, "p"),
        blobs="p",
    )
    outcome = expected(cache, patterns=["l:1"])
    assert removed(outcome) == "img/l"
    assert outcome.protected == {"img/a": {"img/m"}}


def test_a_selected_child_of_a_kept_list_stays_unless_broken_is_allowed() -> None:
    cache = toy(listing("img/l", "r/l:1", "a"), image("img/a", BY_DIGEST, "p"), blobs="p")
    outcome = expected(cache, patterns=["@sha256"])
    assert removed(outcome) == ""
    assert outcome.selected == {"img/a"}
    assert outcome.protected == {"img/a": {"img/l"}}
    broken = expected(cache, patterns=["@sha256"], allow_broken=True)
    assert removed(broken) == "blobs/p img/a"
    assert broken.protected == {}


def test_another_copy_that_stays_serves_the_list() -> None:
    cache = toy(
        listing("img/l", "r/l:1", "a"),
        image("img/a", BY_DIGEST, "p"),
        image("lts/a", "r/a:latest", "p"),
        blobs="p",
    )
    assert removed(expected(cache, patterns=["@sha256"])) == "img/a"
    assert removed(expected(cache, patterns=["latest"])) == "lts/a"


def test_if_every_copy_is_selected_every_copy_stays() -> None:
    cache = toy(
        listing("img/l", "r/l:1", "a"),
        image("img/a", BY_DIGEST),
        image("lts/a", "r/a:latest"),
    )
    outcome = expected(cache, patterns=["@sha256", "latest"])
    assert removed(outcome) == ""
    assert outcome.protected == {"img/a": {"img/l"}, "lts/a": {"img/l"}}


def test_a_copy_that_is_put_back_does_not_serve_for_another_copy() -> None:
    cache = toy(
        listing("img/k", "r/k:1", "l"),
        listing("img/l", BY_DIGEST, "a"),
        image("img/a", BY_DIGEST),
        image("lts/a", "r/k:sha256-" + "k" * 64 + ".sig"),
    )
    outcome = expected(cache, patterns=["sha256"])
    assert removed(outcome) == ""
    assert set(outcome.protected) == {"img/l", "img/a", "lts/a"}


def test_a_list_that_is_put_back_protects_in_its_turn() -> None:
    cache = toy(
        listing("img/k", "r/k:1", "l"),
        listing("img/l", BY_DIGEST, "m"),
        listing("img/m", BY_DIGEST, "ak"),
        image("img/a", BY_DIGEST, "p"),
        blobs="p",
    )
    outcome = expected(cache, patterns=["@sha256"])
    assert removed(outcome) == ""
    assert outcome.protected == {"img/l": {"img/k"}, "img/m": {"img/l"}, "img/a": {"img/m"}}


def test_only_lists_that_stay_protect() -> None:
    cache = toy(
        listing("img/l", "r/l:1", "m"), listing("img/m", "r/m:1", "l"), image("img/a", "r/a:1")
    )
    assert removed(expected(cache, patterns=["/[lm]:"])) == "img/l img/m"


def test_a_list_does_not_protect_itself() -> None:
    cache = toy(listing("img/l", "r/l:1", "l"), listing("img/k", "r/k:1", "l"))
    assert removed(expected(cache, patterns=["l:1", "k:1"])) == "img/k img/l"
    assert expected(cache, patterns=["l:1"]).protected == {"img/l": {"img/k"}}


def test_every_protecting_list_is_named() -> None:
    cache = toy(
        listing("img/k", "r/k:1", "a"),
        listing("lts/k", "r/k:latest", "a"),
        listing("img/l", "r/l:1", "a"),
        image("img/a", BY_DIGEST),
    )
    outcome = expected(cache, patterns=["l:1"])
    assert outcome.protected == {"img/a": {"img/k", "lts/k"}}


def test_a_manifest_that_nobody_selected_needs_no_protection() -> None:
    cache = toy(listing("img/l", "r/l:1", "a"), image("img/a", BY_DIGEST))
    assert expected(cache, patterns=["nothing"]).protected == {}


# Blobs.


def test_a_blob_goes_with_its_last_reference() -> None:
    cache = toy(image("img/a", "r/a:1", "pqc"), image("img/b", "r/b:1", "qrd"), blobs="pqrcdo")
    assert removed(expected(cache, patterns=["a:1"])) == "blobs/c blobs/o blobs/p img/a"
    assert removed(expected(cache, patterns=["."])) == (
        "blobs/c blobs/d blobs/o blobs/p blobs/q blobs/r img/a img/b"
    )


def test_a_layer_named_twice_counts_twice() -> None:
    cache = toy(image("img/a", "r/a:1", "pp"), image("img/b", "r/b:1", "p"), blobs="p")
    assert removed(expected(cache, patterns=["a:1"])) == "img/a"
    assert removed(expected(cache, patterns=["b:1"])) == "img/b"
    assert removed(expected(cache, patterns=["."])) == "blobs/p img/a img/b"


def test_two_copies_of_an_image_count_each() -> None:
    cache = toy(image("img/a", "r/a:1", "p"), image("lts/a", "r/a:latest", "p"), blobs="p")
    assert removed(expected(cache, patterns=["latest"])) == "lts/a"


def test_without_a_criterion_only_orphans_go() -> None:
    cache = toy(image("img/a", "r/a:1", "p"), blobs="po")
    assert removed(expected(cache)) == "blobs/o"


def test_lists_hold_no_blobs_and_missing_blobs_are_no_matter() -> None:
    cache = toy(listing("img/l", "r/l:1", "p"), image("img/a", "r/a:1", "xyz"), blobs="p")
    assert removed(expected(cache, patterns=["a:1"])) == "blobs/p img/a"


def test_bytes_are_added_up() -> None:
    cache = toy(
        listing("img/l", "r/l:1", "a"),
        image("img/a", BY_DIGEST, "p"),
        image("img/b", "r/b:1", "q"),
        blobs="pqo",
    )
    outcome = expected(cache, patterns=["l:1"])
    assert (outcome.manifest_bytes, outcome.blob_bytes, outcome.total_bytes) == (3, 30, 33)
    assert (outcome.freed_manifest_bytes, outcome.freed_blob_bytes) == (2, 20)
    assert outcome.freed_bytes == 22


def test_what_has_other_names_goes_and_frees_nothing() -> None:
    cache = toy(image("img/a", "r/a:1", "pq"), image("img/b", "r/b:1", "q"), blobs="pqo")
    cache = dataclasses.replace(cache, linked=frozenset({"img/a", "img/b", "blobs/p", "blobs/q"}))
    outcome = expected(cache, patterns=["a:1"])
    assert removed(outcome) == "blobs/o blobs/p img/a"
    assert (outcome.freed_bytes, outcome.linked_bytes, outcome.removed_bytes) == (10, 11, 21)


# Identity and fail closed.


def test_files_with_one_url_are_two_files() -> None:
    cache = toy(
        image("img/a", "r/a:1", "p", created="2024-01-01T00:00:00"),
        image("img/b", "r/a:1", "q", created="2025-01-01T00:00:00"),
        blobs="pq",
    )
    assert removed(expected(cache, patterns=["a:1"])) == "blobs/p blobs/q img/a img/b"
    assert removed(expected(cache, created_before="2024-06-01T00:00:00")) == "blobs/p img/a"


def test_a_corrupt_manifest_refuses_everything() -> None:
    cache = toy(image("img/a", "r/a:1", "p"), blobs="po", corrupt="x")
    outcome = expected(cache, patterns=["."])
    assert outcome.refused
    assert outcome.corrupt == {"img/x"}
    assert outcome.removed == outcome.selected == set()
    assert outcome.left == {"img/a", "img/x", "blobs/p", "blobs/o"}
    assert outcome.freed_bytes == 0


def test_a_skipped_corrupt_manifest_counts_as_absent_and_is_left_alone() -> None:
    cache = toy(
        listing("img/l", "r/l:1", "a"),
        image("lts/a", "r/a:latest", "p"),
        blobs="po",
        corrupt="a",
    )
    outcome = expected(cache, patterns=["latest"], skip_corrupt=True)
    # The corrupt file of the same digest does not serve the list.
    assert removed(outcome) == "blobs/o"
    assert outcome.protected == {"lts/a": {"img/l"}}
    assert "img/a" in outcome.left
    assert not outcome.refused
    both = expected(cache, patterns=["latest", "l:1"], skip_corrupt=True)
    assert removed(both) == "blobs/o blobs/p img/l lts/a"
    assert both.left == {"img/a"}


def test_foreign_entries_are_left() -> None:
    cache = Cache(foreign=frozenset({"img/README", "blobs/.nfs1"}))
    assert expected(cache, patterns=["."]).left == cache.foreign


# What must hold between the cache before and the cache after.


def test_lost_blobs_and_children_are_found() -> None:
    kept = image("img/a", "r/a:1", "ppqx")
    over = listing("img/l", "r/l:1", "abx")
    before = toy(kept, over, image("img/b", "r/b:1", "r"), blobs="pqr")
    assert kept_images_lost_blobs(before, before) == []
    assert kept_lists_lost_children(before, before) == []
    after = toy(kept, over, blobs="q")
    assert kept_images_lost_blobs(before, after) == [("img/a", "p")]
    assert kept_lists_lost_children(before, after) == [("img/l", "b")]


# The oracle on the real caches.


def _by_url(cache: Cache, url: str) -> set[str]:
    return {one.path for one in cache.manifests.values() if one.url == url}


def test_typha_takes_its_child_and_the_blobs_of_its_own(tmp_path: Path) -> None:
    cache = load(unpack("pulled", tmp_path))
    outcome = expected(cache, patterns=["calico/typha:v3.27.0"])
    child = "img/edc34341d6e8d006a9aa40775b8cb3324764876b89e98f26eedae5f3b2e00561"
    others = {blob for one in cache.manifests.values() if one.path != child for blob in one.blobs}
    own = set(cache.manifests[child].blobs) - others
    assert outcome.lists == outcome.selected == _by_url(cache, "docker.io/calico/typha:v3.27.0")
    assert outcome.images == {child}
    assert own
    assert own != set(cache.manifests[child].blobs)
    assert outcome.blobs == {f"blobs/{blob}" for blob in own}
    assert outcome.protected == {}


def test_nginx_latest_leaves_what_nginx_1_25_needs(tmp_path: Path) -> None:
    cache = load(unpack("pulled", tmp_path))
    outcome = expected(cache, patterns=["nginx:latest"])
    name = "dcc35b60768e5ce7e5dbfba11a886358992c3e420c8930580724073e707162b6"
    child = "img/2945b75d3933815f781f1856168bf2fd4682aa77cae360e0bf886d4f761b716c"
    assert outcome.removed == {f"lts/{name}"}
    assert outcome.protected == {child: {f"img/{name}"}}


def test_nginx_latest_as_loaded_takes_the_child_in_its_folder(tmp_path: Path) -> None:
    cache = load(unpack("loaded", tmp_path))
    outcome = expected(cache, patterns=["nginx:latest"])
    assert outcome.removed == _by_url(cache, "docker.io/library/nginx:latest")
    assert {path[:4] for path in outcome.removed} == {"lts/"}
    assert len(outcome.removed) == 2


@pytest.mark.parametrize(("name", "manifests", "blobs"), [("pulled", 81, 93), ("loaded", 11, 13)])
def test_everything_can_go(name: RealCache, manifests: int, blobs: int, tmp_path: Path) -> None:
    root = unpack(name, tmp_path)
    cache = load(root)
    outcome = expected(cache, patterns=["."])
    assert (len(outcome.lists | outcome.images), len(outcome.blobs)) == (manifests, blobs)
    assert outcome.removed == files(root)
    assert outcome.left == set()
    assert expected(cache).removed == set()
