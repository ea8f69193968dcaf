"""Size targets on a disk: the sizes of the files count, and only of files that really go."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from tests.property.running import run
from tests.support.cachebuilder import CacheBuilder, Descriptor

import fastprune
from fastprune import PlanOptions, Policy, PruneReport

DAYS = tuple(f"2024-01-0{day}T00:00:00" for day in range(1, 10))


@pytest.fixture
def builder(tmp_path: Path) -> CacheBuilder:
    """Three images with 10 kB each, pulled one after the other."""
    builder = CacheBuilder(tmp_path / "cache")
    for number in range(3):
        layer = builder.blob(10_000)
        builder.image(f"r/a:{number}", layers=[layer], pulled=DAYS[number])
    return builder


def pruned(builder: CacheBuilder, policy: Policy, *, grace: float = 0) -> PruneReport:
    async def work() -> PruneReport:
        planning = PlanOptions(grace=grace)
        report = await fastprune.prune(builder.root, policy, dry_run=True, planning=planning)
        assert report is not None
        return report

    return run(work)


def largest(builder: CacheBuilder, url: str) -> Path:
    (manifest,) = (
        path for path in (builder.root / "img").iterdir() if f'"{url}"' in path.read_text()
    )
    text = manifest.read_text()
    blobs = [path for path in (builder.root / "blobs").iterdir() if path.name in text]
    return max(blobs, key=lambda path: path.stat().st_size)


def urls(report: PruneReport) -> list[str]:
    return sorted(report.plan.index.urls(report.manifests))


def test_the_sizes_of_files_count_not_those_that_descriptors_give(builder: CacheBuilder) -> None:
    assert urls(pruned(builder, Policy(free_bytes=9_000))) == ["r/a:0"]
    # Cut off by an unclean stop: it frees next to nothing, so the next image goes, too.
    os.truncate(largest(builder, "r/a:0"), 0)
    report = pruned(builder, Policy(free_bytes=9_000))
    assert urls(report) == ["r/a:0", "r/a:1"]
    assert (report.bytes_freed >= 9_000, report.shortfall) == (True, 0)
    os.truncate(largest(builder, "r/a:1"), 0)
    assert urls(pruned(builder, Policy(free_bytes=9_000))) == ["r/a:0", "r/a:1", "r/a:2"]


@pytest.mark.parametrize(
    ("sizes", "oldest_stays"),
    [([10**11], True), ([2**62] * 3, True), ([10**11], False), ([2**62] * 3, False)],
)
def test_descriptors_that_state_far_too_much_make_nothing_go_in_vain(
    sizes: list[int], oldest_stays: bool, builder: CacheBuilder
) -> None:
    for number, size in enumerate(sizes):
        layer = Descriptor(digest=builder.blob(number + 1), size=size)
        builder.image(f"r/liar:{number}", layers=[layer], pulled="2020-01-01T00:00:00")
    total = sum(path.stat().st_size for path in builder.root.rglob("*/*"))
    policy = Policy(max_bytes=total - 9_000, exclude=("liar",) if oldest_stays else ())
    report = pruned(builder, policy)
    assert "r/a:0" in urls(report)
    assert {"r/a:1", "r/a:2"}.isdisjoint(urls(report))
    assert (report.bytes_freed >= 9_000, report.shortfall) == (True, 0)
    assert urls(pruned(builder, Policy(max_bytes=total, exclude=("liar",)))) == []


def test_young_blobs_do_not_count(builder: CacheBuilder) -> None:
    for path in (builder.root / "blobs").iterdir():
        os.utime(path, (0, 0))
    os.utime(largest(builder, "r/a:0"))
    report = pruned(builder, Policy(free_bytes=9_000), grace=3600)
    assert urls(report) == ["r/a:0", "r/a:1"]
    assert len(report.plan.spared_blobs) == 1
    assert report.shortfall == 0


def test_what_is_left_is_no_larger_than_the_target(builder: CacheBuilder) -> None:
    os.truncate(largest(builder, "r/a:0"), 0)
    total = sum(path.stat().st_size for path in builder.root.rglob("*") if path.is_file())
    for target in range(0, total + 10_000, 3_000):
        report = pruned(builder, Policy(max_bytes=target))
        assert total - report.bytes_freed <= target


def test_a_target_that_is_missed_says_by_how_much(builder: CacheBuilder) -> None:
    report = pruned(builder, Policy(patterns=(":0$",), free_bytes=50_000))
    assert urls(report) == ["r/a:0"]
    assert report.shortfall == 50_000 - report.bytes_freed
    assert report.exit_code == 0
    # With a rule that keeps everything, nothing at all goes.
    report = pruned(builder, Policy(keep_since=DAYS[0], free_bytes=50_000))
    assert (urls(report), report.shortfall) == ([], 50_000)
