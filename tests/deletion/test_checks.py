"""What must still be true of a file when it goes."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.support.cachebuilder import CacheBuilder
from tests.support.clock import nothing_is_racy, wait_for_the_clock
from tests.support.scanning import scanned

from fastprune import CacheIndex
from fastprune.deletion import checks
from fastprune.deletion.checks import Check, manifest_checks, still_has, still_says
from fastprune.index.records import kept_records
from fastprune.layouts.default import DEFAULT_LAYOUT
from fastprune.reading import identities
from fastprune.reading.blob_contents import mark_of
from fastprune.reading.marks import ABSENT_MARK
from fastprune.scanning.memory import StateFolder


@pytest.fixture
def manifest(builder: CacheBuilder) -> Path:
    return builder.root / "img" / builder.image("a:1", layers=[builder.blob(10)])


@pytest.fixture
def folder(manifest: Path) -> Iterator[int]:
    descriptor = os.open(manifest.parent, os.O_RDONLY)
    yield descriptor
    os.close(descriptor)


def known(root: Path) -> CacheIndex:
    """Scans a cache, and asks for the identities of all files, however new they are."""
    wait_for_the_clock(root)
    with nothing_is_racy():
        index = scanned(root, state=StateFolder(str(root.parent / "state")))
    assert index.identities.any(axis=1).all()
    wait_for_the_clock(root)
    return index


def check_of(index: CacheIndex) -> Check:
    (check,) = manifest_checks(index, np.array([0]))
    return check


@pytest.fixture(params=["says", "has", "known", "unknown"])
def check(request: pytest.FixtureRequest, manifest: Path) -> Check:
    root = manifest.parent.parent
    if request.param == "has":
        return partial(still_has, mark_of(manifest.lstat()))
    if request.param == "says":
        (record,) = kept_records(scanned(root), np.array([0]))
        return partial(still_says, DEFAULT_LAYOUT, record)
    return check_of(known(root) if request.param == "known" else scanned(root))


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the files that checks have opened."""
    names: list[str] = []
    real = os.open

    def opened(path: Any, *args: Any, **more: Any) -> int:
        names.append(path)
        return real(path, *args, **more)

    monkeypatch.setattr(os, "open", opened)
    return names


def test_a_file_that_is_what_it_was_passes(check: Check, manifest: Path, folder: int) -> None:
    assert check(folder, manifest.name)


def test_another_content_does_not(check: Check, manifest: Path, folder: int) -> None:
    manifest.write_bytes(manifest.read_bytes().replace(b'"a:1"', b'"a:12"'))
    assert not check(folder, manifest.name)


def test_what_is_no_manifest_any_more_does_not(check: Check, manifest: Path, folder: int) -> None:
    manifest.write_bytes(b"{")
    assert not check(folder, manifest.name)


@pytest.mark.parametrize("hazard", ["fifo", "directory", "symlink"])
def test_what_is_no_regular_file_does_not(
    hazard: str, check: Check, manifest: Path, folder: int, builder: CacheBuilder
) -> None:
    manifest.rename(builder.root / "moved")
    if hazard == "symlink":
        builder.symlink("img", builder.root / "moved", manifest.name)
    else:
        getattr(builder, hazard)("img", manifest.name)
    assert not check(folder, manifest.name)
    assert not still_has(ABSENT_MARK, folder, manifest.name)


def test_of_what_is_gone_the_system_says_so(check: Check, manifest: Path, folder: int) -> None:
    manifest.unlink()
    with pytest.raises(FileNotFoundError):
        check(folder, manifest.name)


def other_text(content: bytes) -> bytes:
    """As many bytes, which say something else."""
    return content.replace(b'"a:1"', b'"b:1"')


def written_in_place(path: Path, content: bytes) -> None:
    """Leaves inode, size and mtime as they were: only ctime tells."""
    status = path.stat()
    with path.open("r+b") as file:
        file.write(content)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert mark_of(path.stat()) == mark_of(status)


def put_in_its_place(path: Path, content: bytes) -> None:
    """Leaves size and mtime as they were."""
    status = path.stat()
    other = path.parent.parent / "other"
    other.write_bytes(content)
    os.utime(other, ns=(status.st_atime_ns, status.st_mtime_ns))
    other.rename(path)


Writing = Callable[[Path, bytes], None]
both_ways = pytest.mark.parametrize(
    "write", [written_in_place, put_in_its_place], ids=lambda write: write.__name__
)


