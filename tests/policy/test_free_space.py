"""--min-free-space: which file system is asked, and what it must say to be believed."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import NamedTuple

import pytest
from tests.support.cachebuilder import CacheBuilder

from fastprune.errors import CacheReadError, NoCacheError, UsageError
from fastprune.layouts.default import DEFAULT_LAYOUT
from fastprune.policy.criteria_io import space_to_free

OPTION = "--min-free-space"


class Disk(NamedTuple):
    """What statvfs says of a file system."""

    f_blocks: int
    f_bavail: int
    f_frsize: int = 4096


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return CacheBuilder(tmp_path / "cache").root


def mounted(monkeypatch: pytest.MonkeyPatch, disks: dict[Path, Disk]) -> None:
    """Makes folders seem to be file systems of their own."""
    statvfs, fstat, lstat = os.statvfs, os.fstat, os.lstat
    inodes = {
        os.stat(path).st_ino: (disk, number) for number, (path, disk) in enumerate(disks.items())
    }

    def ask(at: int | str) -> object:
        found = inodes.get(os.stat(at).st_ino)
        return statvfs(at) if found is None else found[0]

    def on_its_disk(status: os.stat_result) -> os.stat_result:
        if status.st_ino not in inodes:
            return status
        fields = list(status)
        fields[2] = 1_000_000 + inodes[status.st_ino][1]
        return os.stat_result(fields)

    monkeypatch.setattr(os, "statvfs", ask)
    monkeypatch.setattr(os, "fstat", lambda at: on_its_disk(fstat(at)))
    monkeypatch.setattr(os, "lstat", lambda path: on_its_disk(lstat(path)))


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [one.getMessage() for one in caplog.records if one.levelno >= logging.WARNING]


def test_the_file_system_of_the_blobs_is_asked_and_others_are_named(
    root: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    mounted(monkeypatch, {root / "blobs": Disk(1000, 100), root: Disk(1000, 900)})
    assert space_to_free("50%", OPTION, str(root), DEFAULT_LAYOUT) == 400 * 4096
    (warning,) = warnings(caplog)
    assert warning == (
        f"--min-free-space: the file system of {root}/blobs was asked; img/ and lts/ are on "
        "another one, which was not asked"
    )


def test_one_folder_of_manifests_elsewhere_is_named_alone(
    root: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    mounted(monkeypatch, {root / "lts": Disk(1000, 900)})
    assert space_to_free("1B", OPTION, str(root), DEFAULT_LAYOUT) == 0
    assert "lts/ is on another one" in warnings(caplog)[0]


def test_on_one_file_system_nothing_is_said(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert space_to_free("1B", OPTION, str(root), DEFAULT_LAYOUT) == 0
    assert warnings(caplog) == []


def test_without_blobs_the_file_system_of_the_manifests_is_asked(
    root: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (root / "blobs").rmdir()
    (root / "lts").rmdir()
    mounted(monkeypatch, {root / "img": Disk(1000, 100)})
    assert space_to_free("50%", OPTION, str(root), DEFAULT_LAYOUT) == 400 * 4096
    assert warnings(caplog) == []


def test_blobs_that_are_a_link_are_not_followed(root: Path, tmp_path: Path) -> None:
    (root / "blobs").rmdir()
    (root / "blobs").symlink_to(tmp_path)
    with pytest.raises(CacheReadError, match="blobs can't be read: Not a directory"):
        space_to_free("10%", OPTION, str(root), DEFAULT_LAYOUT)


@pytest.mark.parametrize("text", ["10%", "1GB", "0B"])
def test_a_file_system_without_a_size_is_refused(
    text: str, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mounted(monkeypatch, {root / "blobs": Disk(0, 0)})
    with pytest.raises(UsageError, match=r"of .*/blobs reports no size, so .* can't be known"):
        space_to_free(text, OPTION, str(root), DEFAULT_LAYOUT)


@pytest.mark.parametrize("free", [1001, 2**64 // 4096 - 5, -5])
def test_more_free_than_there_is_is_no_answer(
    free: int, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mounted(monkeypatch, {root / "blobs": Disk(1000, free)})
    with pytest.raises(UsageError, match=r"reports a size of 4096000 bytes and -?\d+ of them free"):
        space_to_free("10%", OPTION, str(root), DEFAULT_LAYOUT)


def test_more_than_the_file_system_has_can_not_be_asked_for(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mounted(monkeypatch, {root / "blobs": Disk(1000, 100)})
    assert space_to_free("4096000B", OPTION, str(root), DEFAULT_LAYOUT) == 900 * 4096
    with pytest.raises(UsageError, match="has 4096000 bytes in all, so 4096001 can't be free"):
        space_to_free("4096001B", OPTION, str(root), DEFAULT_LAYOUT)


def test_a_file_system_that_does_not_answer_is_refused(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(at: int) -> object:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "statvfs", refuse)
    with pytest.raises(CacheReadError, match="can't be read: Operation not permitted"):
        space_to_free("10%", OPTION, str(root), DEFAULT_LAYOUT)


@pytest.mark.parametrize(
    ("text", "blocks"),
    [("10%", 0), ("25%", 0), ("25.1%", 1), ("30%", 50), ("100%", 750), ("0B", 0)],
)
def test_free_space_is_what_df_calls_available(
    text: str, blocks: int, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # df calls 300 blocks free; 50 of them are for root only.
    mounted(monkeypatch, {root / "blobs": Disk(1000, 250)})
    assert space_to_free(text, OPTION, str(root), DEFAULT_LAYOUT) == blocks * 4096
    assert space_to_free("2MiB", OPTION, str(root), DEFAULT_LAYOUT) == 2**21 - 250 * 4096


@pytest.mark.parametrize("text", ["0%", "101%", "-5%", "%", "5 %", "5", "half", "-1GB", "1e3GB"])
def test_what_is_neither_a_size_nor_a_percentage_is_refused(text: str, root: Path) -> None:
    with pytest.raises(UsageError, match="^--min-free-space: not a"):
        space_to_free(text, OPTION, str(root), DEFAULT_LAYOUT)


def test_the_space_of_no_cache_is_not_asked_for(tmp_path: Path) -> None:
    with pytest.raises(NoCacheError):
        space_to_free("1GB", OPTION, str(tmp_path / "missing"), DEFAULT_LAYOUT)
