"""Whatever is in the three folders and is no cached file: not entered, not deleted, reported."""

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
    """A folder that no prune has anything to do with."""
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
    names = {folder: digest_of(f"{hazard} in {folder}") for folder in FOLDERS}
    # All that is pruned refers to them, as if they were its children and layers.
    image = builder.image("a:1", layers=[names["blobs"]])
    builder.index("a:2", children=[names["img"], names["lts"], image])
    for folder, name in names.items():
        add_hazard(builder, hazard, folder, name, outside)
    foreign = {f"{folder}/{name}" for folder, name in names.items()}
    precious = ("outside", *(f"cache/{path}" for path in foreign))

    def stamps() -> dict[str, Stamp]:
        found = snapshot(tmp_path)
        return {path: stamp for path, stamp in found.items() if path.startswith(precious)}

    before = stamps()
    result = run("prune", "--pattern", "a:", "--allow-remove-all", cache=builder.root)
    assert result.code == 0
    assert all(path in result.err for path in foreign)
    assert files(builder.root) == foreign
    assert stamps() == before


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
