"""The trash with accidents and attacks: nothing is lost, overwritten or put elsewhere."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest
from tests.cli.program import run, without_privileges
from tests.hazards.steps import carry_out_now, folder_name, listing_again, plan_for
from tests.hazards.trashing import (
    LATER,
    RUN,
    contents_of,
    empty_now,
    entries,
    in_trash,
    prune_to_trash,
    restore_now,
)
from tests.support.cachebuilder import CacheBuilder, Corruption, files, snapshot
from tests.support.oracle import load
from tests.support.realcaches import REAL_CACHES, RealCache, unpack

from fastprune import Limits, Policy, TrashError
from fastprune.deletion.deleter import Batch, BatchResult, Outcome, Restorer, moving_to_trash
from fastprune.layouts.default import DEFAULT_LAYOUT
from fastprune.trash.report import report_lines
from fastprune.trash.tree import list_trash

ALL = Policy(patterns=(".",))


@pytest.fixture
def builder(tmp_path: Path) -> CacheBuilder:
    """A cache with a list, its image, and another image."""
    builder = CacheBuilder(tmp_path / "cache")
    child = builder.image("a@sha256:" + "12" * 32, layers=[builder.blob(10)])
    builder.index("a:latest", children=[child])
    builder.image("b:1", layers=[builder.blob(20)])
    return builder


@pytest.fixture
def cache(builder: CacheBuilder) -> Path:
    return builder.root


def trash_of(cache: Path, run: str = RUN) -> Path:
    return cache / ".fastprune" / "trash" / run


# There and back.


@pytest.mark.parametrize("name", REAL_CACHES)
def test_a_real_cache_comes_back_as_it_was(name: RealCache, tmp_path: Path) -> None:
    root = unpack(name, tmp_path)
    before = entries(root)
    prune_to_trash(root, ALL)
    assert files(root) == set()
    assert restore_now(root).exit_code == 0
    assert entries(root) == before


def test_nothing_is_made_when_there_is_nothing_to_do(cache: Path) -> None:
    before = snapshot(cache)
    report = prune_to_trash(cache, Policy(patterns=("no-such-image",)))
    assert (report.trash, report.trash_run) == (True, "")
    assert snapshot(cache) == before


def test_nothing_stays_when_nothing_could_be_moved(cache: Path) -> None:
    plan = plan_for(cache, ".")
    for path in files(cache):
        (cache / path).unlink()
    with moving_to_trash(str(cache), RUN, DEFAULT_LAYOUT) as mover:
        assert trash_of(cache).is_dir()
        assert carry_out_now(plan, mover).already_gone == 7
    assert not (cache / ".fastprune").exists()


def test_a_cache_whose_folders_are_not_all_there_has_a_trash_all_the_same(tmp_path: Path) -> None:
    builder = CacheBuilder(tmp_path / "cache")
    builder.image("a:1", config="ab" * 32)
    (builder.root / "lts").rmdir()
    (builder.root / "blobs").rmdir()
    before = entries(builder.root)
    assert prune_to_trash(builder.root, ALL).trash_run == RUN
    assert restore_now(builder.root).exit_code == 0
    assert entries(builder.root) == before


def test_a_cache_behind_a_symbolic_link_has_its_trash_in_the_cache(
    cache: Path, tmp_path: Path
) -> None:
    before = entries(cache)
    (tmp_path / "link").symlink_to(cache)
    prune_to_trash(tmp_path / "link", ALL)
    assert len(in_trash(cache)) == 7
    restore_now(tmp_path / "link")
    assert entries(cache) == before


def test_a_manifest_that_changed_since_the_scan_is_not_moved(
    builder: CacheBuilder, cache: Path
) -> None:
    plan = plan_for(cache, "b:1")
    path = next(path for path, one in load(cache).manifests.items() if one.url == "b:1")
    digest = path.partition("/")[2]
    builder.tag(digest, "b:1", pulled="2024-02-02T00:00:00")
    with moving_to_trash(str(cache), RUN, DEFAULT_LAYOUT) as mover:
        report = carry_out_now(plan, mover)
    assert report.changed == (f"img/{digest}",)
    assert path in files(cache)


def test_a_folder_that_took_the_place_of_a_blob_is_not_moved(cache: Path, tmp_path: Path) -> None:
    builder = CacheBuilder(tmp_path / "other")
    blob = builder.blob(10)
    plan = plan_for(builder.root, "nothing")
    (builder.root / "blobs" / blob).unlink()
    builder.directory("blobs", blob)
    with moving_to_trash(str(builder.root), RUN, DEFAULT_LAYOUT) as mover:
        report = carry_out_now(plan, mover)
    assert report.changed == (f"blobs/{blob}",)
    assert (builder.root / "blobs" / blob / "inside").exists()


# Order.


def test_the_trash_is_durable_before_the_folder_that_the_files_left(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[str] = []
    real = os.fsync

    def fsync(descriptor: int) -> None:
        path = Path(os.readlink(f"/proc/self/fd/{descriptor}"))
        synced.append(path.relative_to(cache).as_posix())
        real(descriptor)

    plan = plan_for(cache, ".")
    monkeypatch.setattr(os, "fsync", fsync)
    trash = trash_of(cache).relative_to(cache).as_posix()
    with moving_to_trash(str(cache), RUN, DEFAULT_LAYOUT) as mover:
        # All that leads to the run is durable before anything is moved.
        assert synced == [".", ".fastprune", ".fastprune/trash", trash]
        synced.clear()
        carry_out_now(plan, mover)
    assert synced == [
        *(f"{trash}/lts", "lts"),
        *(f"{trash}/img", "img"),
        *(f"{trash}/blobs", "blobs"),
    ]


class Diary(Restorer):
    """Restores, and writes down what was done."""

    def __init__(self) -> None:
        self.entries: list[str] = []

    def put_back(self, trash: int, folder: int, batch: Batch) -> BatchResult:
        self.entries += [f"put {folder_name(folder)}/{name}" for name in batch.names]
        return super().put_back(trash, folder, batch)

    def settle(self, folder: int) -> None:
        self.entries.append(f"settle {folder_name(folder)}")
        super().settle(folder)

    def remove(self, folder: int, batch: Batch) -> BatchResult:
        self.entries += [f"forget {folder_name(folder)}/{name}" for name in batch.names]
        return super().remove(folder, batch)


def test_what_is_needed_is_back_for_good_before_what_needs_it(
    builder: CacheBuilder, cache: Path
) -> None:
    builder.image("c:latest")
    manifests = load(cache).manifests
    prune_to_trash(cache, ALL)
    unreadable = CacheBuilder(trash_of(cache)).corrupt(Corruption.CUT)
    diary = Diary()
    assert restore_now(cache, restorer=diary).exit_code == 0
    kinds: list[str] = []
    for entry in diary.entries:
        what, _, path = entry.partition(" ")
        kind = path
        if what != "settle":
            kind = "list" if path in manifests and manifests[path].is_list else "image"
            kind = "blob" if path.startswith("blobs") else kind
            kind = "unreadable" if path == unreadable else kind
        if f"{what} {kind}" not in kinds[-1:]:
            kinds.append(f"{what} {kind}")
    assert kinds == [
        *("put blob", "settle blobs", "forget blob"),
        *("put image", "settle img", "settle lts", "forget image"),
        *("put list", "settle lts", "forget list"),
        *("put unreadable", "settle img", "forget unreadable"),
    ]


def test_no_manifest_comes_back_when_a_blob_could_not(cache: Path) -> None:
    class FullDisk(Restorer):
        def put_back(self, trash: int, folder: int, batch: Batch) -> BatchResult:
            some = batch._replace(names=batch.names[1:], sizes=batch.sizes[1:])
            result = super().put_back(trash, folder, some)
            outcomes = bytearray([Outcome.FAILED]) + result.outcomes
            return BatchResult(outcomes, [0, *result.freed], {0: errno.ENOSPC})

    before = entries(cache)
    prune_to_trash(cache, ALL)
    report = restore_now(cache, restorer=FullDisk())
    assert report.exit_code == 3
    assert load(cache).manifests == {}
    assert {failure.errno for failure in report.failures} == {errno.ENOSPC}
    assert report.left == 3
    assert restore_now(cache).exit_code == 0
    assert entries(cache) == before


# Nothing is overwritten.


def no_links(*args: Any, **options: Any) -> None:
    raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))


@pytest.mark.parametrize("links", [True, False], ids=["hard links", "no hard links"])
def test_what_came_into_the_cache_since_then_stays(
    links: bool, builder: CacheBuilder, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = sorted(load(cache).manifests)
    prune_to_trash(cache, ALL)
    newer = [paths[0], next(path for path in in_trash(cache) if path.startswith("blobs/"))]
    for path in newer:
        (cache / path).write_bytes(b"newer")
    if not links:
        monkeypatch.setattr(os, "link", no_links)
    report = restore_now(cache)
    assert report.kept == tuple(sorted(newer))
    assert report.exit_code == 3
    assert all((cache / path).read_bytes() == b"newer" for path in newer)
    assert in_trash(cache) == set(newer)
    # When they are out of the way, the rest comes back as well.
    for path in newer:
        (cache / path).unlink()
    assert restore_now(cache).exit_code == 0
    assert not (cache / ".fastprune").exists()


def test_a_file_system_without_hard_links_will_do(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = entries(cache)
    prune_to_trash(cache, ALL)
    monkeypatch.setattr(os, "link", no_links)
    assert restore_now(cache).exit_code == 0
    assert entries(cache) == before


@pytest.mark.parametrize("there", ["file", "dangling link", "folder"])
def test_whatever_has_the_name_is_left_as_it_is(there: str, cache: Path, tmp_path: Path) -> None:
    path = next(path for path in files(cache) if path.startswith("blobs/"))
    prune_to_trash(cache, ALL)
    if there == "file":
        (cache / path).write_bytes(b"")
    elif there == "folder":
        (cache / path).mkdir()
    else:
        (cache / path).symlink_to(tmp_path / "nowhere")
    untouched = snapshot(cache / "blobs")[path.partition("/")[2]]
    assert restore_now(cache).kept == (path,)
    assert snapshot(cache / "blobs")[path.partition("/")[2]] == untouched
    assert not (tmp_path / "nowhere").exists()


# Nothing is put elsewhere, and nothing elsewhere is touched.


@pytest.mark.parametrize("step", [".fastprune", ".fastprune/trash"])
@pytest.mark.parametrize("instead", ["link", "dangling link", "file", "fifo"])
def test_what_is_no_folder_on_the_way_to_the_trash_is_refused(
    step: str, instead: str, cache: Path, tmp_path: Path
) -> None:
    elsewhere = tmp_path / "elsewhere"
    (elsewhere / "trash" / RUN / "img").mkdir(parents=True)
    (elsewhere / RUN / "img").mkdir(parents=True)
    path = cache / step
    path.parent.mkdir(exist_ok=True)
    if instead == "link":
        path.symlink_to(elsewhere)
    elif instead == "dangling link":
        path.symlink_to(tmp_path / "nowhere")
    elif instead == "fifo":
        os.mkfifo(path)
    else:
        path.write_bytes(b"")
    before, there = snapshot(cache), snapshot(elsewhere)
    with pytest.raises(TrashError, match=Path(step).name):
        prune_to_trash(cache, ALL)
    with pytest.raises(TrashError):
        list_trash(str(cache), DEFAULT_LAYOUT)
    assert snapshot(cache) == before
    assert snapshot(elsewhere) == there
    assert not (tmp_path / "nowhere").exists()


def test_a_link_in_place_of_a_run_or_of_a_folder_in_it_is_not_followed(
    cache: Path, tmp_path: Path
) -> None:
    victim = CacheBuilder(tmp_path / "victim")
    victim.image("v:1")
    untouched = snapshot(victim.root)
    prune_to_trash(cache, ALL)
    trash_of(cache, LATER).symlink_to(victim.root)
    assert list_trash(str(cache), DEFAULT_LAYOUT).runs == (RUN,)
    assert list_trash(str(cache), DEFAULT_LAYOUT).foreign == (f".fastprune/trash/{LATER}",)
    for path in trash_of(cache).joinpath("blobs").iterdir():
        path.unlink()
    trash_of(cache).joinpath("blobs").rmdir()
    trash_of(cache).joinpath("blobs").symlink_to(victim.root / "blobs")
    with pytest.raises(TrashError):
        contents_of(cache)
    assert snapshot(victim.root) == untouched


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EACCES])
@pytest.mark.parametrize("made", range(6))
def test_a_trash_that_can_t_be_made_moves_nothing_and_leaves_nothing(
    number: int, made: int, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, left = os.mkdir, [made]

    def mkdir(path: str, mode: int = 0o777, *, dir_fd: int | None = None) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise OSError(number, os.strerror(number))
        real(path, mode, dir_fd=dir_fd)

    before = entries(cache)
    monkeypatch.setattr(os, "mkdir", mkdir)
    with pytest.raises(TrashError, match=f"{os.strerror(number)}; nothing was moved"):
        prune_to_trash(cache, ALL)
    assert entries(cache) == before


def test_a_trash_on_another_file_system_is_refused(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.rename

    def rename(source: str, target: str, *, src_dir_fd: int, dst_dir_fd: int) -> None:
        if folder_name(src_dir_fd) == "blobs":
            raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))
        real(source, target, src_dir_fd=src_dir_fd, dst_dir_fd=dst_dir_fd)

    before = entries(cache)
    monkeypatch.setattr(os, "rename", rename)
    with pytest.raises(TrashError, match="blobs/ and .* not on the same file system"):
        prune_to_trash(cache, ALL)
    assert entries(cache) == before


def test_blobs_on_another_file_system_are_refused_by_the_system_itself(tmp_path: Path) -> None:
    """fastprune asks with a name that does not exist. Does this system answer as expected?"""
    here = os.open(tmp_path, os.O_RDONLY)
    there = os.open("/proc", os.O_RDONLY)
    try:
        with pytest.raises(OSError, match=os.strerror(errno.EXDEV)):
            os.rename(RUN, RUN, src_dir_fd=here, dst_dir_fd=there)
    finally:
        os.close(here)
        os.close(there)


def test_without_permission_nothing_is_moved(cache: Path) -> None:
    before = entries(cache)
    cache.chmod(0o555)
    try:
        result = run(
            *("prune", "--pattern", ".", "--allow-remove-all", "--trash"),
            cache=cache,
            prefix=without_privileges(),
        )
    finally:
        cache.chmod(0o755)
    assert (result.code, result.out) == (1, "")
    assert f"the trash can't be made in {cache}: Permission denied" in result.err
    assert entries(cache) == before


# Foreign files in the trash.


def test_foreign_things_are_named_and_left_alone(cache: Path) -> None:
    prune_to_trash(cache, ALL)
    trash = cache / ".fastprune" / "trash"
    within = CacheBuilder(trash_of(cache))
    (trash / "README").write_text("What is this?")
    (trash / LATER).write_text("no folder")
    (trash / "20261125T000000Z-000000" / "other").mkdir(parents=True)
    (trash_of(cache) / "notes").write_text("mine")
    within.raw("blobs", "layer.tar", b"mine")
    within.fifo("img")
    fifo = next(path for path in in_trash(cache) if (trash_of(cache) / path).is_fifo())
    assert list_trash(str(cache), DEFAULT_LAYOUT).foreign == (
        f".fastprune/trash/{LATER}",
        ".fastprune/trash/20261125T000000Z-000000",
        ".fastprune/trash/README",
    )
    assert contents_of(cache).foreign == ("blobs/layer.tar", fifo, "notes")
    assert restore_now(cache).foreign == tuple(
        f"{RUN}/{path}" for path in ("blobs/layer.tar", fifo, "notes")
    )
    assert in_trash(cache) == {"notes", "blobs/layer.tar", fifo}
    assert empty_now(cache).exit_code == 0
    assert in_trash(cache) == {"notes", "blobs/layer.tar", fifo}
    assert (trash / "README").exists()


def test_a_run_that_a_crash_left_empty_goes_with_the_next_command(cache: Path) -> None:
    before = entries(cache)
    trash_of(cache).mkdir(parents=True)
    assert list_trash(str(cache), DEFAULT_LAYOUT).runs == (RUN,)
    assert contents_of(cache).files == 0
    assert restore_now(cache).exit_code == 0
    assert entries(cache) == before


def test_blobs_that_are_nowhere_any_more_are_reported(tmp_path: Path) -> None:
    builder = CacheBuilder(tmp_path / "cache")
    shared, config = builder.blob(10), builder.blob(20)
    builder.image("a:1", layers=[shared])
    builder.image("b:1", layers=[shared], config=config)
    prune_to_trash(builder.root, Policy(patterns=("a:1",)))
    assert run("prune", "--pattern", "b:1", "--allow-remove-all", cache=builder.root).code == 0
    report = restore_now(builder.root)
    assert (report.missing_blobs, report.exit_code) == ((shared,), 0)


def test_what_can_not_be_deleted_keeps_what_it_needs(
    builder: CacheBuilder, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So it can still be put back. Other runs are deleted all the same."""
    path = next(path for path, one in load(cache).manifests.items() if one.url == "b:1")
    needed = {f"blobs/{digest}" for digest in load(cache).manifests[path].blobs}
    prune_to_trash(cache, ALL)
    builder.image("c:1")
    prune_to_trash(cache, ALL, LATER)
    real = os.unlink

    def unlink(name: str, *, dir_fd: int) -> None:
        if path.endswith(name):
            raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))
        real(name, dir_fd=dir_fd)

    with monkeypatch.context() as patch:
        patch.setattr(os, "unlink", unlink)
        report = empty_now(cache)
    assert (report.exit_code, report.stopped, len(report.failures)) == (3, "", 1)
    assert f"Left, as files that failed may need them: {report.left}" in report_lines(report)
    assert report.left == len(in_trash(cache)) - 1
    assert needed < in_trash(cache)
    assert not trash_of(cache, LATER).exists()
    assert restore_now(cache).missing_blobs == ()
    assert empty_now(cache).exit_code == 0
    assert not (cache / ".fastprune").exists()


