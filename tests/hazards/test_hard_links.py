"""Files with other hard links: removing them makes the cache smaller, but frees nothing."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pytest
from tests.cli.inside import run_inside
from tests.property.running import run
from tests.support.cachebuilder import CacheBuilder, files
from tests.support.schemas import as_written

import fastprune
from fastprune import ApplyOptions, DeleteLimits, Exclusion, Policy, PruneReport
from fastprune.report.prune_rendering import as_document, text_lines
from fastprune.report.prune_report import planned_report

DAYS = tuple(f"2024-01-0{day}T00:00:00" for day in range(1, 10))
SIZE = 10_000


@pytest.fixture
def builder(tmp_path: Path) -> CacheBuilder:
    """Six images with 10 kB each, pulled one after the other, and an orphan of 10 kB."""
    builder = CacheBuilder(tmp_path / "cache")
    for number in range(6):
        builder.image(f"r/a:{number}", layers=[builder.blob(SIZE)], pulled=DAYS[number])
    builder.blob(SIZE)
    return builder


def pruned(builder: CacheBuilder, policy: Policy, *, dry_run: bool = True) -> PruneReport:
    async def work() -> PruneReport:
        report = await fastprune.prune(
            builder.root,
            policy,
            dry_run=dry_run,
            exclusion=Exclusion(force=True),
            applying=ApplyOptions(delete_limits=DeleteLimits(allow_remove_all=True)),
        )
        assert report is not None
        return report

    return run(work)


def urls(report: PruneReport) -> list[str]:
    return sorted(report.plan.index.urls(report.manifests))


def paths_of(builder: CacheBuilder, url: str) -> list[str]:
    """The manifest of an image and its blobs."""
    (manifest,) = (
        path for path in (builder.root / "img").iterdir() if f'"{url}"' in path.read_text()
    )
    text = manifest.read_text()
    blobs = [path for path in (builder.root / "blobs").iterdir() if path.name in text]
    return [str(path.relative_to(builder.root)) for path in (manifest, *blobs)]


def link_all(builder: CacheBuilder, *urls_of_images: str) -> None:
    for url in urls_of_images:
        for path in paths_of(builder, url):
            builder.link(path)


def size_of(builder: CacheBuilder, *paths: str) -> int:
    return sum((builder.root / path).stat().st_size for path in paths)


@pytest.mark.parametrize("dry_run", [True, False])
def test_the_totals_tell_what_comes_free_from_what_does_not(
    builder: CacheBuilder, dry_run: bool
) -> None:
    every = size_of(builder, *files(builder.root))
    linked = size_of(builder, *paths_of(builder, "r/a:1"))
    link_all(builder, "r/a:1")
    report = pruned(builder, Policy(patterns=(".",)), dry_run=dry_run)
    assert (report.bytes_freed, report.bytes_linked) == (every - linked, linked)
    totals = as_document(report, summary=True)["totals"]
    assert (totals["bytes"], totals["bytes_linked"]) == (every - linked, linked)
    line = f"Bytes of files with other hard links, which free nothing: {linked} ("
    assert any(text.startswith(line) for text in text_lines(report, summary=True))


def test_without_other_names_nothing_is_said_of_them(builder: CacheBuilder) -> None:
    report = pruned(builder, Policy(patterns=(".",)))
    assert report.bytes_linked == 0
    assert not any("hard links" in line for line in text_lines(report, summary=True))


def test_each_file_is_shown_with_its_own_size(builder: CacheBuilder) -> None:
    link_all(builder, "r/a:0")
    document = as_written(as_document(pruned(builder, Policy(patterns=(":0$",))), summary=False))
    assert max(one["bytes"] for one in document["blobs"]) == SIZE


def test_a_manifest_alone_or_an_orphan_alone_may_have_another_name(builder: CacheBuilder) -> None:
    manifest, *blobs = paths_of(builder, "r/a:0")
    builder.link(manifest)
    report = pruned(builder, Policy(patterns=(":0$",)))
    assert report.bytes_linked == size_of(builder, manifest)
    assert report.bytes_freed == size_of(builder, *blobs) + SIZE
    needed = {path for number in range(6) for path in paths_of(builder, f"r/a:{number}")}
    (orphan,) = files(builder.root) - needed
    builder.link(orphan)
    report = pruned(builder, Policy(orphans_only=True))
    assert (report.bytes_freed, report.bytes_linked) == (0, SIZE)


def test_two_names_in_the_cache_that_both_go_count_as_not_freed(builder: CacheBuilder) -> None:
    manifest = paths_of(builder, "r/a:0")[0]
    other = builder.root / "lts" / Path(manifest).name
    other.hardlink_to(builder.root / manifest)
    report = pruned(builder, Policy(patterns=(":0$",)), dry_run=False)
    assert not (builder.root / manifest).exists()
    assert not other.exists()
    assert report.bytes_linked == len(report.manifests) * report.plan.index.file_sizes[0] > 0


def test_bytes_to_free_are_reached_by_what_comes_free(builder: CacheBuilder) -> None:
    # The orphan frees 10 kB, each image as much.
    assert urls(pruned(builder, Policy(free_bytes=25_000))) == ["r/a:0", "r/a:1"]
    for path in paths_of(builder, "r/a:0"):
        builder.link(path)
    report = pruned(builder, Policy(free_bytes=25_000))
    assert urls(report) == ["r/a:0", "r/a:1", "r/a:2"]
    assert (report.bytes_freed >= 25_000, report.shortfall) == (True, 0)


def test_a_cache_that_is_smaller_is_one_that_holds_less(builder: CacheBuilder) -> None:
    total = size_of(builder, *files(builder.root))
    before = urls(pruned(builder, Policy(max_bytes=total - 25_000)))
    link_all(builder, *(f"r/a:{number}" for number in range(6)))
    report = pruned(builder, Policy(max_bytes=total - 25_000), dry_run=False)
    assert urls(report) == before == ["r/a:0", "r/a:1"]
    assert (report.bytes_freed, report.shortfall) == (SIZE, 0)
    assert size_of(builder, *files(builder.root)) <= total - 25_000


def test_both_targets_together_are_both_met(builder: CacheBuilder) -> None:
    total = size_of(builder, *files(builder.root))
    link_all(builder, "r/a:0", "r/a:1")
    report = pruned(builder, Policy(max_bytes=total - 5_000, free_bytes=25_000))
    assert urls(report) == ["r/a:0", "r/a:1", "r/a:2", "r/a:3"]
    assert report.shortfall == 0
    report = pruned(builder, Policy(max_bytes=total - 45_000, free_bytes=15_000))
    assert urls(report) == ["r/a:0", "r/a:1", "r/a:2", "r/a:3"]


def test_where_all_is_linked_nothing_goes_in_vain_for_bytes_to_free(builder: CacheBuilder) -> None:
    for path in files(builder.root):
        builder.link(path)
    report = pruned(builder, Policy(free_bytes=25_000))
    assert (urls(report), report.bytes_freed, report.shortfall) == ([], 0, 25_000)
    # Images go until the last one that frees something, and none after it.
    freeing = paths_of(builder, "r/a:2")
    for path in freeing:
        (builder.root.parent / "cache-links" / path).unlink()
    report = pruned(builder, Policy(free_bytes=25_000))
    assert urls(report) == ["r/a:0", "r/a:1", "r/a:2"]
    assert report.shortfall == 25_000 - size_of(builder, *freeing)


def test_more_images_are_linked_than_there_are_rounds(tmp_path: Path) -> None:
    builder = CacheBuilder(tmp_path / "many")
    for number in range(60):
        builder.image(f"r/a:{number:02}", layers=[builder.blob(SIZE)], pulled=DAYS[number % 9])
    oldest = pruned(builder, Policy(count=50))
    link_all(builder, *urls(oldest))
    report = pruned(builder, Policy(free_bytes=SIZE))
    assert (report.bytes_freed >= SIZE, report.shortfall) == (True, 0)
    assert len(urls(report)) == 51


def test_the_trash_takes_all_and_the_limits_count_all(builder: CacheBuilder) -> None:
    link_all(builder, "r/a:0")
    everything = size_of(builder, *paths_of(builder, "r/a:0")) + SIZE
    report = planned_report(pruned(builder, Policy(patterns=(":0$",))).plan, trash=True)
    assert any(f"to the trash: {everything} " in line for line in text_lines(report, summary=True))
    limits = DeleteLimits(size=everything - 1)
    (exceeded,) = limits.exceeded_by(report.plan)
    assert exceeded.text.startswith(f"{everything} bytes (")
    assert "would go, max-delete-size allows" in exceeded.text
    assert DeleteLimits(size=everything).exceeded_by(report.plan) == ()


def test_a_saved_plan_is_measured_anew(builder: CacheBuilder, tmp_path: Path) -> None:
    saved = tmp_path / "saved.plan"
    assert run_inside("plan", "--pattern", ":0$", "-o", saved, cache=builder.root).code == 0
    linked = paths_of(builder, "r/a:0")
    size = size_of(builder, *linked)
    link_all(builder, "r/a:0")
    done = run_inside("apply", saved, "--yes", "--format", "json", cache=builder.root)
    assert done.code == 0, done.err
    totals = json.loads(done.out)["totals"]
    assert (totals["bytes_linked"], totals["bytes"]) == (size, SIZE)


def test_a_file_that_loses_its_other_name_frees_again(builder: CacheBuilder) -> None:
    path = paths_of(builder, "r/a:0")[1]
    other = builder.link(path)
    assert pruned(builder, Policy(patterns=(":0$",))).bytes_linked > 0
    os.unlink(other)
    assert pruned(builder, Policy(patterns=(":0$",))).bytes_linked == 0


def test_du_counts_them_and_says_that_they_free_nothing(builder: CacheBuilder) -> None:
    every = size_of(builder, *files(builder.root))
    manifest, *blobs = paths_of(builder, "r/a:0")
    for path in blobs:
        builder.link(path)
    found = run_inside("du", "--format", "json", cache=builder.root)
    document = json.loads(found.out)
    assert document["totals"]["bytes"] == every
    # All were pulled long ago, and would go.
    assert {(one["bytes_left"], one["bytes_freed"]) for one in document["what_if"]} == {
        (0, every - size_of(builder, *blobs))
    }
    assert "2 blobs have other hard links: their 10.0 kB are counted, and removing" in found.err
    assert (builder.root / manifest).exists()


def test_one_blob_with_other_names_is_spoken_of_as_one(builder: CacheBuilder) -> None:
    builder.link(paths_of(builder, "r/a:0")[1])
    found = run_inside("du", cache=builder.root)
    assert re.search(
        "1 blob has other hard links: its .* are counted, and removing it frees", found.err
    )


def test_the_page_of_a_plan_shows_what_comes_free(builder: CacheBuilder, tmp_path: Path) -> None:
    link_all(builder, "r/a:0")
    report = pruned(builder, Policy(patterns=(":[01]$",)))
    page = tmp_path / "page.html"
    words = ("plan", "--pattern", ":[01]$", "-o", tmp_path / "plan", "--html", page)
    assert run_inside(*words, cache=builder.root).code == 0
    text = page.read_text()
    assert report.bytes_linked > SIZE
    assert f'"goes":{{"bytes":{report.bytes_freed},' in text.replace(" ", "")


def test_a_missed_target_says_what_may_be_the_reason(builder: CacheBuilder) -> None:
    words = ("prune", "--pattern", ".", "--free", "1GB", "--dry-run", "--allow-remove-all")
    assert "free nothing" not in run_inside(*words, cache=builder.root).err
    link_all(builder, "r/a:0")
    found = run_inside(*words, cache=builder.root)
    assert "is missed by 999.9 MB: nothing else may go by these options; files with other" in (
        found.err
    )
