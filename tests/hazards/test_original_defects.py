"""Defects of the server's own prune, and what fastprune must do. Each defect was reproduced.

This file has those about what is selected and what is still needed. The others:

- a `digest` trusted as a path: test_untrusted_content
- foreign files deleted, FIFOs that hang: test_foreign_files
- a bad file stops everything and is not named: test_corrupt_manifests
- blobs deleted before manifests: test_crashes
- an empty pattern element, `--pattern --dry-run`: tests/cli/test_usage_errors
- `dryRun` ignored, flags that discard the rest of the file: tests/cli/test_config_file
- no lock: tests/cli/test_lock
- a missing path created: tests/cli/test_exit_codes
- `| head`: tests/cli/test_pipes
"""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.hazards.steps import carry_out_now, plan_for, scan_now
from tests.support.cachebuilder import CacheBuilder, files
from tests.support.documents import Folder
from tests.support.oracle import Cache, expected, load
from tests.support.realcaches import REAL_CACHES, RealCache, unpack

import fastprune
from fastprune import Policy, make_plan

PATTERNS: list[tuple[str, ...]] = [
    (),
    ("calico/typha:v3.27.0",),
    ("nginx:latest",),
    ("nginx:1.25", "kube-"),
    ("@sha256:",),
    (r"^quay\.io/.*:v1\.1[0-9.]+$", "pause"),
    (".",),
]
DATES = (
    None,
    "2026-11-23T07:57:08",
    "2026-11-23T07:57:19",
    "2026-11-23T07:57:21",
    "9999-12-31T23:59:59",
)


def prune(root: Path, *patterns: str, created_before: str | None = None) -> set[str]:
    """Prunes, and returns what is left."""
    carry_out_now(plan_for(root, *patterns, created_before=created_before))
    return files(root)


def test_children_are_found_in_img_and_not_only_in_lts(tmp_path: Path) -> None:
    root = unpack("pulled", tmp_path)
    before = load(root)
    left = prune(root, "calico/typha:v3.27.0")
    gone = before.paths - left
    manifests = {path: before.manifests[path] for path in gone if path in before.manifests}
    (listed,) = [path for path, manifest in manifests.items() if manifest.is_list]
    (child,) = manifests.keys() - {listed}
    assert manifests[listed].url == "docker.io/calico/typha:v3.27.0"
    assert manifests[child].url.startswith("docker.io/calico/typha@sha256:edc34341d6e8")
    assert manifests[child].digest in manifests[listed].children
    # Its own layer and config, but not the base layer that others share.
    blobs = {f"blobs/{digest}" for digest in manifests[child].blobs}
    assert (len(blobs), len(blobs & gone)) == (3, 2)
    assert gone == manifests.keys() | (blobs & gone)


@pytest.mark.parametrize("folder", ["img", "lts"])
def test_children_go_with_their_list_whichever_folder_they_are_in(
    folder: Folder, builder: CacheBuilder
) -> None:
    child = builder.image("a@sha256:" + "12" * 32, folder=folder)
    builder.index("a:1", children=[child])
    assert prune(builder.root, "a:1") == set()


def test_a_child_that_another_tag_needs_stays(builder: CacheBuilder) -> None:
    child = builder.image("a@sha256:" + "12" * 32, layers=[builder.blob(10)])
    surviving = builder.index("a:2", children=[child])
    before = files(builder.root)
    going = builder.index("a:1", children=[child, "ab" * 32])
    assert going != surviving
    assert prune(builder.root, "a:1") == before


def test_pruning_latest_takes_nothing_that_the_numbered_tag_needs(tmp_path: Path) -> None:
    root = unpack("pulled", tmp_path)
    before = load(root)
    (latest,) = [path for path, one in before.manifests.items() if one.url.endswith("nginx:latest")]
    assert latest.startswith("lts/")
    assert prune(root, "nginx:latest") == before.paths - {latest}


def test_two_files_of_one_url_both_go(builder: CacheBuilder) -> None:
    builder.image("a:1", layers=["12" * 32])
    builder.image("a:1", layers=["34" * 32])
    assert prune(builder.root, "a:1") == set()


def test_of_two_files_of_one_url_only_the_one_that_is_meant_goes(builder: CacheBuilder) -> None:
    builder.image("a:1", layers=["12" * 32], created="2024-01-01T00:00:00")
    new = builder.image("a:1", layers=["34" * 32], created="2024-03-01T00:00:00")
    left = prune(builder.root, "a:1", created_before="2024-02-01T00:00:00")
    assert {path for path in left if path.startswith("img/")} == {f"img/{new}"}


def test_an_image_with_a_missing_blob_can_be_pruned(builder: CacheBuilder) -> None:
    own, shared = builder.blob(20), builder.blob(30)
    gone = builder.image("docker.io/library/cut-off:1", layers=["0" * 64, own, shared])
    kept = builder.image("docker.io/library/whole:1", layers=[shared])
    before = files(builder.root)
    left = prune(builder.root, "cut-off")
    assert {f"img/{gone}", f"blobs/{own}"} <= before - left
    assert {f"img/{kept}", f"blobs/{shared}"} <= left


def test_a_pattern_and_a_date_both_have_to_be_met(builder: CacheBuilder) -> None:
    for name in ("a", "b"):
        for year in (2020, 2024):
            builder.image(f"{name}:{year}", created=f"{year}-01-01T00:00:00")
    prune(builder.root, "^a", created_before="2022-01-01T00:00:00")
    left = {manifest.url for manifest in load(builder.root).manifests.values()}
    assert left == {"a:2024", "b:2020", "b:2024"}


@pytest.fixture(scope="module", params=REAL_CACHES)
def scanned(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[fastprune.CacheIndex, Cache]:
    """A real cache, scanned once, and what the oracle knows of it."""
    name: RealCache = request.param
    root = unpack(name, tmp_path_factory.mktemp("defects"))
    return scan_now(root), load(root)


@pytest.mark.parametrize("date", DATES)
@pytest.mark.parametrize("patterns", PATTERNS, ids=" ".join)
def test_every_combination_of_pattern_and_date_leaves_what_the_oracle_says(
    patterns: tuple[str, ...],
    date: str | None,
    scanned: tuple[fastprune.CacheIndex, Cache],
) -> None:
    index, cache = scanned
    if not patterns and date is None:
        policy = Policy(orphans_only=True)
    else:
        policy = Policy(patterns=patterns, created_before=date)
    plan = make_plan(index, policy)
    outcome = expected(cache, patterns=patterns, created_before=date)
    manifests = {index.path(row) for row in plan.removed.nonzero()[0].tolist()}
    blobs = {f"blobs/{index.blob_digests[blob].tobytes().hex()}" for blob in plan.blobs.tolist()}
    assert manifests == outcome.lists | outcome.images
    assert blobs == outcome.blobs
