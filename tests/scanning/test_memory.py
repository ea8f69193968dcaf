"""When a remembered scan is used, and when everything is read."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.property.decoding import decoded
from tests.support.cachebuilder import CacheBuilder, Corruption, Descriptor, snapshot
from tests.support.clock import wait_for_the_clock
from tests.support.remembered import Remembering, warnings_of

from fastprune import UsageError
from fastprune.errors import NoCacheError
from fastprune.executors.processes import ProcessExecutor
from fastprune.index import column_files, remembered
from fastprune.index.remembered import ScanHeader
from fastprune.index.remembered import decoded as scan_in_file
from fastprune.reading import file_systems
from fastprune.reading.identities import folder_changed_at
from fastprune.scanning import kept_file, memory, store

ALL = 7


def test_the_second_scan_reads_nothing_and_writes_nothing(cache: Remembering) -> None:
    assert cache.read_by_scan() == ALL
    os.utime(cache.file, (1, 1))
    before = cache.file.stat()
    for options in ({}, {"edges": False}, {"pattern_sets": (("a",), ("b", "c"))}):
        assert cache.read_by_scan(**options) == 0
    after = cache.file.stat()
    assert (after.st_ino, after.st_size) == (before.st_ino, before.st_size)
    # It was used, so it is kept.
    assert after.st_mtime > before.st_mtime


@pytest.mark.parametrize("chunk", [None, 1, 3])
def test_what_workers_merged_is_remembered_as_well(cache: Remembering, chunk: int | None) -> None:
    sets = (("a",), ("b", "c"))
    assert cache.read_by_scan(merge=True, chunk=chunk, pattern_sets=sets) == ALL
    merged = columns_in(cache.file)
    for options in ({}, {"edges": False}, {"pattern_sets": sets, "merge": True}):
        assert cache.read_by_scan(**options) == 0
    cache.read_by_scan(rescan=True, merge=False)
    assert columns_in(cache.file) == merged


def columns_in(file: Path) -> dict[str, bytes]:
    scan = scan_in_file(memoryview(file.read_bytes()))
    return {name: bytes(scan.raw(name)) for name in remembered.COLUMNS}


def test_what_was_taken_from_the_file_stays_when_the_file_goes(cache: Remembering) -> None:
    cache.read_by_scan()
    index, read = cache.scan()
    assert read == 0
    before = decoded(index)
    cache.read_by_scan(rescan=True)
    cache.file.unlink()
    assert decoded(index) == before
    # Nobody can change by mistake what decides about deletions.
    assert not index.digests.flags.writeable
    assert not index.blob_ids.flags.writeable


def test_what_can_never_be_remembered_is_no_reason_to_write(
    cache: Remembering, builder: CacheBuilder
) -> None:
    builder.corrupt(Corruption.ARRAY)
    layer = builder.blob(50)
    builder.image("odd:1", layers=[Descriptor(layer, 50)])
    builder.image("odd:2", layers=[Descriptor(layer, 60)])
    cache.read_by_scan()
    before = cache.file.stat().st_ino
    # The broken one, and those that do not agree about a size.
    assert cache.read_by_scan() == 3
    assert cache.file.stat().st_ino == before


@pytest.fixture
def nothing_is_many(monkeypatch: pytest.MonkeyPatch) -> None:
    """As many manifests as there are may change before the file is written again for them."""
    monkeypatch.setattr(memory, "_WORTH_WRITING", 1)


def change_folder(cache: Remembering, builder: CacheBuilder, name: str) -> None:
    """Adds an image, and a blob for it, and removes another image."""
    wait_for_the_clock(cache.root)
    builder.image(f"new/{name}:1", layers=[builder.blob(60)])
    next((cache.root / "lts").iterdir()).unlink()


def test_a_few_that_came_and_went_are_no_reason_to_write(
    cache: Remembering, builder: CacheBuilder, nothing_is_many: None
) -> None:
    cache.read_by_scan()
    before = cache.file.stat().st_ino
    # As each night: the folders changed since the scan before.
    for night in (1, 2):
        change_folder(cache, builder, str(night))
        # Those that came since the file was written.
        assert cache.read_by_scan() == night
        assert cache.file.stat().st_ino == before


@pytest.mark.parametrize("folder", ["img", "lts", "blobs"])
def test_a_cache_at_rest_that_is_scanned_again_is_worth_writing(
    folder: str, cache: Remembering, nothing_is_many: None
) -> None:
    cache.read_by_scan()
    first = cache.file.stat().st_ino
    wait_for_the_clock(cache.root)
    (cache.root / folder / "odd").touch()
    cache.read_by_scan()
    assert cache.file.stat().st_ino == first
    cache.read_by_scan()
    second = cache.file.stat().st_ino
    assert second != first
    # Then no folder has to be listed.
    remembered_folders = scan_in_file(memoryview(cache.file.read_bytes())).header.folders
    for path, one in zip(("img", "lts", "blobs"), remembered_folders, strict=True):
        status = (cache.root / path).stat()
        assert folder_changed_at(one.identity) == status.st_ctime_ns
    cache.read_by_scan()
    assert cache.file.stat().st_ino == second


def test_a_folder_that_changes_again_and_again_is_no_reason_to_write(
    cache: Remembering, nothing_is_many: None
) -> None:
    """As one does where a server writes: it is listed by each scan, whatever is remembered."""
    cache.read_by_scan()
    before = cache.file.stat().st_ino
    wait_for_the_clock(cache.root)
    # Changed once, and at rest from then on.
    (cache.root / "blobs" / "odd").touch()
    for night in range(3):
        wait_for_the_clock(cache.root)
        (cache.root / "img" / str(night)).touch()
        assert cache.read_by_scan() == 0
        assert cache.file.stat().st_ino == before


@pytest.mark.parametrize("folder", ["img", "lts"])
def test_many_that_are_gone_are_a_reason_to_write(folder: str, cache: Remembering) -> None:
    cache.read_by_scan()
    before = cache.file.stat()
    wait_for_the_clock(cache.root)
    next((cache.root / folder).iterdir()).unlink()
    assert cache.read_by_scan() == 0
    after = cache.file.stat()
    assert after.st_ino != before.st_ino
    assert after.st_size < before.st_size


def test_a_scan_without_edges_remembers_for_one_with_them(cache: Remembering) -> None:
    assert cache.read_by_scan(edges=False) == ALL
    assert cache.read_by_scan(edges=True) == 0


def test_rescan_reads_all_and_remembers_it(cache: Remembering) -> None:
    cache.read_by_scan()
    before = cache.file.stat().st_ino
    assert cache.read_by_scan(rescan=True) == ALL
    assert cache.file.stat().st_ino != before
    assert cache.read_by_scan() == 0


def test_a_check_of_names_neither_uses_nor_leaves_anything(cache: Remembering) -> None:
    assert cache.scan(check_names=True)[1] == ALL
    assert not cache.folder.exists()


def test_the_cache_itself_does_not_change(cache: Remembering) -> None:
    before = snapshot(cache.root)
    cache.read_by_scan()
    cache.read_by_scan()
    assert snapshot(cache.root) == before


def other_header(
    cache: Remembering, monkeypatch: pytest.MonkeyPatch, fields: dict[str, Any]
) -> None:
    """Lets a scan say something else about itself."""

    def header(**said: Any) -> ScanHeader:
        return replace(ScanHeader(**said), **fields)

    with monkeypatch.context() as patch:
        patch.setattr(memory, "ScanHeader", header)
        cache.read_by_scan()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"made_by": "0.0.1"}, "another version of fastprune wrote it"),
        ({"cache": "0" * 16 + "-1"}, "it is about another cache"),
        ({"layout": "another: img lts blobs"}, "it is about another cache"),
        ({"scanned_at": 1e11}, "it says that it was written in the future"),
        ({"max_manifest_bytes": 1 << 40}, "--max-manifest-size was larger"),
    ],
)
def test_what_does_not_fit_is_said_once_and_everything_is_read(
    fields: dict[str, Any],
    message: str,
    cache: Remembering,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    other_header(cache, monkeypatch, fields)
    with warnings_of(caplog) as warnings:
        assert cache.read_by_scan() == ALL
    assert warnings == [f"{cache.file} is not used, and everything is read: {message}"]
    with warnings_of(caplog) as warnings:
        assert cache.read_by_scan() == 0
    assert warnings == []


def test_another_version_of_the_format_is_not_read(
    cache: Remembering, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(remembered, "FORM", remembered.FORM._replace(magic=b"fastprune scan\n2"))
        cache.read_by_scan()
    with warnings_of(caplog) as warnings:
        assert cache.read_by_scan() == ALL
    assert [line.rpartition(": ")[2] for line in warnings] == ["it is of another version"]


def test_a_smaller_limit_than_before_refuses_what_is_larger(
    cache: Remembering, builder: CacheBuilder
) -> None:
    cache.read_by_scan(max_manifest_bytes=600)
    index, _ = cache.scan(max_manifest_bytes=100)
    assert (len(index), len(index.faults)) == (0, ALL)
    assert cache.read_by_scan(max_manifest_bytes=100) == ALL
    assert cache.read_by_scan() == ALL


@pytest.mark.parametrize("inside", ["", "img", "lts/state", "blobs", "other", ".fastprune/state"])
def test_a_folder_in_the_cache_is_refused(inside: str, cache: Remembering) -> None:
    before = snapshot(cache.root)
    cache.folder = cache.root / inside
    with pytest.raises(UsageError, match=f"--state-dir {cache.folder} is in the cache"):
        cache.scan()
    assert snapshot(cache.root) == before


def test_a_link_into_the_cache_is_refused(cache: Remembering) -> None:
    cache.folder.symlink_to(cache.root / "new")
    with pytest.raises(UsageError, match="is in the cache"):
        cache.scan()
    cache.folder = cache.folder / "deeper"
    with pytest.raises(UsageError, match="is in the cache"):
        cache.scan()
    assert not (cache.root / "new").exists()


@pytest.mark.parametrize("which", ["", "blobs", "img"])
def test_a_mount_of_the_cache_elsewhere_is_refused(
    which: str, cache: Remembering, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder of the cache may have a second path: of that, only device and inode tell."""
    elsewhere = cache.root.parent / "elsewhere"
    elsewhere.mkdir()
    real = os.stat

    def stat(path: Any, *rest: Any, **named: Any) -> os.stat_result:
        same = not isinstance(path, int) and os.fspath(path) == str(elsewhere)
        return real(cache.root / which if same else path, *rest, **named)

    monkeypatch.setattr(os, "stat", stat)
    cache.folder = elsewhere / "state"
    with pytest.raises(UsageError, match="is in the cache"):
        cache.scan()
    assert list(elsewhere.iterdir()) == []


