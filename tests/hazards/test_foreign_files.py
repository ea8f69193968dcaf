"""Entries in the three folders that are no cached files: not entered, not deleted, reported."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from tests.cli.program import run
from tests.support.cachebuilder import (
    FOLDERS,
    TIME,
    CacheBuilder,
    Stamp,
    can_make_devices,
    digest_of,
    files,
    snapshot,
)
from tests.support.documents import Folder

HAZARDS = ("fifo", "socket", "device", "file link", "folder link", "dangling link", "directory")
ODD_NAMES = (
    "README",
    ".nfs000000000000000100000001",
    "ab" * 31,
    "ab" * 33,
    "AB" * 32,
    "xy" * 32,
    "sha256:" + "ab" * 32,
    "ab" * 32 + ".tmp",
    "ab" * 31 + "a\n",
    "ab" * 31 + "a ",
    "٣" * 64,  # Digits, but not those.
)


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """A folder outside the cache, which no prune may touch."""
    folder = tmp_path / "outside"
    folder.mkdir()
    (folder / ("ab" * 32)).write_bytes(b"precious")
    return folder


def add_hazard(builder: CacheBuilder, hazard: str, folder: str, name: str, outside: Path) -> None:
    if hazard == "device" and not can_make_devices(builder.root):
        pytest.skip("only root can make devices")
    targets = {
        "file link": outside / ("ab" * 32),
        "folder link": outside,
        "dangling link": outside / "missing",
    }
    if hazard in targets:
        builder.symlink(folder, targets[hazard], name)
    else:
        getattr(builder, hazard)(folder, name)


@pytest.mark.parametrize("hazard", HAZARDS)
def test_a_digest_name_makes_no_cached_file_of_it(
    hazard: str, tmp_path: Path, outside: Path
) -> None:
    builder = CacheBuilder(tmp_path / "cache")
    name = digest_of(hazard)
    # The image that is pruned refers to it, as if it were a layer.
    image = builder.image("a:1", layers=[name])
    builder.index("a:2", children=[image])
    add_hazard(builder, hazard, "blobs", name, outside)
    foreign = {f"blobs/{name}"}
    precious = ("outside", *(f"cache/{path}" for path in foreign))

    def stamps() -> dict[str, Stamp]:
        found = snapshot(tmp_path)
        return {path: stamp for path, stamp in found.items() if path.startswith(precious)}

    before = stamps()
    result = run("prune", "--pattern", "a:", "--allow-remove-all", cache=builder.root)
    assert result.code == 0
    assert all(path in result.err for path in foreign)
    assert "1 file or folder does not belong to the cache, left alone: " in result.err
    assert files(builder.root) == foreign
    assert stamps() == before


@pytest.mark.parametrize("skip", [(), ("--skip-corrupt",)], ids=["as it is", "skip corrupt"])
@pytest.mark.parametrize("folder", ["img", "lts"])
@pytest.mark.parametrize("hazard", HAZARDS)
def test_what_may_be_a_manifest_to_the_server_refuses_a_prune(
    hazard: str, folder: str, skip: tuple[str, ...], tmp_path: Path, outside: Path
) -> None:
    builder = CacheBuilder(tmp_path / "cache")
    builder.image("a:1", layers=[builder.blob(10)])
    builder.blob(20)
    name = digest_of(hazard)
    add_hazard(builder, hazard, folder, name, outside)
    before = snapshot(tmp_path)
    result = run("prune", "--pattern", "a:", "--allow-remove-all", *skip, cache=builder.root)
    assert (result.code, result.out) == (4, "")
    assert f"  {folder}/{name}: a " in result.err
    assert "move away those that are no regular files" in result.err
    assert "--skip-corrupt" not in result.err
    assert "repair" not in result.err
    assert snapshot(tmp_path) == before


def test_blobs_of_a_manifest_that_is_a_link_stay(tmp_path: Path) -> None:
    """The server follows the link, so the blobs of that manifest are needed."""
    builder = CacheBuilder(tmp_path / "cache")
    name = builder.image("a:1", layers=[builder.blob(10)])
    (builder.root / "img" / name).rename(tmp_path / name)
    builder.symlink("img", tmp_path / name, name)
    before = snapshot(tmp_path)
    for command in (
        ["prune", "--orphans-only", "--skip-corrupt"],
        ["plan", "-o", "-", "--orphans-only"],
    ):
        result = run(*command, cache=builder.root)
        assert (result.code, result.out) == (4, "")
        assert f"img/{name}: a symbolic link, and the server may read it" in result.err
    repaired = run("verify", "--repair", "--yes", cache=builder.root)
    assert repaired.code == 3
    assert f"img/{name} could not be checked and was left alone" in repaired.err
    assert snapshot(tmp_path) == before


@pytest.mark.parametrize("hazard", HAZARDS)
def test_a_blob_that_is_no_regular_file_is_foreign_and_not_missing(
    hazard: str, tmp_path: Path, outside: Path
) -> None:
    builder = CacheBuilder(tmp_path / "cache")
    name = digest_of(hazard)
    builder.image("a:1", layers=[name])
    builder.image("b:1", layers=[digest_of("missing")])
    add_hazard(builder, hazard, "blobs", name, outside)
    listed = run("list", "--broken", "--format", "url", cache=builder.root)
    assert (listed.code, listed.out) == (0, "b:1\n")
    result = run("verify", "--repair", "--yes", "--format", "json", cache=builder.root)
    found = json.loads(result.out)
    assert [item["url"] for item in found["broken"]] == ["b:1"]
    assert found["foreign"] == [f"blobs/{name}"]
    assert run("list", "--format", "url", cache=builder.root).out == "a:1\n"
    report = json.loads(
        run(
            *("prune", "--broken", "--dry-run", "--format", "json", "--allow-remove-all"),
            cache=builder.root,
        ).out
    )
    assert report["cache"]["missing_blobs"] == 0
    assert report["totals"]["manifests"] == 0
    explained = run("explain", "a:1", cache=builder.root)
    assert "issing" not in explained.out


def test_a_listing_names_them_and_does_not_hang(tmp_path: Path, outside: Path) -> None:
    builder = CacheBuilder(tmp_path / "cache")
    builder.image("a:1")
    for folder in ("img", "lts"):
        for hazard in ("fifo", "file link"):
            add_hazard(builder, hazard, folder, digest_of(hazard), outside)
    result = run("list", "--format", "url", cache=builder.root)
    assert (result.code, result.out) == (0, "a:1\n")
    for folder in ("img", "lts"):
        assert f"{folder}/{digest_of('fifo')}" in result.err
        assert f"{folder}/{digest_of('file link')}" in result.err


def test_odd_names_are_counted_and_never_deleted(tmp_path: Path) -> None:
    builder = CacheBuilder(tmp_path / "cache")
    builder.image("a:1")
    for folder in FOLDERS:
        for name in ODD_NAMES:
            builder.raw(folder, name, b"")
        with open(os.fsencode(builder.root / folder) + b"/\xff\xfe", "wb"):
            pass
    result = run(
        *("prune", "--pattern", ".", "--allow-remove-all", "--format", "json"), cache=builder.root
    )
    assert result.code == 0
    report = json.loads(result.out)
    assert report["cache"]["foreign"] == len(FOLDERS) * (len(ODD_NAMES) + 1)
    assert report["totals"]["manifests"] == report["totals"]["blobs"] == 1
    for folder in FOLDERS:
        names = {os.fsencode(name) for name in os.listdir(builder.root / folder)}
        assert names == {name.encode() for name in ODD_NAMES} | {b"\xff\xfe"}


@pytest.mark.parametrize("folder", FOLDERS)
def test_a_folder_that_is_a_symbolic_link_is_refused(folder: str, tmp_path: Path) -> None:
    builder = CacheBuilder(tmp_path / "cache")
    other = CacheBuilder(tmp_path / "other")
    manifests: tuple[Folder, ...] = ("img", "lts")
    for place in manifests:
        other.image("a:1", folder=place, created=TIME)
    builder.image("a:2")
    (builder.root / folder).rename(tmp_path / "aside")
    (builder.root / folder).symlink_to(other.root / folder)
    before = snapshot(tmp_path)
    result = run("prune", "--pattern", "a", cache=builder.root)
    assert result.code in (1, 10)
    assert result.out == ""
    assert folder in result.err.replace(str(builder.root), "", 1)
    assert "Traceback" not in result.err
    assert snapshot(tmp_path) == before
