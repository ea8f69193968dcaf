"""What tells, without reading a file, that it was not written since."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from tests.property.decoding import decoded
from tests.support.cachebuilder import CacheBuilder
from tests.support.clock import nothing_is_racy
from tests.support.scanning import scanned

from fastprune.reading.identities import folder_identity, identity_of
from fastprune.reading.marks import NO_IDENTITY
from fastprune.remembered.memory import StateFolder

NEVER = 2**63
YEAR_2350 = 12 * 10**18  # nanoseconds since the epoch: more than fits into 64 bits with a sign


def set_mtime(path: Path, nanoseconds: int) -> None:
    """Sets the time of the last write, or skips the test if the file system does not keep it."""
    os.utime(path, ns=(nanoseconds, nanoseconds))
    if path.stat().st_mtime_ns != nanoseconds:
        pytest.skip("the file system keeps no such time")


def test_a_file_whose_time_does_not_fit_has_no_identity(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert identity_of((tmp_path / "file").stat(), NEVER) != NO_IDENTITY
    set_mtime(tmp_path / "file", YEAR_2350)
    assert identity_of((tmp_path / "file").stat(), NEVER) == NO_IDENTITY


def test_a_file_whose_size_does_not_fit_has_no_identity(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    os.truncate(tmp_path / "file", 2**32 - 1)
    assert identity_of((tmp_path / "file").stat(), NEVER) != NO_IDENTITY
    os.truncate(tmp_path / "file", 2**32)
    assert identity_of((tmp_path / "file").stat(), NEVER) == NO_IDENTITY


def test_a_folder_whose_time_does_not_fit_has_no_identity(tmp_path: Path) -> None:
    assert folder_identity(str(tmp_path), NEVER)
    set_mtime(tmp_path, YEAR_2350)
    assert folder_identity(str(tmp_path), NEVER) == b""


def test_files_and_folders_of_a_far_future_are_scanned_as_others_are(
    builder: CacheBuilder, tmp_path: Path
) -> None:
    name = builder.image("a:1", layers=[builder.blob(10)])
    builder.image("a:2")
    for path in (builder.root / "img" / name, builder.root / "img"):
        set_mtime(path, YEAR_2350)
    whole = decoded(scanned(builder.root))
    with nothing_is_racy():
        for _ in range(2):
            again = scanned(builder.root, state=StateFolder(str(tmp_path / "state")))
            assert decoded(again) == whole
            assert again.identities.any(axis=1).sum() == 1