def test_a_file_of_the_same_identity_is_not_read(
    manifest: Path, folder: int, read: list[str]
) -> None:
    check = check_of(known(manifest.parent.parent))
    read.clear()
    assert check(folder, manifest.name)
    assert read == []


@both_ways
def test_a_file_of_another_identity_that_says_something_else_has_changed(
    write: Writing, manifest: Path, folder: int, read: list[str]
) -> None:
    check = check_of(known(manifest.parent.parent))
    write(manifest, other_text(manifest.read_bytes()))
    read.clear()
    assert not check(folder, manifest.name)
    assert read == [manifest.name]


@both_ways
def test_a_file_of_another_identity_that_says_the_same_passes(
    write: Writing, manifest: Path, folder: int, read: list[str]
) -> None:
    check = check_of(known(manifest.parent.parent))
    write(manifest, manifest.read_bytes())
    read.clear()
    assert check(folder, manifest.name)
    assert read == [manifest.name]


def test_a_file_that_has_one_more_name_is_read_and_passes(
    manifest: Path, folder: int, read: list[str]
) -> None:
    check = check_of(known(manifest.parent.parent))
    os.link(manifest, manifest.parent.parent / "another-name")
    read.clear()
    assert check(folder, manifest.name)
    assert read == [manifest.name]


def test_a_copy_with_all_times_is_read(manifest: Path, folder: int, read: list[str]) -> None:
    check = check_of(known(manifest.parent.parent))
    shutil.copy2(manifest, manifest.parent.parent / "copy")
    (manifest.parent.parent / "copy").rename(manifest)
    read.clear()
    assert check(folder, manifest.name)
    assert read == [manifest.name]


@pytest.mark.parametrize("why", ["not asked for", "racy", "not kept"])
def test_a_file_whose_identity_is_not_known_is_read(
    why: str, manifest: Path, folder: int, read: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    root = manifest.parent.parent
    index = known(root)
    if why == "not asked for":
        index = scanned(root)
        assert len(index.identities) == 0
    elif why == "racy":
        # The file was written just now, also if the machine has stalled since.
        monkeypatch.setattr(identities, "RACY_NANOSECONDS", 3600 * 10**9)
        index = scanned(root, state=StateFolder(str(root.parent / "another")))
        assert not index.identities.any()
    else:
        index = replace(index, identities=np.zeros_like(index.identities))
    check = check_of(index)
    read.clear()
    assert check(folder, manifest.name)
    written_in_place(manifest, other_text(manifest.read_bytes()))
    assert not check(folder, manifest.name)
    assert read == [manifest.name] * 2


def test_each_file_has_its_own_check(builder: CacheBuilder, read: list[str]) -> None:
    for number in range(6):
        builder.image(f"a:{number}", layers=[builder.blob(10)])
    index = known(builder.root)
    rows = np.array([1, 2, 4, 5])
    paths = [builder.root / index.path(row) for row in rows.tolist()]
    written_in_place(paths[1], paths[1].read_bytes())
    paths[2].write_bytes(paths[2].read_bytes().replace(b'"a:', b'"b:'))
    written_in_place(paths[3], paths[0].read_bytes())
    looks = manifest_checks(index, rows)
    folder = os.open(builder.root / "img", os.O_RDONLY)
    read.clear()
    found = [look(folder, path.name) for look, path in zip(looks, paths, strict=True)]
    os.close(folder)
    assert found == [True, True, False, False]
    assert read == [path.name for path in paths[1:]]


def test_what_manifests_said_is_worked_out_once_and_only_if_it_is_needed(
    builder: CacheBuilder, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [builder.image(f"a:{number}") for number in range(4)]
    index = known(builder.root)
    asked: list[int] = []

    def recorded(index: CacheIndex, rows: Any) -> Any:
        asked.append(len(rows))
        return kept_records(index, rows)

    monkeypatch.setattr(checks, "kept_records", recorded)
    looks = manifest_checks(index, np.arange(4))
    folder = os.open(builder.root / "img", os.O_RDONLY)
    assert all(look(folder, name) for look, name in zip(looks, sorted(names), strict=True))
    assert asked == []
    for name in names:
        written_in_place(builder.root / "img" / name, (builder.root / "img" / name).read_bytes())
    assert all(look(folder, name) for look, name in zip(looks, sorted(names), strict=True))
    os.close(folder)
    assert asked == [4]