@pytest.mark.parametrize("number", [errno.EIO, errno.ENOENT])
def test_a_run_that_can_not_be_listed_is_not_taken_for_none(
    number: int, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prune_to_trash(cache, ALL)
    real = os.scandir

    def scandir(folder: int) -> Any:
        if folder_name(folder) == RUN:
            raise OSError(number, os.strerror(number))
        return real(folder)

    monkeypatch.setattr(os, "scandir", scandir)
    with pytest.raises(TrashError, match=f"{RUN} can't be listed: {os.strerror(number)}"):
        list_trash(str(cache), DEFAULT_LAYOUT)


def test_a_run_that_is_listed_twice_is_one(cache: Path) -> None:
    prune_to_trash(cache, ALL)
    once = list_trash(str(cache), DEFAULT_LAYOUT)
    with listing_again():
        assert list_trash(str(cache), DEFAULT_LAYOUT) == once
    assert len(once.runs) == 1


def test_empty_deletes_images_before_their_blobs(cache: Path) -> None:
    prune_to_trash(cache, ALL)
    run_folder = trash_of(cache)
    seen: list[tuple[int, int]] = []

    def count() -> str:
        names = [path.partition("/")[0] for path in in_trash(cache)]
        seen.append((len(names) - names.count("blobs"), names.count("blobs")))
        return ""

    empty_now(cache, limits=Limits(1, count, per_second=10_000))
    assert not run_folder.exists()
    assert all(blobs == 4 for manifests, blobs in seen if manifests)
