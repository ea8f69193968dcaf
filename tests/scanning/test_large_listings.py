"""Large folders are listed by workers, and give what is listed here."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TypeVar

import pytest
from tests.support.cachebuilder import digest_of

from fastprune.errors import FastpruneError
from fastprune.executors.executor import Executor
from fastprune.executors.inline import InlineExecutor
from fastprune.executors.processes import ProcessExecutor
from fastprune.layouts.default import DEFAULT_LAYOUT
from fastprune.model import file_names
from fastprune.progress import NoProgress
from fastprune.reading import folders
from fastprune.reading.folders import ListingPart, list_folder
from fastprune.scanning.manifest_names import ManifestNames
from fastprune.scanning.pieces import list_sorted

MANY = 9_000
"""More than two parts of a listing."""

T = TypeVar("T")
R = TypeVar("R")


class Backwards(InlineExecutor):
    """Gives what the last item yields first, and keeps the items."""

    def __init__(self) -> None:
        self.items: list[object] = []

    def map_unordered(
        self, function: Callable[[T], Iterable[R]], items: Iterable[T]
    ) -> Iterator[R]:
        for item in reversed(list(items)):
            self.items.append(item)
            yield from function(item)


def filled(root: Path, **counts: int) -> dict[str, list[str]]:
    """Makes folders with so many empty files; gives the names."""
    names = {}
    for folder, count in counts.items():
        (root / folder).mkdir()
        names[folder] = sorted(digest_of(f"{folder}{number}") for number in range(count))
        for name in names[folder]:
            os.close(os.open(root / folder / name, os.O_CREAT | os.O_WRONLY))
    return names


def listed(
    root: Path, open_executor: Callable[[int], Executor]
) -> tuple[dict[str, list[str]], ManifestNames]:
    names = ManifestNames(str(root), DEFAULT_LAYOUT, lambda: None)
    found = names.listed([0, 1], open_executor, NoProgress())
    return {
        folder: sorted(file_names(digests))
        for folder, digests in zip(DEFAULT_LAYOUT.manifest_folders, found, strict=True)
    }, names


def test_a_large_folder_is_listed_by_the_executor(tmp_path: Path) -> None:
    names = filled(tmp_path, img=MANY, lts=3)
    (tmp_path / "lts" / "README").touch()
    (tmp_path / "img" / digest_of("link")).symlink_to("nowhere")
    executor, asked = Backwards(), list[int]()

    def open_executor(manifests: int) -> Executor:
        asked.append(manifests)
        return executor

    found, kept = listed(tmp_path, open_executor)
    assert found == names
    assert [item[0] for item in executor.items if isinstance(item, tuple)] == [1, 0]
    assert len(asked) == 1
    assert 4_000 < asked[0] <= MANY + 3
    assert sorted(kept.foreign) == [f"img/{digest_of('link')}", "lts/README"]
    assert list(kept.irregular) == [f"img/{digest_of('link')}"]


def test_small_folders_are_listed_here_and_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = filled(tmp_path, img=5)
    opened: list[str] = []

    def noted(path: str) -> Iterator[ListingPart]:
        opened.append(path)
        return list_folder(path)

    monkeypatch.setattr(folders, "list_folder", noted)

    def no_executor(manifests: int) -> Executor:
        raise AssertionError(manifests)

    found, kept = listed(tmp_path, no_executor)
    assert (found, kept.foreign) == (names | {"lts": []}, [])
    assert opened == [str(tmp_path / folder) for folder in ("img", "lts")]


def test_a_worker_that_can_not_list_says_so(tmp_path: Path) -> None:
    filled(tmp_path, img=MANY, lts=0)
    pool = ProcessExecutor(2)

    def after_a_look(manifests: int) -> Executor:
        (tmp_path / "lts").rmdir()
        (tmp_path / "lts").symlink_to("nowhere")
        return pool

    try:
        with pytest.raises(FastpruneError, match="lts is not a folder"):
            listed(tmp_path, after_a_look)
    finally:
        pool.close()


@pytest.mark.parametrize("count", [0, 1, MANY])
def test_sorted_parts_have_what_is_listed(
    tmp_path: Path, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = filled(tmp_path, blobs=count)
    (tmp_path / "blobs" / "odd").touch()
    monkeypatch.setattr("fastprune.scanning.pieces._NAMES_IN_PART", 4_000)
    parts = list(list_sorted(str(tmp_path / "blobs")))
    assert [part.last for part in parts] == [*[False] * (len(parts) - 1), True]
    assert sorted(name for part in parts for name in file_names(part.digests)) == names["blobs"]
    for part in parts:
        assert file_names(part.digests) == sorted(file_names(part.digests))
    assert [name for part in parts for name in part.foreign] == ["odd"]


def test_a_folder_that_is_not_there_is_empty(tmp_path: Path) -> None:
    (part,) = list_sorted(str(tmp_path / "blobs"))
    assert (part.digests, part.foreign, part.last) == (b"", (), True)
