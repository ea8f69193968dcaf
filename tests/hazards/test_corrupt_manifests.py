"""Manifests that can't be read or understood: refused and named, or skipped and left alone."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import NamedTuple

import pytest
from tests.cli.program import Result, run
from tests.hazards.steps import carry_out_now, plan_for
from tests.support.cachebuilder import CacheBuilder, Corruption, Stamp, files, snapshot
from tests.support.oracle import Outcome, expected, load

from fastprune import UnreadableManifestsError

# One that is too large is not read, so its content may be sound.
BROKEN = [kind for kind in Corruption if kind is not Corruption.TOO_LARGE]
LIMIT = ("--max-manifest-size", "1MiB")
LIMIT_BYTES = 2**20


class Damaged(NamedTuple):
    """A cache that has every kind of damage, in both folders.

    Attributes:
        root: The cache.
        paths: The damaged files.
        before: The cache as it was.
    """

    root: Path
    paths: set[str]
    before: dict[str, Stamp]


def build(root: Path) -> Damaged:
    builder = CacheBuilder(root)
    builder.index("a:1", children=[builder.image("a@sha256:" + "12" * 32)])
    builder.image("kept:1", layers=[builder.blob(10)])
    builder.blob(20)
    # Only damaged manifests seem to refer to this blob.
    builder.blob(30, name="1a" * 32)
    paths = {
        builder.corrupt(kind, folder="lts" if number % 2 else "img", size=LIMIT_BYTES + 1)
        for number, kind in enumerate(BROKEN)
    }
    return Damaged(root, paths, snapshot(root))


@pytest.fixture(scope="module")
def damaged(tmp_path_factory: pytest.TempPathFactory) -> Damaged:
    return build(tmp_path_factory.mktemp("corrupt") / "cache")


@pytest.mark.usefixtures("read_again_at_once")
@pytest.mark.parametrize("kind", Corruption)
def test_one_damaged_manifest_is_enough_to_refuse(kind: Corruption, tmp_path: Path) -> None:
    builder = CacheBuilder(tmp_path)
    builder.image("a:1")
    path = builder.corrupt(kind)
    before = snapshot(tmp_path)
    with pytest.raises(UnreadableManifestsError) as caught:
        plan_for(tmp_path, "a")
    (fault,) = caught.value.faults
    assert fault[0] == path
    assert fault[1].strip()
    assert caught.value.exit_code == 4
    assert snapshot(tmp_path) == before


@pytest.mark.usefixtures("read_again_at_once")
@pytest.mark.parametrize("kind", BROKEN)
def test_a_damaged_manifest_can_be_skipped_and_is_left_alone(
    kind: Corruption, tmp_path: Path
) -> None:
    builder = CacheBuilder(tmp_path)
    builder.image("registry.example/damaged:2")
    path = builder.corrupt(kind)  # If the damaged file has a URL, the pattern would match it.
    before = snapshot(tmp_path)
    report = carry_out_now(plan_for(tmp_path, "damaged", skip_corrupt=True))
    assert report.exit_code == 0
    assert files(tmp_path) == {path}
    assert snapshot(tmp_path)[path] == before[path]


@pytest.mark.parametrize("options", [(), ("--dry-run",)], ids=["for real", "dry run"])
def test_every_damaged_file_is_named_with_its_reason(
    options: tuple[str, ...], damaged: Damaged
) -> None:
    result = run("prune", "--pattern", ".", *LIMIT, *options, cache=damaged.root)
    assert (result.code, result.out) == (4, "")
    assert reasons_told(result) == damaged.paths
    assert "verify --repair" in result.err
    assert "--skip-corrupt" in result.err
    assert snapshot(damaged.root) == damaged.before


def test_json_names_them_as_well(damaged: Damaged) -> None:
    result = run("prune", "--pattern", ".", *LIMIT, "--format", "json", cache=damaged.root)
    refusal = json.loads(result.out)
    assert (result.code, refusal["exit_code"], refusal["version"]) == (4, 4, 1)
    assert {item["path"] for item in refusal["corrupt"]} == damaged.paths
    assert all(item["reason"] for item in refusal["corrupt"])
    assert snapshot(damaged.root) == damaged.before


def test_a_listing_warns_of_them_and_shows_the_rest(damaged: Damaged) -> None:
    result = run("list", *LIMIT, "--format", "json", cache=damaged.root)
    listing = json.loads(result.out)
    assert result.code == 0
    assert {item["path"] for item in listing["corrupt"]} == damaged.paths
    urls = ["a:1", "a@sha256:" + "12" * 32, "kept:1"]
    assert [item["url"] for item in listing["manifests"]] == urls
    assert all(f"{path} can't be read: " in result.err for path in damaged.paths)


def test_skipping_them_prunes_as_if_they_were_not_there(tmp_path: Path) -> None:
    damaged = build(tmp_path / "cache")
    outcome: Outcome = expected(
        load(damaged.root, max_manifest_bytes=LIMIT_BYTES), patterns=["a:"], skip_corrupt=True
    )
    assert outcome.corrupt == damaged.paths
    arguments = ("prune", "--pattern", "a:", "--skip-corrupt", "--format", "json", *LIMIT)
    result = run(*arguments, cache=damaged.root)
    assert result.code == 0
    assert {item["path"] for item in json.loads(result.out)["corrupt"]} == damaged.paths
    assert files(damaged.root) == outcome.left
    after = snapshot(damaged.root)
    assert {path: after[path] for path in damaged.paths} == {
        path: damaged.before[path] for path in damaged.paths
    }


def test_a_manifest_above_64_mib_is_refused_by_its_size_alone(tmp_path: Path) -> None:
    builder = CacheBuilder(tmp_path / "cache")
    sound = builder.root / "img" / builder.image("a:1")
    os.truncate(sound, 64 * 2**20 + 1)  # A sparse file: there is nothing to read.
    before = snapshot(builder.root, ignore=[f"img/{sound.name}"])
    result = run("prune", "--pattern", "a", cache=builder.root)
    assert (result.code, result.out) == (4, "")
    assert f"  img/{sound.name}: larger than the limit: 67108865 > 67108864 bytes" in result.err
    assert snapshot(builder.root, ignore=[f"img/{sound.name}"]) == before


@pytest.mark.parametrize(
    ("command", "code"),
    [
        (("prune", "--orphans-only", "--skip-corrupt"), 4),
        (("prune", "--pattern", "b", "--skip-corrupt"), 4),
        (("plan", "--pattern", "b", "--skip-corrupt", "-o", "-"), 4),
        (("verify", "--repair", "--yes"), 3),
    ],
)
def test_a_sound_manifest_above_the_limit_is_not_taken_for_broken(
    command: tuple[str, ...], code: int, tmp_path: Path
) -> None:
    builder = CacheBuilder(tmp_path / "cache")
    path = builder.root / "img" / builder.image("a:1", layers=[builder.blob(10)])
    path.write_bytes(path.read_bytes().ljust(LIMIT_BYTES + 1))
    builder.image("b:1")
    before = files(builder.root)
    result = run(*command, *LIMIT, cache=builder.root)
    assert result.code == code
    assert "(--max-manifest-size)" in result.out + result.err
    assert "or give --skip-corrupt" not in result.err
    assert files(builder.root) == before


def test_a_manifest_just_within_the_limit_is_read(tmp_path: Path) -> None:
    builder = CacheBuilder(tmp_path / "cache")
    path = builder.root / "img" / builder.image("a:1")
    path.write_bytes(path.read_bytes().ljust(400_000))  # More than what is read at once.
    arguments = ("list", "--format", "url", "--max-manifest-size")
    assert run(*arguments, "400kB", cache=builder.root).out == "a:1\n"
    refused = run(*arguments, "399.999kB", cache=builder.root)
    assert refused.out == ""
    assert "larger than the limit: 400000 > 399999 bytes" in refused.err


def reasons_told(result: Result) -> set[str]:
    """The paths that the message names, each on a line of its own with a reason."""
    lines = [line.strip() for line in result.err.splitlines() if line.startswith("  ")]
    told = dict(line.split(": ", 1) for line in lines)
    assert len(told) == len(lines)
    assert all(told.values())
    return set(told)
