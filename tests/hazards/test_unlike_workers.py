"""Workers that see something else at the path of the cache: refused by name, nothing is deleted.

/proc/self/cwd leads each process to its own working folder (proc(5)): so one path is another cache
to a worker, as with a mount that is missing or wrong there.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.cachebuilder import CacheBuilder, snapshot
from tests.support.dask_clusters import Cluster, cluster
from tests.support.scanning import scanned

import fastprune
from fastprune import ClusterError, DeleteLimits, Exclusion, Policy
from fastprune.pipeline import Reading

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")

ROOT = Path("/proc/self/cwd/cache")


@pytest.fixture
def ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of this process, with a cache in it."""
    folder = tmp_path / "ours"
    builder = CacheBuilder(folder / "cache")
    for number in range(5):
        builder.image(f"r/a:{number}", layers=[builder.blob(number + 1)])
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def alike(ours: Path) -> Iterator[Cluster]:
    """A cluster with a worker that sees the same cache."""
    with cluster() as opened:
        opened.add_worker(folder=str(ours))
        yield opened


def without_a_cache(ours: Path, theirs: Path) -> str:
    return f"there is no folder {ROOT}"


def with_a_copy(ours: Path, theirs: Path) -> str:
    shutil.copytree(ours / "cache", theirs / "cache")
    return rf"it sees another folder at {ROOT} \(inode "


async def prune(address: str) -> object:
    return await fastprune.prune(
        ROOT,
        Policy(patterns=("r/a:1",)),
        reading=Reading(dask=address),
        exclusion=Exclusion(force=True),
        applying=fastprune.ApplyOptions(delete_limits=DeleteLimits(allow_remove_all=True)),
    )


@pytest.mark.anyio
@pytest.mark.parametrize("change", [without_a_cache, with_a_copy])
async def test_a_worker_that_sees_another_cache_is_named_and_nothing_is_deleted(
    change: object, ours: Path, alike: Cluster, tmp_path: Path
) -> None:
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    said = change(ours, theirs)  # type: ignore[operator]
    worker = alike.add_worker(folder=str(theirs))
    before = snapshot(ours / "cache")
    with pytest.raises(ClusterError, match=f"worker {worker}: {said}"):
        await prune(alike.address)
    assert snapshot(ours / "cache") == before


@pytest.mark.anyio
async def test_workers_that_see_the_same_cache_are_believed(ours: Path, alike: Cluster) -> None:
    report = await prune(alike.address)
    assert report is not None
    left = scanned(ours / "cache")
    assert len(left) == 4
    assert left.blobs_present == 8


def test_such_a_worker_that_comes_later_is_refused_before_its_results_count(
    ours: Path, alike: Cluster, tmp_path: Path
) -> None:
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    with_a_copy(ours, theirs)
    came: list[str] = []

    with alike.executor() as executor:
        handed_out = executor.map_unordered

        def come(*args: object) -> object:
            # The others have been compared by now, and the work begins.
            came.append(alike.add_worker(folder=str(theirs)))
            alike.kill_worker(0)
            return handed_out(*args)  # type: ignore[arg-type]

        executor.map_unordered = come  # type: ignore[assignment, method-assign]
        with pytest.raises(ClusterError, match="it sees another folder") as refused:
            scanned(ROOT, executor)
    assert f"worker {came[0]}: " in str(refused.value)


def test_a_cache_that_changes_meanwhile_is_compared_as_it_is_now(
    ours: Path, alike: Cluster
) -> None:
    """A server goes on writing: what a later worker sees is compared with what is there then."""
    with alike.executor() as executor:
        handed_out = executor.map_unordered

        def come(*args: object) -> object:
            for manifest in (ours / "cache" / "img").iterdir():
                manifest.write_bytes(manifest.read_bytes() + b" ")
            alike.add_worker(folder=str(ours))
            alike.kill_worker(0)
            return handed_out(*args)  # type: ignore[arg-type]

        executor.map_unordered = come  # type: ignore[assignment, method-assign]
        assert len(scanned(ROOT, executor)) == 5


@pytest.mark.anyio
async def test_a_relative_path_is_refused(alike: Cluster) -> None:
    with pytest.raises(fastprune.UsageError, match="absolute path"):
        await fastprune.scan("cache", reading=Reading(dask=alike.address))
