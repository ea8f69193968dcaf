"""The scan as a whole: missing files, files that change meanwhile, files that are read again."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.support.cachebuilder import CacheBuilder, Corruption, corrupt_bytes, snapshot
from tests.support.realcaches import REAL_CACHES, RealCache, unpack
from tests.support.scanning import scanned

from fastprune import CacheIndex, NoCacheError
from fastprune.executors.inline import InlineExecutor
from fastprune.layouts.default import DEFAULT_LAYOUT
from fastprune.reading.folders import check_root
from fastprune.scanning import scanner
from fastprune.scanning.scanner import ScanOptions, scan_cache

DELAYS = scanner._RETRY_DELAYS


def urls(index: CacheIndex) -> set[str]:
    return {index.url(row) for row in range(len(index))}


class Naps:
    """In place of the waits before files are read again: something happens instead."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *then: Callable[[], object]) -> None:
        self.waits: list[float] = []
        self._then = list(then)
        monkeypatch.setattr(time, "sleep", self._sleep)

    def _sleep(self, seconds: float) -> None:
        self.waits.append(seconds)
        if self._then:
            self._then.pop(0)()


# Roots and folders.


def test_a_path_without_a_cache_is_refused_and_not_created(tmp_path: Path) -> None:
    missing = tmp_path / "missing"
    with pytest.raises(NoCacheError, match="no such folder"):
        scanned(missing)
    assert not missing.exists()
    (tmp_path / "file").touch()
    with pytest.raises(NoCacheError, match="no such folder"):
        check_root(str(tmp_path / "file"), DEFAULT_LAYOUT)
    with pytest.raises(NoCacheError, match="it has no folder img/"):
        check_root(str(tmp_path), DEFAULT_LAYOUT)
    (tmp_path / "img").symlink_to(tmp_path)
    with pytest.raises(NoCacheError, match="it has no folder img/"):
        check_root(str(tmp_path), DEFAULT_LAYOUT)


@pytest.mark.parametrize("missing", ["lts", "blobs"])
def test_a_folder_that_is_not_there_is_empty(missing: str, tmp_path: Path) -> None:
    builder = CacheBuilder(tmp_path)
    builder.image("r/a:1", config="1a" * 32)
    (tmp_path / missing).rmdir()
    index = scanned(tmp_path)
    assert (urls(index), index.blobs_present, index.faults) == ({"r/a:1"}, 0, ())


def test_an_empty_cache_has_an_empty_index(tmp_path: Path) -> None:
    CacheBuilder(tmp_path)
    index = scanned(tmp_path)
    assert (len(index), len(index.blob_digests), index.folder_starts) == (0, 0, (0, 0, 0))


@pytest.mark.parametrize("name", REAL_CACHES)
def test_a_scan_changes_nothing(name: RealCache, tmp_path: Path) -> None:
    root = unpack(name, tmp_path)
    before = snapshot(root)
    index = scanned(root)
    assert snapshot(root) == before
    assert (index.faults, index.foreign, index.vanished) == ((), (), 0)


def test_a_scan_without_edges_lists_no_blobs(tmp_path: Path) -> None:
    builder = CacheBuilder(tmp_path)
    builder.image("r/a:1", layers=[builder.blob(7)])
    builder.raw("blobs", "README", b"")
    index = scanned(tmp_path, edges=False)
    assert (index.has_edges, index.blobs_present, index.foreign) == (False, 0, ())
    assert len(index.blob_ids) == len(index.child_rows) == len(index.twins) == 0
    assert index.declared.tolist() == [7 + len('{"config":"r/a:1"}')]


# What changes while it is read.


