"""A scan that reads only what changed gives the index of one that reads everything."""

from __future__ import annotations

import itertools
import os
import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.property.decoding import decoded
from tests.property.profile import examples
from tests.support.clock import nothing_is_racy, wait_for_the_clock
from tests.support.scanning import scanned
from tests.support.strategies import PATTERNS, CacheSketch, caches, on_disk

from fastprune.scanning import memory
from fastprune.scanning.memory import StateFolder

FOLDERS = ("img", "lts")
Change = Callable[[Path, random.Random], None]


@pytest.fixture(autouse=True, scope="module")
def _nothing_is_racy() -> Iterator[None]:
    with nothing_is_racy():
        yield


def manifests(root: Path) -> list[Path]:
    """All that lies in the folders of manifests, and has the name of one."""
    found = itertools.chain.from_iterable(
        sorted((root / folder).iterdir()) for folder in FOLDERS if (root / folder).is_dir()
    )
    return [path for path in found if len(path.name) == 64]


def files(root: Path) -> list[Path]:
    return [path for path in manifests(root) if path.is_file() and not path.is_symlink()]


def _of_manifest(change: Callable[[Path, random.Random], None]) -> Change:
    def to_one(root: Path, chance: random.Random) -> None:
        if some := files(root):
            change(chance.choice(some), chance)

    to_one.__name__ = change.__name__
    return to_one


def other_bytes(content: bytes, chance: random.Random) -> bytes:
    """As many bytes: another digit somewhere, which may be that of a time, a size or a digest."""
    digits = [at for at, byte in enumerate(content) if chr(byte).isdigit()]
    if not digits:
        return content
    changed = bytearray(content)
    changed[chance.choice(digits)] = ord(chance.choice("0123456789"))
    return bytes(changed)


def rewritten(path: Path, chance: random.Random) -> None:
    content = other_bytes(path.read_bytes(), chance)
    with path.open("r+b") as file:
        file.write(content)


def replaced(path: Path, chance: random.Random) -> None:
    new = path.parent.parent / "new"
    new.write_bytes(other_bytes(path.read_bytes(), chance))
    new.rename(path)


def touched_back(path: Path, chance: random.Random) -> None:
    status = path.stat()
    rewritten(path, chance)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def other_content(path: Path, chance: random.Random) -> None:
    """It is put back under the name of another manifest: as a pull of another image would."""
    path.write_bytes(chance.choice(files(path.parent.parent)).read_bytes())


def cut_off(path: Path, chance: random.Random) -> None:
    os.truncate(path, chance.randrange(path.stat().st_size + 1))


def renamed(path: Path, chance: random.Random) -> None:
    path.rename(path.with_name(chance.randbytes(32).hex()))


def removed(path: Path, chance: random.Random) -> None:
    path.unlink()
    if chance.random() < 0.3:
        path.mkdir()


def linked(path: Path, chance: random.Random) -> None:
    aside = path.parent.parent / "aside"
    shutil.copy(path, aside)
    path.unlink()
    if chance.random() < 0.5:
        path.symlink_to(aside)
    else:
        os.mkfifo(path)


def moved_to_the_other_folder(path: Path, chance: random.Random) -> None:
    other = path.parent.parent / FOLDERS[FOLDERS.index(path.parent.name) - 1]
    other.mkdir(exist_ok=True)
    if not (other / path.name).is_dir():
        path.rename(other / path.name)


def copied_to_the_other_folder(path: Path, chance: random.Random) -> None:
    other = path.parent.parent / FOLDERS[FOLDERS.index(path.parent.name) - 1]
    if not (other / path.name).exists() and other.is_dir():
        shutil.copy2(path, other / path.name)


def added(root: Path, chance: random.Random) -> None:
    """A manifest that came, perhaps one that a list has named all along."""
    aside = sorted((root.parent / "removed").glob("*"))
    if not aside:
        return
    back = chance.choice(aside)
    folder = root / chance.choice(FOLDERS)
    if folder.is_dir() and not os.path.lexists(folder / back.name):
        shutil.copy(back, folder / back.name)


