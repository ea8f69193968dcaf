"""What `verify --content` finds does not depend on what it remembers, whatever changed."""

from __future__ import annotations

import os
import random
import shutil
import tempfile
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import event, given
from hypothesis import strategies as st
from tests.property.profile import examples
from tests.support.cachebuilder import digest_of
from tests.support.clock import nothing_is_racy, wait_for_the_clock
from tests.support.damage import Damage, SoundCache, befall, build_sound, damages, sound_caches
from tests.support.verify_oracle import expected_findings
from tests.support.verifying import Verifying, findings_of

from fastprune.scanning.content_since import LAST
from fastprune.verification import blob_reading
from fastprune.verification.blob_reading import largest_first, pieces_of

Change = Callable[[Path, random.Random], None]


@pytest.fixture(autouse=True, scope="module")
def _nothing_is_racy() -> Iterator[None]:
    with nothing_is_racy(), pytest.MonkeyPatch.context() as patch:
        patch.setattr(blob_reading, "FILES_IN_PIECE", 2)
        yield


def other_bytes(path: Path, chance: random.Random) -> bytes:
    """As many bytes, of which one may be another."""
    content = bytearray(path.read_bytes())
    if content:
        content[chance.randrange(len(content))] ^= chance.choice((0, 1))
    return bytes(content)


def rewritten(path: Path, chance: random.Random) -> None:
    content = other_bytes(path, chance)
    with path.open("r+b") as file:
        file.write(content)


def touched_back(path: Path, chance: random.Random) -> None:
    status = path.stat()
    rewritten(path, chance)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def replaced(path: Path, chance: random.Random) -> None:
    status, new = path.stat(), path.parent.parent / "new"
    new.write_bytes(other_bytes(path, chance))
    os.utime(new, ns=(status.st_atime_ns, status.st_mtime_ns))
    new.rename(path)


def swapped(path: Path, chance: random.Random) -> None:
    """Two blobs that were both sound get each other's names."""
    other = chance.choice(blobs(path.parent.parent))
    aside = path.parent.parent / "aside"
    path.rename(aside)
    if other != path:
        other.rename(path)
    aside.rename(other)


def cut_off(path: Path, chance: random.Random) -> None:
    os.truncate(path, chance.randrange(path.stat().st_size + 1))


def removed(path: Path, chance: random.Random) -> None:
    path.unlink()


def came_again(path: Path, chance: random.Random) -> None:
    """It is removed and written anew: it may get the same inode."""
    content = other_bytes(path, chance)
    path.unlink()
    path.write_bytes(content)


def linked(path: Path, chance: random.Random) -> None:
    os.link(path, path.parent.parent / f"link-{chance.random()}")


def new(path: Path, chance: random.Random) -> None:
    content = chance.randbytes(chance.randrange(1, 60))
    name = digest_of(content)
    (path.parent / name).write_bytes(content[chance.randrange(2) :])


def other_mode(path: Path, chance: random.Random) -> None:
    path.chmod(chance.choice((0o600, 0o644)))


def copied(path: Path, chance: random.Random) -> None:
    """All files are copies that have the same times, as after a backup was put back."""
    for one in blobs(path.parent.parent):
        shutil.copy2(one, path.parent.parent / "copy")
        (path.parent.parent / "copy").rename(one)


CHANGES: dict[str, Change] = {
    change.__name__: change
    for change in (
        *(rewritten, touched_back, replaced, swapped, cut_off, removed, came_again),
        *(linked, new, other_mode, copied),
    )
}


def blobs(root: Path) -> list[Path]:
    found = sorted((root / "blobs").iterdir())
    return [path for path in found if path.is_file() and not path.is_symlink()]


ROUNDS = st.lists(
    st.tuples(
        st.lists(st.sampled_from(sorted(CHANGES)), max_size=4),
        damages,
        st.one_of(st.none(), st.integers(0, 3)),
        st.booleans(),
    ),
    min_size=1,
    max_size=4,
)


@examples(60)
@given(sketch=sound_caches, rounds=ROUNDS, seed=st.integers(0, 2**32))
def test_whatever_changes_the_findings_are_those_of_a_whole_run(
    sketch: SoundCache,
    rounds: list[tuple[list[str], tuple[Damage, ...], int | None, bool]],
    seed: int,
) -> None:
    chance = random.Random(seed)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "cache"
        build_sound(sketch, root)
        verifying = Verifying(root)
        for changes, what, most, begins in rounds:
            verifying.run(None if begins else LAST, most=most)
            wait_for_the_clock(root)
            for change in changes:
                if there := [path for path in blobs(root) if len(path.name) == 64]:
                    event(change)
                    CHANGES[change](chance.choice(there), chance)
            for damage in what:
                befall(root, damage)
            wait_for_the_clock(root)
            again = verifying.run()
            event("some skipped" if verifying.last.content.known_blobs else "all read")
            found = findings_of(verifying.last)
            assert found == findings_of(verifying.whole()) == expected_findings(root, content=True)
            # What was read then and is sound is not read once more.
            bad = {path.removeprefix("blobs/") for path in found.altered | found.resized}
            assert verifying.run() == bad & again


@examples(100)
@given(
    sizes=st.lists(st.one_of(st.integers(0, 40), st.just(10**15)), max_size=40),
    most=st.integers(1, 60),
    files=st.integers(1, 9),
)
def test_every_file_is_in_one_piece_and_pieces_are_small(
    sizes: list[int], most: int, files: int
) -> None:
    bytes_of = np.array(sizes, dtype=np.int64)
    order = largest_first(np.arange(len(sizes)), bytes_of)
    ordered = bytes_of[order]
    assert ordered.tolist() == sorted(sizes, reverse=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(blob_reading, "FILES_IN_PIECE", files)
        pieces = [ordered[piece].tolist() for piece in pieces_of(ordered, most)]
    assert [size for piece in pieces for size in piece] == ordered.tolist()
    for piece in pieces:
        assert 0 < len(piece) <= files
        assert len(piece) == 1 or sum(piece) <= most
    # Two pieces that follow each other would not fit into one.
    for one, following in pairwise(pieces):
        assert len(one) == files or sum(one) + following[0] > most
