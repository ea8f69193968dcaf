"""How many workers a cache gets, by its file system, the processors and the memory."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest
from tests.support.cachebuilder import CacheBuilder

from fastprune.cli.options import GlobalOptions
from fastprune.cli.session import open_session
from fastprune.executors.executor import piece_size
from fastprune.executors.processes import available_jobs
from fastprune.executors.waiting import jobs_by_memory, waiting_jobs
from fastprune.layouts.default import DEFAULT_LAYOUT
from fastprune.pipeline import Reading
from fastprune.scanning import jobs
from fastprune.scanning.jobs import SMALL_CACHE_THAT_WAITS, auto_jobs
from fastprune.scanning.scanner import SMALL_CACHE

GIB = 1 << 30


@pytest.mark.parametrize(
    ("memory", "wanted"),
    [(64 * GIB, 32), (2 * GIB, 32), (1 * GIB, 16), (GIB // 2, 8), (GIB // 4, 4), (1, 1)],
)
def test_32_as_far_as_there_is_memory(memory: int, wanted: int) -> None:
    assert waiting_jobs(memory) == wanted


def test_the_system_says_how_much_memory_there_is() -> None:
    assert 1 <= jobs_by_memory() < 1 << 20
    assert 1 <= waiting_jobs() <= 32


def mount_as(kind: str, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Makes all folders look as if they were on a kind of file system; gives those asked about."""
    asked: list[str] = []

    def where(folders: Iterable[str]) -> str:
        asked.extend(folders)
        return kind

    monkeypatch.setattr(jobs, "where_it_waits", where)
    return asked


def test_on_a_local_file_system_the_processors_count(tmp_path: Path) -> None:
    auto = auto_jobs(str(tmp_path), DEFAULT_LAYOUT)
    assert auto == (available_jobs(), SMALL_CACHE, "")


def test_where_it_waits_there_are_more_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = mount_as("nfs4", monkeypatch)
    monkeypatch.setattr(jobs, "waiting_jobs", lambda: 16)
    assert auto_jobs("/c", DEFAULT_LAYOUT) == (16, SMALL_CACHE_THAT_WAITS, "nfs4")
    assert asked == [f"/c/{folder}" for folder in DEFAULT_LAYOUT.folders]


@pytest.mark.parametrize("merging", [True, False])
def test_there_are_never_fewer_than_elsewhere(
    merging: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    mount_as("nfs4", monkeypatch)
    monkeypatch.setattr(jobs, "waiting_jobs", lambda: 16)
    monkeypatch.setattr(jobs, "available_jobs", lambda most=8: min(most, 128))
    assert auto_jobs("/c", DEFAULT_LAYOUT, merging=merging).jobs == (16 if merging else 128)


@pytest.mark.parametrize(("given", "expected"), [(None, 24), ("auto", 24), ("3", 3), ("1", 1)])
def test_a_number_on_the_command_line_is_what_it_says(
    given: str | None, expected: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mount_as("ceph", monkeypatch)
    monkeypatch.setattr(jobs, "waiting_jobs", lambda: 24)
    session = open_session(GlobalOptions(image_path=str(tmp_path), jobs=given))
    assert session.jobs == expected


@pytest.mark.parametrize(
    ("kind", "manifests", "started"),
    [
        ("", SMALL_CACHE, 1),
        ("", SMALL_CACHE + 1, 5),
        ("nfs", SMALL_CACHE_THAT_WAITS, 1),
        ("nfs", SMALL_CACHE_THAT_WAITS + 1, 18),
    ],
)
def test_small_caches_get_workers_earlier_where_they_wait(
    kind: str, manifests: int, started: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mount_as(kind, monkeypatch)
    monkeypatch.setattr(jobs, "waiting_jobs", lambda: 18)
    monkeypatch.setattr(jobs, "available_jobs", lambda: 5)
    root = str(CacheBuilder(tmp_path).root)
    with Reading().workers(root, DEFAULT_LAYOUT) as open_executor:
        assert open_executor(manifests).jobs == started
    with Reading(jobs=2).workers(root, DEFAULT_LAYOUT) as open_executor:
        assert open_executor(manifests).jobs == 2


@pytest.mark.parametrize(
    ("total", "jobs", "most", "size"),
    [
        (0, 16, 1_024, 64),
        (2_000, 16, 1_024, 64),
        (20_000, 16, 1_024, 156),
        (20_000, 2, 1_024, 1_024),
        (10_000_000, 32, 1_024, 1_024),
        (100, 1, 16, 16),
    ],
)
def test_files_are_shared_among_all_workers(total: int, jobs: int, most: int, size: int) -> None:
    assert piece_size(total, jobs, most) == size


@pytest.mark.parametrize("total", [2_000, 5_000, 100_000])
def test_each_of_sixteen_workers_gets_at_least_one_piece(total: int) -> None:
    assert total / piece_size(total, 16, 1_024) >= 16
