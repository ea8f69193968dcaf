"""Which blobs a sample contains, what a worker reads, and how findings add up."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from tests.support.cachebuilder import CacheBuilder, digest_of
from tests.support.clock import nothing_is_racy, wait_for_the_clock
from tests.support.scanning import scanned

import fastprune
from fastprune import (
    ApplyOptions,
    CacheIndex,
    Limits,
    Reading,
    ScanOptions,
    StateFolder,
    VerifyOptions,
)
from fastprune.reading.blob_contents import HashTask, hash_files
from fastprune.reading.marks import Verdict
from fastprune.verification.findings import sampled
from fastprune.verification.repair_plan import plan_repair
from fastprune.verification.repair_report import planned_report

BLOBS = 400


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> CacheIndex:
    builder = CacheBuilder(tmp_path_factory.mktemp("cache"))
    for number in range(BLOBS):
        builder.blob(b"%d" % number)
    return scanned(builder.root)


@pytest.mark.parametrize(("share", "count"), [(0.001, 1), (0.05, 20), (0.5, 200), (1, BLOBS)])
def test_a_sample_has_its_share_of_distinct_blobs(
    share: float, count: int, index: CacheIndex
) -> None:
    chosen = sampled(index, share, 7)
    assert len(chosen) == count
    assert (np.diff(chosen) > 0).all()
    assert chosen[-1] < BLOBS
    assert chosen.tolist() == sampled(index, share, 7).tolist()


def test_samples_of_many_seeds_leave_no_blob_out(index: CacheIndex) -> None:
    seen = np.zeros(BLOBS, dtype=int)
    for seed in range(100):
        seen[sampled(index, 0.1, seed)] += 1
    assert seen.sum() == 10 * BLOBS
    assert seen.min() > 0
    # Ten on average: no blob is preferred.
    assert seen.max() < 30
    assert len(sampled(index, 0.1, 2**64 - 1)) == BLOBS // 10


def test_a_sample_of_no_blobs_is_empty(tmp_path: Path) -> None:
    CacheBuilder(tmp_path)
    assert sampled(scanned(tmp_path), 0.5, 1).tolist() == []


def test_a_large_blob_is_told_of_in_parts(tmp_path: Path) -> None:
    builder = CacheBuilder(tmp_path)
    good, bad = builder.blob(1000), builder.blob(b"other", name=digest_of("bad"))
    gone = digest_of("gone")
    digests = bytes.fromhex(good + bad + gone)
    task = HashTask(str(tmp_path / "blobs"), 40, digests)
    parts = list(hash_files(task, buffer_bytes=100, part_bytes=250))
    assert [part.size for part in parts] == [300, 300, 300, 105]
    assert sum(part.files for part in parts) == 3
    odd = [one for part in parts for one in part.odd]
    assert [(one.position, one.verdict) for one in odd] == [
        (41, Verdict.ALTERED),
        (42, Verdict.GONE),
    ]
    status = (tmp_path / "blobs" / bad).stat()
    assert odd[0].mark == (status.st_ino, 5, status.st_mtime_ns)


def test_reading_blobs_leaves_access_times_alone(tmp_path: Path) -> None:
    builder = CacheBuilder(tmp_path)
    name = builder.blob(1000)
    path = tmp_path / "blobs" / name
    os.utime(path, ns=(1, 2))
    task = HashTask(str(tmp_path / "blobs"), 0, bytes.fromhex(name))
    assert [part.odd for part in hash_files(task)] == [()]
    assert path.stat().st_atime_ns == 1


@pytest.mark.anyio
@pytest.mark.usefixtures("no_blocking")
async def test_the_library_does_not_read_again_what_was_verified(tmp_path: Path) -> None:
    builder = CacheBuilder(tmp_path / "cache")
    builder.image("a:1", layers=[builder.blob(100)])
    scan = ScanOptions(state=StateFolder(str(tmp_path / "state")))
    how = VerifyOptions(scan, content=True, content_since="last")
    with nothing_is_racy():
        wait_for_the_clock(builder.root)
        first = await fastprune.verify(builder.root, how, reading=Reading(jobs=1))
        assert (first.content.blobs, first.content.since) == (2, None)
        again = await fastprune.verify(builder.root, how, reading=Reading(jobs=1))
        assert (again.content.blobs, again.content.known_blobs) == (0, 2)
        moment = datetime.now(UTC) + timedelta(hours=-1)
        how = VerifyOptions(scan, content=True, content_since=moment)
        async with fastprune.locked(builder.root, force=True) as cache:
            since = await cache.verify(how)
    assert (since.content.blobs, since.content.known_blobs, since.is_clean) == (0, 2, True)


@pytest.mark.anyio
@pytest.mark.usefixtures("no_blocking")
async def test_the_verbs_block_no_event_loop(tmp_path: Path) -> None:
    builder = CacheBuilder(tmp_path / "cache")
    blob = builder.blob(100)
    builder.image("a:1", layers=[blob])
    os.truncate(builder.root / "blobs" / blob, 10)
    findings = await fastprune.verify(builder.root, VerifyOptions(content=True))
    assert (findings.exit_code, findings.damaged_manifests, findings.damaged_blobs) == (3, 1, 1)
    run = "20261126T000000Z-000000"
    planned = planned_report(plan_repair(findings))
    assert (planned.count("blob", "image"), planned.exit_code) == (2, 3)
    async with fastprune.locked(builder.root, force=True) as cache:
        found = await cache.verify(VerifyOptions(content=True))
        report = await cache.repair(found, ApplyOptions(run=run, limits=Limits(1)))
    assert (report.count("blob", "image"), report.exit_code, report.trash_run) == (2, 0, run)
    again = await fastprune.verify(builder.root, reading=Reading(jobs=1))
    assert again.is_clean
    async with fastprune.locked(builder.root, force=True) as cache:
        nothing = await cache.repair(await cache.verify(), ApplyOptions(run=run))
    assert (nothing.exit_code, nothing.trash_run, nothing.size) == (0, "", 0)