@pytest.mark.parametrize("kind", [Corruption.EMPTY, Corruption.CUT])
@pytest.mark.parametrize("heals_at", [1, 2, 3])
def test_a_file_that_is_cut_off_at_first_is_read_again(
    kind: Corruption, heals_at: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With every pull of a manifest, the server truncates the file and writes it again."""
    builder = CacheBuilder(tmp_path)
    others = [builder.image(f"r/sound:{number}") for number in range(5)]
    children = builder.index("r/list:1", children=[others[0]])
    layer = builder.blob(3)
    name = builder.image("r/late@sha256:1", layers=[layer], created="2024-02-30T00:00:00")
    path = tmp_path / "img" / name
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2] if kind is Corruption.CUT else b"")
    steps: list[Callable[[], object]] = [lambda: None] * (heals_at - 1)
    naps = Naps(monkeypatch, *steps, lambda: path.write_bytes(whole))
    index = scanned(tmp_path, chunk=2)
    assert naps.waits == list(DELAYS[:heals_at])
    assert index.faults == ()
    paths = [index.path(row) for row in range(len(index))]
    assert paths == sorted(f"img/{one}" for one in [*others, children, name])
    row = paths.index(f"img/{name}")
    assert index.url(row) == "r/late@sha256:1"
    assert index.odd_times[row] == ("2024-02-30T00:00:00", "2024-02-30T00:00:00")
    assert index.blob_digests[index.blob_ids[index.blob_starts[row]]].tobytes().hex() == layer


def test_a_file_that_stays_cut_off_is_a_fault_after_the_last_try(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    builder = CacheBuilder(tmp_path)
    builder.image("r/sound:1")
    path = builder.corrupt(Corruption.CUT)
    naps = Naps(monkeypatch)
    index = scanned(tmp_path)
    assert naps.waits == list(DELAYS)
    assert [fault for fault, _ in index.faults] == [path]
    assert urls(index) == {"r/sound:1"}


def test_a_file_that_is_whole_but_wrong_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    builder = CacheBuilder(tmp_path)
    path = builder.corrupt(Corruption.LAYER_DIGEST)
    naps = Naps(monkeypatch)
    assert [fault for fault, _ in scanned(tmp_path).faults] == [path]
    assert naps.waits == []


def test_a_file_that_vanishes_before_it_is_read_again_is_no_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = CacheBuilder(tmp_path).corrupt(Corruption.EMPTY)
    Naps(monkeypatch, (tmp_path / path).unlink)
    index = scanned(tmp_path)
    assert (len(index), index.faults, index.vanished) == (0, (), 1)


def test_a_file_that_is_replaced_by_something_else_is_a_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    builder = CacheBuilder(tmp_path)
    path = builder.corrupt(Corruption.EMPTY)

    def replace() -> None:
        (tmp_path / path).unlink()
        builder.fifo("img", path.removeprefix("img/"))

    Naps(monkeypatch, replace)
    assert scanned(tmp_path).faults == ((path, "not a regular file"),)


def test_faults_in_both_folders_are_sorted_and_leave_the_rows_of_others_right(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    builder = CacheBuilder(tmp_path)
    Naps(monkeypatch)
    image = builder.image("r/a@sha256:1", name="5" * 64)
    builder.tag(image, "r/a:latest")
    builder.index("r/b:1", children=[image, "3" * 64], name="7" * 64)
    faults = [
        builder.corrupt(Corruption.NULL, folder=folder, name=name * 64)
        for folder in ("lts", "img")
        for name in ("9", "3")
    ]
    index = scanned(tmp_path, chunk=1)
    assert [path for path, _ in index.faults] == sorted(faults)
    assert [index.path(row) for row in range(len(index))] == [
        f"img/{'5' * 64}",
        f"img/{'7' * 64}",
        f"lts/{'5' * 64}",
    ]
    assert index.twins.tolist() == [2, -1, 0]
    assert index.child_parents.tolist() == [1, 1]
    assert index.child_rows.tolist() == [0, 2]


# Several scans at once, and progress.


def test_scans_at_the_same_time_in_one_process_do_not_mix_their_files(tmp_path: Path) -> None:
    roots = [tmp_path / "a", tmp_path / "b"]
    for root in roots:
        builder = CacheBuilder(root)
        for number in range(150):
            builder.image(f"r/{root.name}:{number}", config=f"{number:064x}")
    expected = [urls(scanned(root)) for root in roots]
    results: list[list[set[str]]] = [[], []]

    def work(which: int) -> None:
        for _ in range(15):
            index = scanned(roots[which])
            assert index.faults == ()
            results[which].append(urls(index))

    interval = sys.getswitchinterval()
    # Threads take turns as often as they can.
    sys.setswitchinterval(1e-6)
    try:
        threads = [threading.Thread(target=work, args=(which,)) for which in (0, 1)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    mixed = [found ^ expected[which] for which in (0, 1) for found in results[which]]
    assert len(mixed) == 30
    assert sum(map(len, mixed)) == 0


class Heard:
    """A progress that keeps what it is told."""

    def __init__(self) -> None:
        self.said: list[tuple[object, ...]] = []

    def start(self, step: str, total: int | None, unit: str) -> None:
        """See `Progress.start`."""
        self.said.append(("start", step, total, unit))

    def expect(self, size: int) -> None:
        """See `Progress.expect`."""
        self.said.append(("expect", size))

    def advance(self, count: int, size: int = 0) -> None:
        """See `Progress.advance`."""
        self.said.append(("advance", count, size))

    def remembered(self, count: int) -> None:
        """See `Progress.remembered`."""
        self.said.append(("remembered", count))

    def stop(self) -> None:
        """See `Progress.stop`."""
        self.said.append(("stop",))


def test_progress_is_told_of_every_manifest_and_its_bytes(tmp_path: Path) -> None:
    builder = CacheBuilder(tmp_path)
    names = [builder.image(f"r/a:{number}") for number in range(5)]
    size = sum((tmp_path / "img" / name).stat().st_size for name in names)
    heard = Heard()
    options = ScanOptions(chunk=2)
    scan_cache(str(tmp_path), lambda manifests: InlineExecutor(), options, progress=heard)
    first, *steps, last = heard.said
    assert first == ("start", "scanning", 5, "manifests")
    assert last == ("stop",)
    counts = [(step[1], step[2]) for step in steps]
    assert [sum(column) for column in zip(*counts, strict=True)] == [5, size]


def test_a_checkpoint_can_end_a_scan_and_progress_ends_with_it(tmp_path: Path) -> None:
    CacheBuilder(tmp_path).image("r/a:1")
    heard = Heard()
    calls: list[int] = []

    def check() -> None:
        calls.append(1)
        if heard.said:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        scan_cache(
            str(tmp_path),
            lambda manifests: InlineExecutor(),
            ScanOptions(),
            progress=heard,
            checkpoint=check,
        )
    assert len(calls) > 1
    assert heard.said[-1] == ("stop",)


def test_the_executor_is_chosen_by_the_number_of_manifests(tmp_path: Path) -> None:
    builder = CacheBuilder(tmp_path)
    builder.image("r/a:1")
    builder.image("r/a:latest")
    builder.corrupt(Corruption.LAYER_DIGEST)
    builder.raw("img", "README", corrupt_bytes(Corruption.EMPTY))
    asked: list[int] = []

    def choose(manifests: int) -> InlineExecutor:
        asked.append(manifests)
        return InlineExecutor()

    scan_cache(str(tmp_path), choose, ScanOptions())
    assert asked == [3]
