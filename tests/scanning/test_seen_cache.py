"""What a worker elsewhere has to see: the same folders, and the same files in them."""

from __future__ import annotations

import os
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.support.cachebuilder import CacheBuilder

from fastprune.errors import UsageError
from fastprune.layouts.default import DEFAULT_LAYOUT
from fastprune.scanning.seen_cache import SeenCache, see_cache


@pytest.fixture
def root(builder: CacheBuilder) -> Path:
    """A cache of some images, and a list."""
    images = [builder.image(f"r/a:{one}", layers=[builder.blob(one + 1)]) for one in range(20)]
    builder.index("r/list:1", children=images[:2], folder="lts")
    return builder.root


def see(root: Path) -> SeenCache:
    return see_cache(str(root), DEFAULT_LAYOUT)


def test_who_sees_the_same_agrees_also_in_another_process(root: Path) -> None:
    seen = see(root)
    assert seen.differs_here() == ""
    sent: SeenCache = pickle.loads(pickle.dumps(seen))
    assert (sent.root, sent.inodes, sent.files) == (seen.root, seen.inodes, seen.files)
    assert sent.differs_here() == ""


def test_some_files_of_each_folder_are_compared_and_never_all_of_many(root: Path) -> None:
    folders = [file.path.partition("/")[0] for file in see(root).files]
    assert {folder: folders.count(folder) for folder in folders} == {"img": 8, "lts": 1, "blobs": 8}


def test_the_files_that_have_not_changed_for_longest_are_compared(root: Path) -> None:
    names = sorted(os.listdir(root / "img"))
    for age, name in enumerate(names):
        os.utime(root / "img" / name, (age, age))
    compared = {file.path for file in see(root).files if file.path.startswith("img/")}
    assert compared == {f"img/{name}" for name in names[:8]}


def test_a_view_is_of_one_run_so_that_a_worker_looks_again(root: Path) -> None:
    assert see(root) != see(root)
    assert see(root).renewed().differs_here() == ""


def replace_folder(root: Path) -> str:
    shutil.move(root / "img", root.parent / "moved")
    shutil.copytree(root.parent / "moved", root / "img")
    return f"it sees another folder at {root}/img (inode "


def remove_folder(root: Path) -> str:
    shutil.rmtree(root / "lts")
    return f"there is no folder {root}/lts"


def remove_cache(root: Path) -> str:
    shutil.rmtree(root)
    return f"there is no folder {root}"


def put_a_file_in_its_place(root: Path) -> str:
    shutil.rmtree(root)
    root.touch()
    # Its inode may be that of the folder, so it is not said which of them is missing.
    return ""


def compared(root: Path, folder: str) -> Path:
    return root / next(file.path for file in see(root).files if file.path.startswith(folder))


def change_content(root: Path) -> str:
    path = compared(root, "img")
    content = path.read_bytes()
    path.write_bytes(content[:-1] + b" ")
    return f"it sees another file at {path}"


def make_shorter(root: Path) -> str:
    path = compared(root, "blobs")
    path.write_bytes(b"")
    return f"it sees another file at {path}"


def remove_file(root: Path) -> str:
    path = compared(root, "img")
    path.unlink()
    return f"there is no file {path}"


def put_a_link_in_its_place(root: Path) -> str:
    path = compared(root, "img")
    path.unlink()
    path.symlink_to(root / "elsewhere")
    return f"{path} can't be read there: "


def test_a_folder_that_only_the_other_has_is_a_difference(builder: CacheBuilder) -> None:
    builder.image("r/a:1")
    (builder.root / "lts").rmdir()
    seen = see(builder.root)
    (builder.root / "lts").mkdir()
    assert seen.differs_here() == f"there is a folder {builder.root}/lts"


@pytest.mark.parametrize(
    "change",
    [
        replace_folder,
        remove_folder,
        remove_cache,
        put_a_file_in_its_place,
        change_content,
        make_shorter,
        remove_file,
        put_a_link_in_its_place,
    ],
)
def test_a_difference_is_said_with_the_path(change: Callable[[Path], str], root: Path) -> None:
    seen = see(root)
    said = change(root)
    assert seen.differs_here().startswith(said)
    assert seen.differs_here()


def test_only_regular_files_with_a_digest_for_a_name_are_compared(root: Path) -> None:
    for file in (root / "img").iterdir():
        file.unlink()
    (root / "img" / "README").touch()
    os.mkfifo(root / "img" / ("0" * 64))
    (root / "img" / ("1" * 64)).symlink_to(root)
    assert [file.path for file in see(root).files if file.path.startswith("img")] == []


def test_a_large_file_is_not_read_to_its_end(root: Path) -> None:
    path = compared(root, "img")
    with open(path, "r+b") as file:
        file.truncate(1 << 40)
    assert see(root).differs_here() == ""


def test_a_relative_path_is_refused_as_workers_have_other_folders(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(root.parent)
    with pytest.raises(UsageError, match="absolute path"):
        see_cache(root.name, DEFAULT_LAYOUT)