def test_where_there_is_no_cache_nothing_is_made(tmp_path: Path) -> None:
    with pytest.raises(NoCacheError):
        Remembering(tmp_path / "none").scan()
    assert list(tmp_path.iterdir()) == []


def test_another_cache_has_a_file_of_its_own(cache: Remembering, tmp_path: Path) -> None:
    cache.read_by_scan()
    other = Remembering(CacheBuilder(tmp_path / "other").root)
    assert other.folder == cache.folder
    assert other.read_by_scan() == 0
    assert len(list(cache.folder.glob("*.scan"))) == 2
    assert cache.read_by_scan() == 0


def test_a_cache_that_was_moved_is_the_same(cache: Remembering) -> None:
    cache.read_by_scan()
    moved = cache.root.rename(cache.root.with_name("moved"))
    assert Remembering(moved).read_by_scan() == 0


def test_a_copy_of_a_cache_is_another_one(cache: Remembering) -> None:
    cache.read_by_scan()
    copied = cache.root.with_name("copy")
    subprocess.run(["cp", "-a", cache.root, copied], check=True)
    assert Remembering(copied).read_by_scan() == ALL


def test_where_times_can_not_be_trusted_nothing_is_remembered(
    cache: Remembering, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache.read_by_scan()
    before = cache.file.stat().st_mtime_ns
    monkeypatch.setattr(file_systems, "KNOWN", {})
    index, read = cache.scan()
    assert (read, cache.file.stat().st_mtime_ns) == (ALL, before)
    assert index.identities.shape == (0, 28)


@pytest.mark.parametrize("damage", ["first", "last", "all"])
def test_workers_go_on_after_they_found_a_damage(
    damage: str,
    cache: Remembering,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(column_files, "PIECE_BYTES", 64)
    cache.read_by_scan()
    content = bytearray(cache.file.read_bytes())
    places = {"first": [16], "last": [content.rindex(b'{"columns"') - 64], "all": [16, 200, 400]}
    for place in places[damage]:
        content[place] ^= 1
    cache.file.write_bytes(content)
    executor = ProcessExecutor(2)
    try:
        with warnings_of(caplog) as warnings:
            assert cache.read_by_scan(executor) == ALL
        assert [line.rpartition(": ")[2] for line in warnings] == ["it is damaged"]
        assert cache.read_by_scan(executor) == 0
    finally:
        executor.close()


def test_a_file_that_goes_before_it_is_checked_is_no_error(
    cache: Remembering, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    cache.read_by_scan()
    real = store.mapped_file

    def mapped(path: str) -> Any:
        found = real(path)
        os.unlink(path)
        return found

    executor = ProcessExecutor(2)
    with monkeypatch.context() as patch, warnings_of(caplog) as warnings:
        patch.setattr(kept_file, "mapped_file", mapped)
        assert cache.read_by_scan(executor) == ALL
    assert warnings == []
    assert cache.read_by_scan(executor) == 0
    executor.close()


def damaged_in(column: str) -> Callable[[bytes], bytes]:
    """Flips the first bit of a column."""

    def damage(content: bytes) -> bytes:
        start, _ = remembered.decoded(memoryview(content)).place(column)
        return content[:start] + bytes([content[start] ^ 1]) + content[start + 1 :]

    return damage


def test_a_sound_file_in_the_place_of_a_damaged_one_does_not_vouch_for_it(
    cache: Remembering, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """What is used is mapped; what workers check has the same path, and may be another file."""
    cache.read_by_scan()
    sound = cache.file.read_bytes()
    cache.file.write_bytes(damaged_in("pulled")(sound))
    real = store.mapped_file
    turns: list[str] = []

    def mapped(path: str) -> Any:
        found = real(path)
        if not turns:
            Path(f"{path}-new").write_bytes(sound)
            Path(f"{path}-new").chmod(0o600)
            os.rename(f"{path}-new", path)
        turns.append(path)
        return found

    monkeypatch.setattr(kept_file, "mapped_file", mapped)
    with warnings_of(caplog) as warnings:
        # The sound file, which another scan has just written, is read instead.
        assert cache.read_by_scan() == 0
    assert (warnings, len(turns)) == ([], 2)


def test_the_identities_of_an_index_are_those_of_the_files(
    cache: Remembering, builder: CacheBuilder
) -> None:
    builder.image("late:1")
    wait_for_the_clock(cache.root)
    for _ in range(2):
        index, _ = cache.scan()
        for row in range(len(index)):
            status = (cache.root / index.path(row)).stat()
            inode, mtime, ctime = np.frombuffer(index.identities[row, :24].tobytes(), "<i8")
            assert (inode, mtime) == (status.st_ino, status.st_mtime_ns)
            assert (ctime, index.file_sizes[row]) == (status.st_ctime_ns, status.st_size)
