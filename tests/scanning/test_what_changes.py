"""Changes of a cache between two scans: the second one gives the index of a full scan."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
from tests.hazards.steps import listing_again
from tests.support.cachebuilder import CacheBuilder, Corruption, Descriptor, digest_of
from tests.support.clock import wait_for_the_clock
from tests.support.remembered import Remembering

from fastprune.executors.inline import InlineExecutor
from fastprune.reading.chunks import ReadTask

ALL = 7
CHILD = "a@sha256:" + "12" * 32
EDGES = pytest.mark.parametrize("edges", [True, False])


@pytest.fixture
def parents(builder: CacheBuilder, believing: None) -> Remembering:
    """A list in a list; the inner one names a child that is set aside, beside the cache."""
    child = builder.image(CHILD, layers=[builder.blob(10)])
    inner = builder.index("a@sha256:" + "34" * 32, children=[child, "ab" * 32])
    builder.index("a:1", children=[inner])
    builder.index("a:latest", children=[child, child])
    (builder.root / "img" / child).rename(builder.root.parent / "child")
    return Remembering(builder.root)


def child_of(parents: Remembering) -> tuple[Path, Path, Path]:
    """Where the child is now, and where it may be in the cache."""
    aside = parents.root.parent / "child"
    name = _name(parents)
    return aside, parents.root / "img" / name, parents.root / "lts" / name


def _name(parents: Remembering) -> str:
    document = json.loads((parents.root.parent / "child").read_bytes())
    digest: str = document["digest"]
    return digest


def test_a_child_comes_and_goes_and_comes_elsewhere(parents: Remembering) -> None:
    aside, img, lts = child_of(parents)
    assert parents.read_by_scan() == 3
    shutil.copy(aside, img)
    # The child, and the two lists that name it.
    assert parents.read_by_scan() == 3
    assert parents.read_by_scan() == 0
    img.unlink()
    assert parents.read_by_scan() == 0
    shutil.copy(aside, lts)
    assert parents.read_by_scan() == 3
    lts.rename(img)
    assert parents.read_by_scan() == 1
    shutil.copy(img, lts)
    assert parents.read_by_scan() == 1
    img.unlink()
    assert parents.read_by_scan() == 0
    lts.unlink()
    assert parents.read_by_scan() == 0
    assert parents.read_by_scan() == 0


@pytest.mark.parametrize("folder", ["img", "lts"])
def test_a_child_that_comes_broken_and_is_repaired_in_place(
    folder: str, parents: Remembering
) -> None:
    """The folders change when it comes, and not when it is repaired."""
    aside, img, lts = child_of(parents)
    path = img if folder == "img" else lts
    parents.read_by_scan()
    path.write_bytes(b"[]")
    assert parents.read_by_scan() == 3
    assert parents.read_by_scan() >= 1
    wait_for_the_clock(parents.root)
    path.write_bytes(aside.read_bytes())
    assert parents.read_by_scan() == 3
    assert parents.read_by_scan() == 0
    # And it breaks where it is.
    path.write_bytes(b"[]")
    assert parents.read_by_scan() == 1
    path.write_bytes(aside.read_bytes())
    assert parents.read_by_scan() == 3


def test_one_of_two_files_of_a_child_is_broken(parents: Remembering) -> None:
    aside, img, lts = child_of(parents)
    shutil.copy(aside, img)
    lts.write_bytes(b"[]")
    parents.read_by_scan()
    img.unlink()
    parents.read_by_scan()
    shutil.copy(aside, lts)
    parents.read_by_scan()
    img.write_bytes(b"[]")
    parents.read_by_scan()
    shutil.copy(aside, img)
    parents.read_by_scan()
    assert parents.read_by_scan() == 0


def test_a_child_comes_and_goes_while_nothing_can_be_remembered(parents: Remembering) -> None:
    """What was remembered before all that still holds."""
    aside, img, lts = child_of(parents)
    parents.read_by_scan()
    parents.folder.chmod(0o700)
    content, file = parents.file.read_bytes(), parents.file
    changes: tuple[Callable[[], object], ...] = (
        lambda: shutil.copy(aside, img),
        lambda: img.write_bytes(b"[]"),
        lambda: img.rename(lts),
        lambda: shutil.copy(aside, lts),
        lts.unlink,
    )
    for change in changes:
        wait_for_the_clock(parents.root)
        change()
        parents.read_by_scan()
        file.write_bytes(content)


def test_a_list_that_becomes_an_image_and_back(parents: Remembering, builder: CacheBuilder) -> None:
    (path,) = (parents.root / "lts").iterdir()
    before = path.read_bytes()
    parents.read_by_scan()
    builder.image("b:latest", layers=[builder.blob(10)], name=path.name)
    assert parents.read_by_scan() == 1
    wait_for_the_clock(parents.root)
    path.write_bytes(before)
    assert parents.read_by_scan() == 1
    assert parents.read_by_scan() == 0


@EDGES
@pytest.mark.parametrize("missing", ["lts", "blobs"])
def test_a_folder_is_missing_and_comes(
    missing: str, edges: bool, cache: Remembering, builder: CacheBuilder
) -> None:
    aside = cache.root.parent / "aside"
    (cache.root / missing).rename(aside)
    cache.read_by_scan(edges=edges)
    assert cache.read_by_scan(edges=edges) == 0
    aside.rename(cache.root / missing)
    cache.read_by_scan(edges=edges)
    assert cache.read_by_scan(edges=edges) == 0
    (cache.root / missing).rename(aside)
    assert cache.read_by_scan(edges=edges) == 0


@EDGES
def test_an_empty_cache_fills_and_empties(
    edges: bool, builder: CacheBuilder, believing: None
) -> None:
    empty = Remembering(builder.root)
    assert empty.read_by_scan(edges=edges) == 0
    assert empty.read_by_scan(edges=edges) == 0
    path = builder.root / "img" / builder.image("a:1", layers=[builder.blob(10)])
    assert empty.read_by_scan(edges=edges) == 1
    assert empty.read_by_scan(edges=edges) == 0
    path.unlink()
    assert empty.read_by_scan(edges=edges) == 0
    assert empty.read_by_scan(edges=edges) == 0


@EDGES
@pytest.mark.parametrize("chunk", [1, 2, 3, 100])
def test_names_that_are_listed_twice(
    edges: bool, chunk: int, cache: Remembering, builder: CacheBuilder
) -> None:
    patterns = (("a",), ("b",))
    builder.corrupt(Corruption.ARRAY)
    with listing_again():
        for _ in range(2):
            cache.read_by_scan(edges=edges, chunk=chunk, pattern_sets=patterns)
        builder.image("c:1", layers=[builder.blob(5)])
        for path in sorted((cache.root / "img").iterdir())[:2]:
            path.write_bytes(path.read_bytes().replace(b'"a', b'"c'))
        cache.read_by_scan(edges=edges, chunk=chunk, pattern_sets=patterns)
    # One and the same cache, listed once.
    cache.read_by_scan(edges=edges, chunk=chunk, pattern_sets=patterns)
    with listing_again(3):
        cache.read_by_scan(edges=edges, chunk=chunk, pattern_sets=patterns)


@pytest.mark.parametrize("folder", ["img", "lts", "blobs"])
@pytest.mark.parametrize("count", [1, 999, 1000, 1001])
def test_many_foreign_names(folder: str, count: int, cache: Remembering) -> None:
    for number in range(count):
        (cache.root / folder / f"foreign-{number}").touch()
    assert cache.read_by_scan() == ALL
    assert cache.read_by_scan() == 0
    (cache.root / folder / "foreign-0").rename(cache.root / folder / "another")
    assert cache.read_by_scan() == 0
    assert cache.read_by_scan() == 0


def test_foreign_names_that_are_not_utf8(cache: Remembering) -> None:
    for folder in ("img", "lts", "blobs"):
        (cache.root / folder / os.fsdecode(b"odd-\xff\x80")).touch()
        (cache.root / folder / 'a "quoted" \\ name\n\t\u2028').touch()
    assert cache.read_by_scan() == ALL
    assert cache.read_by_scan() == 0


def test_descriptors_that_do_not_agree_about_a_size_are_read_each_time(
    cache: Remembering, builder: CacheBuilder
) -> None:
    present, missing = builder.blob(50), digest_of("missing")
    for blob in (present, missing):
        for size in (50, 60, 60):
            builder.image(f"{blob[:4]}:{size}", layers=[Descriptor(blob, size)])
    alone = builder.image("alone:1", layers=[Descriptor(present, 50), Descriptor(present, 70)])
    agreeing = builder.image("agreeing:1", layers=[builder.blob(51)])
    for edges, chunk in ((False, None), (True, None), (False, 1), (True, 2)):
        cache.read_by_scan(edges=edges, chunk=chunk)
        assert cache.read_by_scan(edges=edges, chunk=chunk) == 5
    # Where only one is left, and gives one size, it can be remembered.
    for path in (cache.root / "img").iterdir():
        if path.name not in (alone, agreeing):
            path.unlink()
    left = len(list((cache.root / "lts").iterdir()))
    assert cache.read_by_scan() == 1
    assert cache.scan(rescan=True)[1] == left + 2


def test_sizes_of_blobs(cache: Remembering, builder: CacheBuilder) -> None:
    """A blob beyond 4 GiB, one without a reference that grows, one whose descriptor says 0."""
    large, orphan, zero = digest_of("large"), digest_of("orphan"), digest_of("zero")
    builder.blob(5 * 2**30, name=large)
    builder.blob(10, name=orphan)
    builder.image("large:1", layers=[large, Descriptor(zero, 0), Descriptor(orphan[::-1], 2**62)])
    cache.read_by_scan()
    os.truncate(cache.root / "blobs" / orphan, 6 * 2**30)
    for edges in (True, False):
        assert cache.read_by_scan(edges=edges) == 0
    index, _ = cache.scan()
    sizes = {index.blob_name(at): int(size) for at, size in enumerate(index.blob_sizes)}
    assert (sizes[large], sizes[orphan], sizes[zero]) == (5 * 2**30, 6 * 2**30, 0)
    # It gets a reference, and loses it.
    path = cache.root / "img" / builder.image("o:1", layers=[Descriptor(orphan, 3)])
    assert cache.read_by_scan() == 1
    path.unlink()
    assert cache.read_by_scan() == 0


def test_a_blob_that_comes_and_goes_and_becomes_a_link(cache: Remembering) -> None:
    missing = cache.root / "blobs" / ("ef" * 32)
    cache.read_by_scan()
    changes: tuple[Callable[[], object], ...] = (
        missing.touch,
        missing.unlink,
        lambda: missing.symlink_to("nowhere"),
        missing.unlink,
        missing.mkdir,
        missing.rmdir,
        missing.touch,
    )
    for change in changes:
        wait_for_the_clock(cache.root)
        change()
        assert cache.read_by_scan() == 0
        assert cache.read_by_scan(edges=False) == 0


@pytest.mark.parametrize("attached", [".sig", ".att", ""])
def test_attached_tags(attached: str, cache: Remembering, builder: CacheBuilder) -> None:
    subject = builder.image("s:1")
    tag = builder.image(f"s:sha256-{subject}{attached}")
    cache.read_by_scan()
    assert cache.read_by_scan() == 0
    index, _ = cache.scan()
    again, _ = cache.scan(rescan=True)
    for name in ("part_parents", "part_rows", "attached"):
        assert getattr(index, name).tolist() == getattr(again, name).tolist()
    (cache.root / "img" / subject).unlink()
    assert cache.read_by_scan() == 0
    index, _ = cache.scan()
    (row,) = (row for row in range(len(index)) if index.path(row) == f"img/{tag}")
    assert not index.attached[row]


def test_a_write_through_another_name_of_a_file_is_seen(
    cache: Remembering, builder: CacheBuilder
) -> None:
    path = f"img/{builder.image('h:1')}"
    other = builder.link(path)
    cache.read_by_scan()
    assert cache.read_by_scan() == 0
    status = other.stat()
    other.write_bytes(other.read_bytes().replace(b'"h:1"', b'"k:1"'))
    os.utime(other, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert cache.read_by_scan() == 1
    # A new name alone changes the ctime as well.
    wait_for_the_clock(cache.root)
    other.unlink()
    assert cache.read_by_scan() == 1


HAZARDS = ("fifo", "socket", "symlink", "directory")


@pytest.mark.parametrize("hazard", HAZARDS)
def test_what_has_the_name_of_a_manifest_and_is_none(
    hazard: str, cache: Remembering, builder: CacheBuilder
) -> None:
    cache.read_by_scan()
    name = min(os.listdir(cache.root / "img"))
    path, aside = cache.root / "img" / name, cache.root.parent / "aside"
    path.rename(aside)
    targets = (aside,) if hazard == "symlink" else ()
    getattr(builder, hazard)("img", *targets, name=name)
    assert cache.read_by_scan() == 0
    assert cache.read_by_scan() == 0
    shutil.rmtree(path) if hazard == "directory" else path.unlink()
    aside.rename(path)
    # The rename has changed its ctime.
    assert cache.read_by_scan() >= 1
    assert cache.read_by_scan() == 0


def touched_back(path: Path, content: bytes) -> None:
    status = path.stat()
    path.write_bytes(content)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def replaced(path: Path, content: bytes) -> None:
    new = path.parent.parent / "new"
    new.write_bytes(content)
    os.utime(new, ns=(path.stat().st_atime_ns, path.stat().st_mtime_ns))
    new.rename(path)


@EDGES
@pytest.mark.parametrize("write", [Path.write_bytes, touched_back, replaced])
def test_a_pull_writes_as_many_bytes(
    write: Callable[[Path, bytes], object], edges: bool, cache: Remembering, builder: CacheBuilder
) -> None:
    path = cache.root / "img" / builder.image("p:1", pulled="2024-01-01T00:00:00")
    cache.read_by_scan(edges=edges)
    wait_for_the_clock(cache.root)
    write(path, path.read_bytes().replace(b"2024-01-01", b"2025-01-01"))
    assert cache.read_by_scan(edges=edges, pattern_sets=(("p",),)) == 1
    wait_for_the_clock(cache.root)
    write(path, path.read_bytes().replace(b'"p:1"', b'"q:1"'))
    assert cache.read_by_scan(edges=edges, pattern_sets=(("p",),)) == 1


def test_odd_times_stay_with_their_rows(cache: Remembering, builder: CacheBuilder) -> None:
    for number, time in enumerate(("", "x" * 100, "2024-13-01T00:00:00", "\u00e9", '"\\\n')):
        builder.image(f"odd:{number}", created=time, pulled=time[::-1])
    cache.read_by_scan()
    # Rows before and after them go and come.
    for name in sorted(os.listdir(cache.root / "img"))[::3]:
        (cache.root / "img" / name).unlink()
    builder.image("new:1")
    assert cache.read_by_scan() == 1
    assert cache.read_by_scan() == 0


def test_a_manifest_that_can_not_be_read_any_more(cache: Remembering) -> None:
    """Root can, and reads it again as well: its ctime has changed."""
    cache.read_by_scan()
    path = next((cache.root / "img").iterdir())
    path.chmod(0)
    assert cache.read_by_scan() == 1
    path.chmod(0o644)
    assert cache.read_by_scan() == 1


def test_of_two_looks_at_a_name_that_is_listed_twice_the_one_that_read_counts(
    builder: CacheBuilder, believing: None
) -> None:
    path = builder.root / "img" / builder.image("a:1")
    cache = Remembering(builder.root)
    with listing_again():
        cache.read_by_scan()

    class Backwards(InlineExecutor):
        """The file is written between the two looks, and the later one is merged first."""

        def map_unordered(
            self, function: Callable[[Any], Iterable[Any]], items: Iterable[Any], *, ahead: int = 1
        ) -> Iterator[Any]:
            results = []
            for item in items:
                results.append(list(function(item)))
                if isinstance(item, ReadTask) and b'"a:1"' in path.read_bytes():
                    wait_for_the_clock(cache.root)
                    path.write_bytes(path.read_bytes().replace(b'"a:1"', b'"b:1"'))
            yield from chain.from_iterable(reversed(results))

    with listing_again():
        index, _ = cache.scan(Backwards(), chunk=1, pattern_sets=(("a",), ("b",)))
    assert (index.url(0), index.url_matches.tolist()) == ("b:1", [2])