def set_aside(root: Path, chance: random.Random) -> None:
    """A manifest that goes, and may come again."""
    if some := files(root):
        path = chance.choice(some)
        (root.parent / "removed").mkdir(exist_ok=True)
        path.rename(root.parent / "removed" / path.name)


def odd_name(root: Path, chance: random.Random) -> None:
    (root / chance.choice((*FOLDERS, "blobs")) / f"odd-{chance.randrange(4)}").touch()


def blob_removed(root: Path, chance: random.Random) -> None:
    if blobs := sorted((root / "blobs").iterdir()):
        blob = chance.choice(blobs)
        shutil.rmtree(blob) if blob.is_dir() and not blob.is_symlink() else blob.unlink()


def blob_added(root: Path, chance: random.Random) -> None:
    name = chance.randbytes(32).hex()
    (root / "blobs" / name).write_bytes(bytes(chance.randrange(50)))


def folder_replaced(root: Path, chance: random.Random) -> None:
    """The folder is another one with the same files."""
    folder = root / chance.choice((*FOLDERS, "blobs"))
    if folder.is_dir():
        shutil.copytree(folder, root / "copy", symlinks=True, copy_function=os.link)
        shutil.rmtree(folder)
        (root / "copy").rename(folder)


def folders_swapped(root: Path, chance: random.Random) -> None:
    if all((root / folder).is_dir() for folder in FOLDERS):
        (root / FOLDERS[0]).rename(root / "swap")
        (root / FOLDERS[1]).rename(root / FOLDERS[0])
        (root / "swap").rename(root / FOLDERS[1])


CHANGES: dict[str, Change] = {
    change.__name__: change
    for change in (
        *map(
            _of_manifest,
            (
                *(rewritten, replaced, touched_back, other_content, cut_off, renamed, removed),
                *(linked, moved_to_the_other_folder, copied_to_the_other_folder),
            ),
        ),
        *(added, set_aside, odd_name, blob_removed, blob_added),
        *(folder_replaced, folders_swapped),
    )
}


def differences(some: Any, whole: Any, where: str = "") -> list[tuple[str, Any, Any]]:
    """The places where two decoded indexes differ, and what each says there."""
    if isinstance(some, dict) and isinstance(whole, dict) and some.keys() == whole.keys():
        return [
            found for key in some for found in differences(some[key], whole[key], f"{where} {key}")
        ]
    return [] if some == whole else [(where, some, whole)]


PATTERN_SETS = st.lists(
    st.lists(st.sampled_from(PATTERNS), min_size=1, max_size=3).map(tuple), max_size=2
).map(tuple)


@examples(120)
@given(
    sketch=caches(corrupt=True, foreign=True),
    rounds=st.lists(
        st.tuples(
            st.lists(st.sampled_from(sorted(CHANGES)), max_size=6), st.booleans(), PATTERN_SETS
        ),
        min_size=1,
        max_size=4,
    ),
    seed=st.integers(0, 2**32),
    chunk=st.integers(1, 13),
    worth_writing=st.sampled_from([0, 2, 1_000]),
)
def test_whatever_changes_the_index_is_that_of_a_full_scan(
    sketch: CacheSketch,
    rounds: list[tuple[list[str], bool, tuple[tuple[str, ...], ...]]],
    seed: int,
    chunk: int,
    worth_writing: int,
) -> None:
    """Whether the file is written often, or hardly ever, so that more and more differs from it."""
    chance = random.Random(seed)
    with pytest.MonkeyPatch.context() as patch, on_disk(sketch) as root:
        patch.setattr(memory, "_WORTH_WRITING", worth_writing)
        state = StateFolder(str(root.parent / "state"))
        for changes, edges, pattern_sets in rounds:
            wait_for_the_clock(root)
            for change in changes:
                CHANGES[change](root, chance)
            whole = scanned(root, edges=edges, pattern_sets=pattern_sets)
            wait_for_the_clock(root)
            some = scanned(root, edges=edges, pattern_sets=pattern_sets, chunk=chunk, state=state)
            assert differences(decoded(some), decoded(whole)) == []
