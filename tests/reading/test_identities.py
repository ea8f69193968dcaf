"""Identities of files and folders."""

from __future__ import annotations

import os
import stat
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tests.property.decoding import decoded
from tests.support.cachebuilder import CacheBuilder
from tests.support.clock import nothing_is_racy, wait_for_the_clock
from tests.support.scanning import scanned

from fastprune.reading import identities
from fastprune.reading.identities import (
    RACY_NANOSECONDS,
    folder_identity,
    identities_of,
    identity_of,
    racy_from,
)
from fastprune.reading.marks import IDENTITY, IDENTITY_BYTES, NO_IDENTITY
from fastprune.scanning.memory import StateFolder

NEVER = 2**63


@pytest.fixture(autouse=True)
def _the_rule_of_real_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two seconds; other tests do with less."""
    monkeypatch.setattr(identities, "RACY_NANOSECONDS", RACY_NANOSECONDS)


def status(**fields: int) -> Any:
    usual = {"st_ino": 1, "st_mtime_ns": 2, "st_ctime_ns": 3, "st_size": 4, "st_dev": 5}
    return SimpleNamespace(**usual | {"st_mode": stat.S_IFREG | 0o644} | fields)


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"st_ino": 2**63},
        {"st_ino": 2**64 - 1},
        {"st_size": 2**32 - 1},
        {"st_mtime_ns": -1},
        {"st_mtime_ns": 2**63 - 1},
        {"st_ctime_ns": -(2**63)},
    ],
)
def test_an_identity_holds_all_numbers(fields: dict[str, int]) -> None:
    given = status(**fields)
    numbers = given.st_ino, given.st_mtime_ns, given.st_ctime_ns, given.st_size
    assert IDENTITY.unpack(identity_of(given, NEVER)) == numbers


@pytest.mark.parametrize(
    "fields",
    [
        {"st_size": 2**32},
        {"st_size": 2**63 - 1},
        {"st_mtime_ns": 2**63},
        {"st_mtime_ns": -(2**63) - 1},
        {"st_ctime_ns": 2**63 - 1},
        {"st_mode": stat.S_IFLNK | 0o777},
        {"st_mode": stat.S_IFIFO | 0o644},
        {"st_mode": stat.S_IFDIR | 0o755},
    ],
)
def test_what_does_not_fit_has_none(fields: dict[str, int]) -> None:
    assert identity_of(status(**fields), 2**63 - 1) == NO_IDENTITY


def test_each_field_counts() -> None:
    found = {
        identity_of(status(**{field: 9}), NEVER)
        for field in ("st_ino", "st_mtime_ns", "st_ctime_ns", "st_size", "st_dev")
    }
    # The device is that of the folder.
    assert len(found) == 5
    assert identity_of(status(), NEVER) in found


def test_two_seconds_before_the_scan_are_racy() -> None:
    assert RACY_NANOSECONDS == 2_000_000_000
    racy = racy_from(1_000.5)
    assert racy == 998_500_000_000
    assert identity_of(status(st_ctime_ns=racy), racy) == NO_IDENTITY
    assert identity_of(status(st_ctime_ns=racy - 1), racy) != NO_IDENTITY
    # Only the ctime counts: anybody can set the mtime.
    assert identity_of(status(st_mtime_ns=racy + 1), racy) != NO_IDENTITY


def test_files_that_were_just_written_have_none(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to("file")
    os.utime(tmp_path / "file", (1, 1))
    folder = os.open(tmp_path, os.O_RDONLY)
    names = ["file", "link", "none"]
    try:
        assert identities_of(folder, names, racy_from(time.time())) == [NO_IDENTITY] * 3
        some, *others = identities_of(folder, names, NEVER)
    finally:
        os.close(folder)
    assert len(some) == IDENTITY_BYTES
    assert some != NO_IDENTITY
    assert others == [NO_IDENTITY] * 2
    assert folder_identity(str(tmp_path), racy_from(time.time())) == b""


def test_a_time_far_in_the_future_is_no_error() -> None:
    shm = Path("/dev/shm")
    if not os.access(shm, os.W_OK):
        pytest.skip("only a file system in memory takes such times")
    with tempfile.TemporaryDirectory(dir=shm) as name:
        (Path(name) / "file").touch()
        for path in (Path(name) / "file", Path(name)):
            os.utime(path, (1, 2**40))
        assert (Path(name) / "file").stat().st_mtime_ns > 2**63
        folder = os.open(name, os.O_RDONLY)
        try:
            assert identities_of(folder, ["file"], NEVER) == [NO_IDENTITY]
        finally:
            os.close(folder)
        assert folder_identity(name, NEVER) == b""


def test_the_identity_of_a_folder_tells_changes_in_it(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    (tmp_path / "link").symlink_to("nowhere")
    seen = [folder_identity(str(folder), NEVER)]
    assert seen[0] != b""
    for change in (
        (folder / "a").touch,
        lambda: (folder / "a").rename(folder / "b"),
        lambda: (folder / "b").rename(tmp_path / "c"),
        lambda: (tmp_path / "c").rename(folder / "c"),
        # A link takes the place of a file: the names are the same.
        lambda: (tmp_path / "link").rename(folder / "c"),
        (folder / "c").unlink,
        lambda: os.utime(folder, (1, 1)),
        folder.rmdir,
    ):
        wait_for_the_clock(folder)
        change()
        now = folder_identity(str(folder), NEVER)
        assert now not in seen
        seen.append(now)
    assert seen[-1] == b""


@pytest.mark.parametrize("kind", ["file", "link", "missing"])
def test_what_is_no_folder_has_none(kind: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to(tmp_path)
    assert folder_identity(str(tmp_path / kind), NEVER) == b""


YEAR_2350 = 12 * 10**18  # nanoseconds since the epoch: more than fits into 64 bits with a sign


def test_files_and_folders_of_a_far_future_are_scanned_as_others_are(
    builder: CacheBuilder, tmp_path: Path
) -> None:
    name = builder.image("a:1", layers=[builder.blob(10)])
    builder.image("a:2")
    for path in (builder.root / "img" / name, builder.root / "img"):
        os.utime(path, ns=(YEAR_2350, YEAR_2350))
        if path.stat().st_mtime_ns != YEAR_2350:
            pytest.skip("the file system keeps no such time")
    whole = decoded(scanned(builder.root))
    with nothing_is_racy():
        for _ in range(2):
            again = scanned(builder.root, state=StateFolder(str(tmp_path / "state")))
            assert decoded(again) == whole
            assert again.identities.any(axis=1).sum() == 1
