"""`prune` in both formats, dry and for real, on the two caches that a real server wrote."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache as remembered
from pathlib import Path
from typing import NamedTuple

import pytest
from tests.cli.golden import check_golden
from tests.cli.program import Result, run
from tests.support.cachebuilder import Stamp, files, snapshot
from tests.support.documents import Json
from tests.support.oracle import Outcome, expected, load
from tests.support.realcaches import RealCache, unpack

# What a program may rely on; more may come within a version, but nothing goes.
TOTALS = {
    "manifests",
    "lists",
    "images",
    "blobs",
    "bytes",
    "protected",
    "already_gone",
    "changed",
    "failed",
    "left",
    "spared_blobs",
}
SUMMARY_KEYS = {
    "version",
    "command",
    "image_path",
    "dry_run",
    "totals",
    "cache",
    "stopped",
    "seconds",
    "failed",
    "changed",
    "appeared",
    "corrupt",
}
ITEM_KEYS = {
    "manifests": {"url", "path", "kind", "bytes", "reason"},
    "blobs": {"digest", "bytes", "reason"},
    "protected": {"url", "path", "kept_by", "kept_by_path"},
}


class Case(NamedTuple):
    """A prune that is tried."""

    cache: RealCache
    pattern: str

    @property
    def slug(self) -> str:
        """Names the case in golden files and test names."""
        return f"{self.cache}-{self.pattern}".replace("/", "-").replace(":", "-")


class Pruned(NamedTuple):
    """One cache, pruned dry and then for real.

    Attributes:
        root: The cache.
        outcome: What the oracle says of it.
        before: The cache as it was.
        after_dry: The cache after the dry run.
        left: The files after the real one.
        dry: The dry run, in JSON.
        wet: The real one, in JSON.
    """

    root: Path
    outcome: Outcome
    before: dict[str, Stamp]
    after_dry: dict[str, Stamp]
    left: set[str]
    dry: Result
    wet: Result


TYPHA = Case("pulled", "calico/typha:v3.27.0")
NGINX = Case("pulled", "nginx:latest")
CASES = (TYPHA, NGINX, Case("loaded", "nginx:latest"), Case("loaded", "cilium"))

Prune = Callable[[Case], Pruned]


@pytest.fixture(scope="module")
def pruned(tmp_path_factory: pytest.TempPathFactory) -> Prune:
    """Prunes once per case, however many tests look at it."""

    @remembered
    def prune(case: Case) -> Pruned:
        root = unpack(case.cache, tmp_path_factory.mktemp("prune"))
        outcome = expected(load(root), patterns=[case.pattern])
        options = ("--pattern", case.pattern, "--format", "json")
        before = snapshot(root)
        dry = run("prune", "--dry-run", *options, cache=root)
        after_dry = snapshot(root)
        wet = run("prune", *options, cache=root)
        return Pruned(root, outcome, before, after_dry, files(root), dry, wet)

    return prune


each_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.slug)


@each_case
def test_a_prune_leaves_what_the_oracle_says(case: Case, pruned: Prune) -> None:
    assert pruned(case).left == pruned(case).outcome.left


@each_case
def test_a_dry_run_changes_nothing(case: Case, pruned: Prune) -> None:
    assert pruned(case).after_dry == pruned(case).before


@each_case
def test_the_report_names_what_the_oracle_says(case: Case, pruned: Prune) -> None:
    outcome = pruned(case).outcome
    report = document(pruned(case).wet)
    blobs = {"blobs/" + item["digest"].removeprefix("sha256:") for item in report["blobs"]}
    protected = {item["path"]: item["kept_by_path"] for item in report["protected"]}
    assert {item["path"] for item in report["manifests"]} == outcome.lists | outcome.images
    assert blobs == outcome.blobs
    assert set(protected) == set(outcome.protected)
    assert all(keeper in outcome.protected[path] for path, keeper in protected.items())
    assert report["totals"]["bytes"] == outcome.freed_bytes


@each_case
def test_a_dry_run_reports_exactly_what_is_then_done(case: Case, pruned: Prune) -> None:
    dry, wet = document(pruned(case).dry), document(pruned(case).wet)
    assert (dry.pop("dry_run"), wet.pop("dry_run")) == (True, False)
    del dry["seconds"], wet["seconds"]
    estimate = dry.pop("estimate")
    assert wet.pop("estimate") is None
    assert estimate["files"] == wet["totals"]["manifests"] + wet["totals"]["blobs"]
    assert (estimate["basis"], estimate["files_per_second"]) == ("assumed", 10_000)
    assert dry == wet


@each_case
def test_json_is_as_the_golden_file_has_it(case: Case, pruned: Prune) -> None:
    check_golden(f"prune-{case.slug}.json", pruned(case).wet.out, cache=pruned(case).root)


@each_case
def test_json_has_a_version_and_the_documented_keys(case: Case, pruned: Prune) -> None:
    report = document(pruned(case).wet)
    assert set(report) >= SUMMARY_KEYS | set(ITEM_KEYS)
    assert (report["version"], report["command"]) == (1, "prune")
    assert report["image_path"] == str(pruned(case).root)
    assert set(report["totals"]) >= TOTALS
    for name, keys in ITEM_KEYS.items():
        assert all(set(item) >= keys for item in report[name])


def test_the_summary_in_json_leaves_the_items_out(tmp_path: Path) -> None:
    root = unpack("loaded", tmp_path)
    result = run(
        *("prune", "--pattern", "nginx", "--dry-run", "--format", "json", "--summary"), cache=root
    )
    assert set(document(result)) >= SUMMARY_KEYS
    assert not set(document(result)) & set(ITEM_KEYS)


@pytest.mark.parametrize("case", [TYPHA, NGINX], ids=lambda case: case.slug)
def test_text_is_as_the_golden_file_has_it(case: Case, tmp_path: Path) -> None:
    root = unpack(case.cache, tmp_path)
    variants = {"dry-run": ("--dry-run",), "summary": ("--dry-run", "--summary"), "for-real": ()}
    texts = {}
    for name, options in variants.items():
        result = run("prune", "--pattern", case.pattern, *options, cache=root)
        assert (result.code, result.err) == (0, "")
        check_golden(f"prune-{case.slug}-{name}.txt", result.out, cache=root)
        # The last lines are times.
        texts[name] = result.out.partition("\nTime: ")[0].splitlines()
    # A dry run has its marks, and otherwise the same lines.
    dry = "\n".join(texts["dry-run"])
    marked = dry.replace(" (dry run):", ":").replace("Bytes would be freed", "Bytes freed")
    assert marked.split("\n") == texts["for-real"]


def test_a_second_run_finds_nothing_to_do_and_that_is_no_error(pruned: Prune) -> None:
    root = pruned(TYPHA).root
    before = snapshot(root)
    result = run("prune", "--pattern", TYPHA.pattern, "--summary", "--format", "json", cache=root)
    assert {name for name, count in document(result)["totals"].items() if count} == set()
    assert snapshot(root) == before


def document(result: Result) -> Json:
    assert (result.code, result.err) == (0, "")
    found: Json = json.loads(result.out)
    return found
