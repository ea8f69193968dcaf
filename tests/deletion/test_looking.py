"""What the manifests need that are in a cache now, whatever has come since the scan."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tests.support.cachebuilder import CacheBuilder, Corruption, digest_of
from tests.support.scanning import scanned

from fastprune.deletion.looking import Look


class Waits:
    """Counts how often somebody waited, and does something at the first time."""

    def __init__(self, builder: CacheBuilder | None = None, url: str = "") -> None:
        self.count, self._builder, self._url = 0, builder, url

    def __call__(self, _: float) -> None:
        self.count += 1
        if self._builder is not None and self.count == 1:
            self._builder.image(self._url)


def looked(look: Look, name: str) -> bool:
    """Whether a blob is needed."""
    digests = np.frombuffer(bytes.fromhex(name), dtype=np.uint8).reshape(1, 32)
    (needed,) = look.needed_by_name(digests).tolist()
    return bool(needed)


@pytest.fixture
def builder(tmp_path: Path) -> CacheBuilder:
    return CacheBuilder(tmp_path)


def test_manifests_that_are_there_need_their_blobs_until_they_go(builder: CacheBuilder) -> None:
    shared = builder.blob(5)
    builder.image("r.example/a:1", layers=[shared])
    builder.image("r.example/b:1", layers=[shared, shared])
    look = Look(scanned(builder.root))
    assert looked(look, shared)
    look.went(np.array([0]))
    assert looked(look, shared)
    look.went(np.array([1]))
    assert not looked(look, shared)


def test_a_new_manifest_needs_its_blobs_known_or_not(builder: CacheBuilder) -> None:
    orphan, other = builder.blob(5), digest_of("not in the index")
    look = Look(scanned(builder.root))
    assert not looked(look, orphan)
    name = builder.image("r.example/a:1", layers=[orphan, other])
    look.again()
    assert looked(look, orphan)
    assert looked(look, other)
    assert list(look.newcomers) == [f"img/{name}"]
    ids = look.ids_of(np.frombuffer(bytes.fromhex(orphan), dtype=np.uint8).reshape(1, 32))
    assert look.that_need(ids) == [f"img/{name}"]


def test_a_manifest_that_went_and_came_again_is_new(builder: CacheBuilder) -> None:
    name = builder.image("r.example/a:1", layers=[builder.blob(5)])
    look = Look(scanned(builder.root))
    look.went(np.array([0]))
    look.again()
    assert list(look.newcomers) == [f"img/{name}"]


def test_a_manifest_that_is_being_written_is_waited_for(builder: CacheBuilder) -> None:
    whole = CacheBuilder(builder.root.parent / f"{builder.root.name}-other")
    name = whole.image("r.example/a:1")
    builder.raw("img", name, b"")
    index = scanned(builder.root)
    (builder.root / "img" / name).unlink()
    look = Look(index, wait=Waits())
    builder.raw("img", digest_of("new"), b"")
    look.again()
    assert look.unknown == (f"img/{digest_of('new')}",)


def test_a_file_that_is_whole_after_a_wait_is_read(builder: CacheBuilder) -> None:
    waits = Waits(builder, "r.example/a:1")
    look = Look(scanned(builder.root), wait=waits)
    name = CacheBuilder(builder.root.parent / "other").image("r.example/a:1")
    builder.raw("img", name, b"")
    look.again()
    assert (look.unknown, list(look.newcomers), waits.count) == ((), [f"img/{name}"], 1)


@pytest.mark.parametrize("what", ["symlink", "fifo", "garbage"])
def test_what_can_not_be_understood_is_unknown(what: str, builder: CacheBuilder) -> None:
    look = Look(scanned(builder.root))
    if what == "symlink":
        path = builder.symlink("lts", "nowhere")
    elif what == "fifo":
        path = builder.fifo("lts")
    else:
        path = builder.corrupt(Corruption.ARRAY, folder="lts")
    look.again()
    assert look.unknown == (path,)


def test_a_broken_file_that_a_pull_has_healed_counts(builder: CacheBuilder) -> None:
    """It is written in place, so its folder does not change."""
    orphan = builder.blob(5)
    name = CacheBuilder(builder.root.parent / "other").image("r.example/a:1", layers=[orphan])
    builder.raw("img", name, b"[]")
    look = Look(scanned(builder.root))
    look.again()
    assert not looked(look, orphan)
    assert look.unknown == ()
    builder.image("r.example/a:1", layers=[orphan])
    look.again()
    assert looked(look, orphan)
