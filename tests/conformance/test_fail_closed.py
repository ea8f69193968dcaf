"""Rule 2: a manifest that can't be read or understood never counts as one without references."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TypeVar

import pytest
from tests.support.cachebuilder import CacheBuilder, Corruption
from tests.support.documents import Folder
from tests.support.scanning import scanned

from fastprune import CacheIndex, FastpruneError, Policy, UnreadableManifestsError, UsageError
from fastprune.executors.executor import Executor, View
from fastprune.plan.prune_plan import make_plan
from fastprune.reading.folders import ListingPart
from fastprune.reading.shards import ShardIndex

T = TypeVar("T")
R = TypeVar("R")

LIMIT = 1_000_000  # bytes of a manifest: so that a file that is too large need not be large
ORPHANS = Policy(orphans_only=True)

pytestmark = pytest.mark.usefixtures("read_again_at_once")


def scan(root: Path, executor: Executor | None = None, chunk: int | None = None) -> CacheIndex:
    return scanned(root, executor, max_manifest_bytes=LIMIT, chunk=chunk)


@pytest.mark.parametrize("kind", Corruption)
@pytest.mark.parametrize("folder", ["img", "lts"])
def test_a_plan_is_refused_whatever_is_wrong_with_a_manifest(
    kind: Corruption, folder: Folder, tmp_path: Path
) -> None:
    builder = CacheBuilder(tmp_path)
    builder.image("r/sound:1", layers=[builder.blob(1)])
    path = builder.corrupt(kind, folder=folder, size=LIMIT + 1)
    index = scan(tmp_path)
    assert [fault for fault, _ in index.faults] == [path]
    assert index.faults[0][1]
    with pytest.raises(UnreadableManifestsError) as refusal:
        make_plan(index, ORPHANS)
    assert refusal.value.faults == index.faults
    assert refusal.value.exit_code == 4
    if kind is Corruption.TOO_LARGE:
        # It was not read, and may be sound: nobody takes it for absent.
        assert "--skip-corrupt" not in refusal.value.hint
        with pytest.raises(UnreadableManifestsError):
            make_plan(index, ORPHANS, skip_corrupt=True)
        return
    assert "--skip-corrupt" in refusal.value.hint
    # It counts as absent only if --skip-corrupt is given.
    assert make_plan(index, ORPHANS, skip_corrupt=True).is_empty


@pytest.mark.parametrize(
    "digest",
    [
        "sha256:" + "a" * 64 + "\nsha256:" + "b" * 64,
        "\nsha256:" + "a" * 64,
        "sha256:" + "a" * 64 + "\n",
        "sha256:" + "a" * 31 + "\n" + "a" * 32,
        "",
        "\n",
    ],
)
def test_an_odd_digest_is_neither_two_nor_none(digest: str, tmp_path: Path) -> None:
    builder = CacheBuilder(tmp_path)
    name = builder.image("r/a:1", layers=["1a" * 32, "2b" * 32])
    content = (tmp_path / "img" / name).read_bytes()
    escaped = digest.replace("\n", "\\n").encode()
    altered = content.replace(b"sha256:" + b"1a" * 32, escaped)
    assert altered != content
    builder.raw("img", name, altered)
    children = builder.index("r/b:1", children=["1a" * 32])
    content = (tmp_path / "img" / children).read_bytes()
    builder.raw("img", children, content.replace(b"sha256:" + b"1a" * 32, escaped))
    assert {path for path, _ in scan(tmp_path).faults} == {f"img/{name}", f"img/{children}"}


def test_a_manifest_that_can_t_be_opened_is_a_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    builder = CacheBuilder(tmp_path)
    locked = builder.image("r/a:1")
    builder.image("r/b:1")
    real = os.open

    def refuse(path: str, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        if path == locked:
            raise PermissionError(13, "Permission denied")
        return real(path, flags, mode, dir_fd=dir_fd)

    monkeypatch.setattr(os, "open", refuse)
    index = scan(tmp_path)
    assert index.faults == ((f"img/{locked}", "EACCES: Permission denied"),)
    with pytest.raises(UnreadableManifestsError):
        make_plan(index, ORPHANS)


@pytest.mark.parametrize("folder", ["img", "lts", "blobs"])
@pytest.mark.parametrize("instead", ["file", "link"])
def test_a_folder_that_is_none_is_not_an_empty_one(
    folder: str, instead: str, tmp_path: Path
) -> None:
    root = tmp_path / "cache"
    CacheBuilder(root)
    (root / folder).rmdir()
    if instead == "file":
        (root / folder).touch()
    else:
        (tmp_path / "elsewhere").mkdir()
        (root / folder).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(FastpruneError):
        scan(root)


def test_a_folder_that_can_t_be_listed_is_not_an_empty_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    CacheBuilder(tmp_path)
    real = os.open

    def refuse(path: str, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        if str(path).endswith("/lts"):
            raise PermissionError(13, "Permission denied")
        return real(path, flags, mode, dir_fd=dir_fd)

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(FastpruneError, match="can't be listed: Permission denied"):
        scan(tmp_path)


class Losing:
    """An executor that loses some of the results."""

    jobs = 1
    remote = False

    def __init__(self, loses: Callable[[object], bool]) -> None:
        self._loses = loses

    def map_unordered(
        self, function: Callable[[T], Iterable[R]], items: Iterable[T], *, ahead: int = 1
    ) -> Iterator[R]:
        for item in items:
            yield from (result for result in function(item) if not self._loses(result))

    def require(self, view: View) -> None:
        """There is nothing to compare."""

    def close(self) -> None:
        """There is nothing to end."""


@pytest.mark.parametrize(
    "loses",
    [
        lambda result: isinstance(result, ShardIndex),
        lambda result: isinstance(result, ShardIndex) and result.chunk == 1,
        lambda result: isinstance(result, ListingPart) and result.last,
    ],
    ids=["all shards", "one shard", "the end of a listing"],
)
def test_a_scan_that_lost_a_result_is_not_whole(
    loses: Callable[[object], bool], tmp_path: Path
) -> None:
    """Manifests that were never read would count as absent, and their blobs as orphans."""
    builder = CacheBuilder(tmp_path)
    for number in range(3):
        builder.image(f"r/a:{number}", layers=[builder.blob(number + 1)])
    with pytest.raises(FastpruneError):
        scan(tmp_path, Losing(loses), chunk=1)


@pytest.mark.parametrize("chunk", [0, -1])
def test_a_chunk_of_nothing_reads_everything_or_is_refused(chunk: int, tmp_path: Path) -> None:
    builder = CacheBuilder(tmp_path)
    builder.image("r/a:1", layers=[builder.blob(1)])
    try:
        index = scan(tmp_path, chunk=chunk)
    except (UsageError, ValueError):
        return
    assert make_plan(index, ORPHANS).is_empty


def test_an_index_without_references_makes_no_plan(tmp_path: Path) -> None:
    builder = CacheBuilder(tmp_path)
    builder.image("r/a:1", layers=[builder.blob(1)])
    index = scanned(tmp_path, edges=False)
    with pytest.raises(UsageError, match="without references"):
        make_plan(index, ORPHANS)


def test_names_that_are_no_digests_are_never_candidates(tmp_path: Path) -> None:
    builder = CacheBuilder(tmp_path)
    names = ["README", "." + "a" * 63, "A" * 64, "a" * 63, "a" * 65, "a" * 64 + ".tmp"]
    foreign = {builder.raw("blobs", name, b"") for name in names}
    foreign |= {builder.fifo("blobs"), builder.directory("blobs"), builder.symlink("blobs", "/")}
    index = scan(tmp_path)
    assert set(index.foreign) == foreign
    assert make_plan(index, ORPHANS).is_empty
