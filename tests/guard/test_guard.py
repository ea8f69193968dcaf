"""Others that use the cache: another fastprune, a server, and the files that they write."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from tests.support.cachebuilder import CacheBuilder, Corruption, snapshot
from tests.support.elsewhere import Elsewhere
from tests.support.scanning import scanned

from fastprune import FastpruneError, LockedError
from fastprune.executors.processes import ProcessExecutor
from fastprune.guard import drift
from fastprune.guard.drift import new_manifests, replaced_blobs, young_blobs
from fastprune.guard.lock import cache_lock


@contextmanager
def other_process(program: str, *arguments: str, cwd: Path | None = None) -> Iterator[int]:
    """Starts a process and waits until it is ready; returns its id."""
    with subprocess.Popen(
        [sys.executable, "-c", program + "\nprint(flush=True)\nimport time; time.sleep(60)"]
        + list(arguments),
        stdout=subprocess.PIPE,
        cwd=cwd,
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        try:
            yield process.pid
        finally:
            process.kill()


HOLD = "import fcntl, os, sys; fcntl.flock(os.open(sys.argv[1], os.O_RDONLY), fcntl.LOCK_EX)"


# The lock.


def test_the_lock_is_exclusive_and_free_afterwards(tmp_path: Path) -> None:
    root = str(tmp_path)
    with cache_lock(root), pytest.raises(LockedError), cache_lock(root):
        pass
    with cache_lock(root):
        pass


def test_the_lock_is_free_after_an_error(tmp_path: Path) -> None:
    with pytest.raises(KeyError), cache_lock(str(tmp_path)):
        raise KeyError
    with cache_lock(str(tmp_path)):
        pass


def test_locking_changes_nothing_in_the_cache(tmp_path: Path) -> None:
    CacheBuilder(tmp_path)
    before = snapshot(tmp_path)
    with cache_lock(str(tmp_path)):
        assert snapshot(tmp_path) == before
    assert snapshot(tmp_path) == before


def test_the_message_names_the_process_that_holds_the_lock(tmp_path: Path) -> None:
    with other_process(HOLD, str(tmp_path), "\x1b[31mred") as pid:
        with pytest.raises(LockedError) as refusal, cache_lock(str(tmp_path)):
            pass
        message = str(refusal.value)
        assert message.startswith(f"{tmp_path} is locked by process {pid} (")
        # The name of another process is text from outside.
        assert "\x1b" not in message
        assert refusal.value.exit_code == 11
    # The kernel frees it when the process ends, even when it is killed.
    with cache_lock(str(tmp_path)):
        pass


def test_whoever_waits_gets_the_lock_when_it_is_freed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    descriptor = os.open(tmp_path, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    waits: list[float] = []

    def free_it(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == 3:
            fcntl.flock(descriptor, fcntl.LOCK_UN)

    monkeypatch.setattr(time, "sleep", free_it)
    checks: list[int] = []
    with cache_lock(str(tmp_path), wait=60, checkpoint=lambda: checks.append(1)):
        pass
    os.close(descriptor)
    assert len(waits) == len(checks) == 3
    assert max(waits) <= 0.2


def test_waiting_ends_in_time_or_when_it_is_told_to(tmp_path: Path) -> None:
    def stop() -> None:
        raise KeyboardInterrupt

    with cache_lock(str(tmp_path)):
        began = time.monotonic()
        with pytest.raises(LockedError), cache_lock(str(tmp_path), wait=0.05):
            pass
        assert 0.05 <= time.monotonic() - began < 5
        with pytest.raises(KeyboardInterrupt), cache_lock(str(tmp_path), 60, stop):
            pass


def test_a_file_system_that_can_t_lock_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(descriptor: int, operation: int) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(FastpruneError, match="can't be locked: Operation not supported"):
        with cache_lock(str(tmp_path)):
            pass


# Blobs and manifests that were written after the scan.


def test_young_blobs_are_those_written_since(tmp_path: Path) -> None:
    builder = CacheBuilder(tmp_path)
    ages = {builder.blob(size): age for size, age in ((1, 0), (2, 100), (3, 10_000), (4, -500))}
    now = time.time()
    for name, age in ages.items():
        os.utime(tmp_path / "blobs" / name, (now - age, now - age))
    index = scanned(tmp_path)
    (tmp_path / "blobs" / next(iter(ages))).unlink()  # one that is gone is not young
    blobs = np.arange(index.blobs_present)
    young = {
        index.blob_digests[blob].tobytes().hex()
        for blob in young_blobs(index, blobs, 1000).tolist()
    }
    assert {ages[name] for name in young} == {100, -500}
    assert young_blobs(index, blobs[:0], 1000).tolist() == []


def test_new_manifests_are_those_that_were_not_there_or_were_removed(tmp_path: Path) -> None:
    builder = CacheBuilder(tmp_path)
    stays, goes, returns = (builder.image(f"r/a:{number}") for number in range(3))
    builder.corrupt(Corruption.LAYER_DIGEST)
    index = scanned(tmp_path)
    paths = [index.path(row) for row in range(len(index))]
    removed = np.array([path != f"img/{stays}" for path in paths])
    (tmp_path / "img" / goes).unlink()
    (tmp_path / "img" / returns).rename(tmp_path / "img" / returns)
    twin = builder.tag(stays, "r/a:latest")
    other = builder.index("r/b:1")
    builder.raw("img", "README", b"")
    assert new_manifests(index, removed) == (
        *sorted([f"img/{returns}", f"img/{other}"]),
        f"lts/{twin}",
    )


def test_nothing_new_is_nothing(tmp_path: Path) -> None:
    builder = CacheBuilder(tmp_path)
    builder.image("r/a:1")
    index = scanned(tmp_path)
    (tmp_path / "lts").rmdir()
    assert new_manifests(index, np.zeros(len(index), dtype=bool)) == ()


def test_workers_find_the_same_young_blobs(tmp_path: Path) -> None:
    builder = CacheBuilder(tmp_path)
    now = time.time()
    for number in range(300):
        path = tmp_path / "blobs" / builder.blob(number)
        os.utime(path, (now - number, now - number))
    os.utime(path, (-(2**34), -(2**34)))
    index = scanned(tmp_path)
    blobs = np.arange(0, index.blobs_present, 2)
    executor = ProcessExecutor(3)
    try:
        young = young_blobs(index, blobs, 100, executor=executor)
    finally:
        executor.close()
    assert young.tolist() == young_blobs(index, blobs, 100).tolist()
    assert 0 < len(young) < len(blobs)


@pytest.mark.parametrize("waits", ["", "nfs4"])
def test_replaced_blobs_are_found_by_names_and_by_a_listing(
    waits: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    builder = CacheBuilder(tmp_path)
    names = [builder.blob(number) for number in range(40)]
    index = scanned(tmp_path)
    (tmp_path / "blobs" / names[0]).unlink()
    (tmp_path / "blobs" / names[0]).symlink_to("/dev/null")
    (tmp_path / "blobs" / names[1]).unlink()
    monkeypatch.setattr(drift, "where_it_waits", lambda folders: waits)
    everything = np.arange(index.blobs_present)
    for blobs in (everything, everything[::-1][-5:], everything[5:]):
        odd = blobs[replaced_blobs(index, blobs)].tolist()
        of_them = {index.blob_digests[blob].tobytes().hex() for blob in blobs.tolist()}
        found = {index.blob_digests[blob].tobytes().hex() for blob in odd}
        assert found == {names[0]} & of_them


def test_a_blob_that_a_worker_elsewhere_does_not_see_yet_is_young(tmp_path: Path) -> None:
    """Else it would be deleted while a client pulls the image that needs it."""
    builder = CacheBuilder(tmp_path / "cache")
    for size in range(1, 5):
        builder.blob(size)
    seen = tmp_path / "seen"
    shutil.copytree(builder.root, seen)
    first, *others = (seen / "blobs").iterdir()
    first.unlink()
    for blob in others:
        os.utime(blob, (1, 1))
    index = scanned(builder.root)
    blobs = np.arange(index.blobs_present)
    young = young_blobs(index, blobs, 1000, executor=Elsewhere(builder.root, seen))
    assert young.tolist() == blobs.tolist()
