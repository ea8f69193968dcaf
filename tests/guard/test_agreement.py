"""Whether the server of `--server` serves this cache: its list, and what it writes."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import TypeVar

import anyio
import numpy as np
import pytest
from tests.support.cachebuilder import CacheBuilder, digest_of
from tests.support.fake_server import FakeServer
from tests.support.scanning import scanned

from fastprune import WrongServerError
from fastprune.guard import agreement
from fastprune.guard.agreement import Touched, make_sure
from fastprune.index.cache_index import CacheIndex
from fastprune.index.refcounts import Mask

T = TypeVar("T")
A = "docker.io/library/a"
ONE, TWO = digest_of("1"), digest_of("2")


def run(work: Callable[[], Awaitable[T]]) -> T:
    async def main() -> T:
        return await work()

    return anyio.run(main)


def index_of(server: FakeServer) -> CacheIndex:
    listing = run(server.listing)
    server.asked.clear()
    return scanned(server.root, listing=listing)


def sure(server: FakeServer, index: CacheIndex | None = None, **how: object) -> Touched | None:
    index = index_of(server) if index is None else index
    return run(partial(make_sure, server, index, **how))  # type: ignore[arg-type]


def refusal(server: FakeServer, index: CacheIndex | None = None, **how: object) -> WrongServerError:
    with pytest.raises(WrongServerError) as error:
        sure(server, index, **how)
    assert error.value.exit_code == 11
    return error.value


@pytest.fixture
def builder(tmp_path: Path) -> CacheBuilder:
    return CacheBuilder(tmp_path)


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agreement, "_PAUSES", (0, 0, 0, 0))


# The files of what is listed.


def test_a_server_that_agrees_is_asked_for_one_manifest(
    builder: CacheBuilder, tmp_path: Path
) -> None:
    old = builder.image(f"{A}:1", pulled="2024-01-01T00:00:00")
    new = builder.image(f"{A}:2", pulled="2024-06-01T00:00:00")
    server = FakeServer(tmp_path, [(f"{A}:1", old), (f"{A}:2", new)])
    touched = sure(server)
    assert touched is not None
    assert (touched.url, touched.path) == (f"{A}:2", f"img/{new}")
    # Two writes have to be seen: other clients may pull it at the same moment.
    assert server.asked == [("head", (f"{A}:2",))] * 2


def test_entries_without_a_file_refuse_and_are_named(builder: CacheBuilder, tmp_path: Path) -> None:
    image = builder.image(f"{A}:1")
    strangers = [(f"{A}:{number}", digest_of(f"{number}")) for number in range(100, 130)]
    server = FakeServer(tmp_path, [(f"{A}:1", image), *strangers])
    error = refusal(server)
    lines = str(error).splitlines()
    assert lines[0] == f"the server lists 30 manifests that have no files in {tmp_path}:"
    assert lines[1] == f"  {A}:100 sha256:{digest_of('100')}"
    assert len(lines) == 22
    assert lines[-1] == "  and 10 more"
    assert "verify --server URL --repair" in error.hint
    assert "head" not in {method for method, _ in server.asked}


def test_one_entry_without_a_file_refuses(builder: CacheBuilder, tmp_path: Path) -> None:
    image = builder.image(f"{A}:1")
    server = FakeServer(tmp_path, [(f"{A}:1", image), (f"{A}:latest", image)])
    error = refusal(server)  # a tag `latest` has its file in another folder
    expected = f"the server lists 1 manifest that has no file in {tmp_path}:"
    assert str(error).splitlines()[0] == expected
    assert sure(server, healing=True) is not None


def test_what_is_pulled_meanwhile_is_no_difference(builder: CacheBuilder, tmp_path: Path) -> None:
    image = builder.image(f"{A}:1")
    server = FakeServer(tmp_path, [(f"{A}:1", image), (f"{A}:2", TWO)])
    index = index_of(server)
    (tmp_path / "img" / TWO).write_bytes(b"{")
    assert sure(server, index) is not None
    assert [method for method, _ in server.asked] == ["head", "head"]


def test_what_is_written_while_the_server_is_asked_is_no_difference(
    builder: CacheBuilder, tmp_path: Path
) -> None:
    image = builder.image(f"{A}:1")
    server = FakeServer(tmp_path, [(f"{A}:1", image), (f"{A}:2", TWO)])
    index = index_of(server)
    server.before = lambda method: (tmp_path / "img" / TWO).touch()
    assert sure(server, index) is not None
    assert server.asked[0] == ("listing", (f"{A}:2",))


@pytest.mark.parametrize("digest", [None, ONE])
def test_what_is_removed_or_moved_meanwhile_is_no_difference(
    digest: str | None, builder: CacheBuilder, tmp_path: Path
) -> None:
    image = builder.image(f"{A}:1")
    server = FakeServer(tmp_path, [(f"{A}:1", image), (f"{A}:2", TWO)])
    index = index_of(server)
    if digest is None:
        del server.entries[f"{A}:2"]
    else:
        server.entries[f"{A}:2"] = digest
    assert sure(server, index) is not None


def test_many_entries_without_files_are_looked_up_in_the_whole_list(
    builder: CacheBuilder, tmp_path: Path
) -> None:
    image = builder.image(f"{A}:1")
    strangers = [(f"{A}:{number}", digest_of(f"{number}")) for number in range(100, 300)]
    server = FakeServer(tmp_path, [(f"{A}:1", image), *strangers])
    assert "200 manifests" in str(refusal(server))
    assert server.asked == [("listing", ())] * 2


def test_a_manifest_that_can_t_be_read_has_a_file(builder: CacheBuilder, tmp_path: Path) -> None:
    image = builder.image(f"{A}:1")
    builder.raw("img", TWO, b"{")
    server = FakeServer(tmp_path, [(f"{A}:1", image), (f"{A}:2", TWO)])
    assert sure(server) is not None


# What the server has to know.


def test_an_empty_list_refuses_while_there_are_whole_manifests(
    builder: CacheBuilder, tmp_path: Path
) -> None:
    builder.image(f"{A}:1")
    error = refusal(FakeServer(tmp_path, []))
    assert str(error) == (
        f"the server knows 0 of the 1 whole manifest in {tmp_path}: it serves another cache, or "
        "has not loaded this one"
    )
    assert "restart it" in error.hint


def test_an_empty_list_of_an_empty_cache_needs_no_proof(
    builder: CacheBuilder, tmp_path: Path
) -> None:
    server = FakeServer(tmp_path, [])
    assert sure(server) is None
    assert not server.asked
    # A server does not load what lacks a blob, so this says nothing about it.
    image = builder.image(f"{A}:1")
    (tmp_path / "blobs").rename(tmp_path / "away")
    (tmp_path / "blobs").mkdir()
    assert sure(server) is None
    assert image in os.listdir(tmp_path / "img")


def test_less_than_half_of_the_whole_manifests_is_another_cache(
    builder: CacheBuilder, tmp_path: Path
) -> None:
    images = [builder.image(f"{A}:{number}") for number in range(5)]
    known = [(f"{A}:{number}", image) for number, image in enumerate(images)]
    assert "knows 2 of the 5 whole manifests" in str(refusal(FakeServer(tmp_path, known[:2])))
    assert sure(FakeServer(tmp_path, known[:3])) is not None
    assert "knows 2 of the 5" in str(refusal(FakeServer(tmp_path, known[:2]), healing=True))


def test_manifests_that_share_a_url_are_known_by_it(builder: CacheBuilder, tmp_path: Path) -> None:
    """`load` writes a list and its images with one tag: the server lists one of them."""
    images = [builder.image(f"{A}:1") for _ in range(3)]
    assert sure(FakeServer(tmp_path, [(f"{A}:1", images[0])])) is not None


def test_a_url_in_capital_letters_is_never_listed(builder: CacheBuilder, tmp_path: Path) -> None:
    image = builder.image(f"{A}:1")
    for number in range(3):
        builder.image(f"{A}:1.{number}-RC1")
    assert sure(FakeServer(tmp_path, [(f"{A}:1", image)])) is not None


# What the server writes.


def test_a_replica_with_the_same_images_does_not_write_here(
    builder: CacheBuilder, tmp_path: Path
) -> None:
    image = builder.image(f"{A}:1")
    server = FakeServer(tmp_path / "replica", [(f"{A}:1", image)])
    (tmp_path / "replica" / "img").mkdir(parents=True)
    index = scanned(tmp_path, listing=run(server.listing))
    error = refusal(server, index)
    path = tmp_path / "img" / image
    assert str(error) == f"the server answered for {A}:1, but its file did not change: {path}"


def test_one_write_may_be_that_of_another_client(builder: CacheBuilder, tmp_path: Path) -> None:
    image = builder.image(f"{A}:1")
    server = FakeServer(tmp_path / "replica", [(f"{A}:1", image)])
    (tmp_path / "replica" / "img").mkdir(parents=True)
    index = scanned(tmp_path, listing=run(server.listing))
    writes = iter([True])

    def pulled_once(method: str) -> None:
        if method == "head" and next(writes, False):
            os.utime(tmp_path / "img" / image, (1, 1))

    server.before = pulled_once
    assert "did not change" in str(refusal(server, index))


def test_a_file_that_vanishes_proves_nothing(builder: CacheBuilder, tmp_path: Path) -> None:
    image = builder.image(f"{A}:1")
    server = FakeServer(tmp_path / "replica", [(f"{A}:1", image)])
    (tmp_path / "replica" / "img").mkdir(parents=True)
    index = scanned(tmp_path, listing=run(server.listing))
    server.before = lambda method: (tmp_path / "img" / image).unlink(missing_ok=True)
    assert "did not change" in str(refusal(server, index))


def test_a_coarse_clock_is_waited_for(
    builder: CacheBuilder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = builder.image(f"{A}:1")
    server = FakeServer(tmp_path, [(f"{A}:1", image)])
    index = index_of(server)
    real, writes = agreement._state, iter([1, 1, 1, 1, 1, 1, 1, 2, 2, 3])
    monkeypatch.setattr(agreement, "_state", lambda path: real(path) and (next(writes),))
    assert sure(server, index) is not None
    assert len(server.asked) == 5


def test_which_manifest_is_asked_for(builder: CacheBuilder, tmp_path: Path) -> None:
    """One that stays; not `latest`; by the URL that the file shows; by tag; pulled last."""
    times = [f"2024-0{month}-01T00:00:00" for month in range(1, 8)]
    digest = digest_of("by digest")
    urls = [
        f"{A}:1",
        f"{A}:2",
        f"{A}@sha256:{digest}",
        "registry.k8s.io/a/b/c/d/e:1",
        "host:5000/x:1",
        f"{A}:latest",
        f"{A}:goes",
    ]
    images = [
        builder.image(url, pulled=time, name=digest if "@" in url else None)
        for url, time in zip(urls, times, strict=True)
    ]
    server = FakeServer(tmp_path, zip(urls, images, strict=True))
    index = index_of(server)
    going = np.array([index.url(row) == f"{A}:goes" for row in range(len(index))])

    def asked_for(going: Mask) -> str:
        server.asked.clear()
        touched = sure(server, index, going=going)
        assert touched is not None
        return touched.url

    expected = ["host:5000/x:1", f"{A}:2", f"{A}:1", f"{A}@sha256:{digest}", f"{A}:latest"]
    for url in [*expected, f"{A}:goes"]:
        assert asked_for(going) == url
        going = going | np.array([index.url(row) == url for row in range(len(index))])


def test_a_tag_that_the_file_does_not_show_is_asked_for_last(
    builder: CacheBuilder, tmp_path: Path
) -> None:
    twice = builder.image(f"{A}:2", pulled="2024-06-01T00:00:00")
    image = builder.image(f"{A}:1", pulled="2024-01-01T00:00:00")
    server = FakeServer(tmp_path, [(f"{A}:3", twice), (f"{A}:1", image)])
    touched = sure(server)
    assert touched is not None
    assert touched.url == f"{A}:1"
    only = sure(FakeServer(tmp_path, [(f"{A}:3", twice)]))
    assert only is not None
    assert only.url == f"{A}:3"


def test_what_has_no_path_at_the_server_can_t_be_asked_for(
    builder: CacheBuilder, tmp_path: Path
) -> None:
    url = "registry.k8s.io/a/b/c/d/e:1"
    image = builder.image(url)
    assert "can't be known" in str(refusal(FakeServer(tmp_path, [(url, image)])))


def test_an_entry_without_a_file_is_written_if_there_is_nothing_else(
    builder: CacheBuilder, tmp_path: Path
) -> None:
    server = FakeServer(tmp_path, [(f"{A}:1", ONE)])
    touched = sure(server, healing=True)
    assert touched == Touched(f"{A}:1", f"img/{ONE}", None)
    (tmp_path / "img" / ONE).unlink()
    other = FakeServer(tmp_path / "other", [(f"{A}:1", ONE)])
    (tmp_path / "other" / "img").mkdir(parents=True)
    index = scanned(tmp_path, listing=run(other.listing))
    assert "did not change" in str(refusal(other, index, healing=True))
