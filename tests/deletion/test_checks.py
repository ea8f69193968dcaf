"""What must still be true of a file when it goes."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from tests.support.cachebuilder import CacheBuilder
from tests.support.scanning import scanned

from fastprune.deletion.checks import Check, still_has, still_says
from fastprune.index.records import kept_records
from fastprune.layouts.default import DEFAULT_LAYOUT
from fastprune.reading.blob_contents import mark_of
from fastprune.reading.marks import ABSENT_MARK


@pytest.fixture
def manifest(builder: CacheBuilder) -> Path:
    return builder.root / "img" / builder.image("a:1", layers=[builder.blob(10)])


@pytest.fixture
def folder(manifest: Path) -> Iterator[int]:
    descriptor = os.open(manifest.parent, os.O_RDONLY)
    yield descriptor
    os.close(descriptor)


@pytest.fixture(params=["says", "has"])
def check(request: pytest.FixtureRequest, manifest: Path) -> Check:
    if request.param == "has":
        return still_has(mark_of(manifest.lstat()))
    (record,) = kept_records(scanned(manifest.parent.parent), np.array([0]))
    return still_says(DEFAULT_LAYOUT, record)


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
    assert not still_has(ABSENT_MARK)(folder, manifest.name)


def test_of_what_is_gone_the_system_says_so(check: Check, manifest: Path, folder: int) -> None:
    manifest.unlink()
    with pytest.raises(FileNotFoundError):
        check(folder, manifest.name)
