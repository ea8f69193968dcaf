"""Rule 4: a file that changed since the scan is left alone, and the report says so."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import anyio
import pytest
from tests.support.cachebuilder import CacheBuilder, files, snapshot
from tests.support.oracle import kept_images_lost_blobs, load
from tests.support.scanning import scanned

from fastprune import Policy, PruneReport
from fastprune.deletion.deleter import Batch, Outcome, Unlinker
from fastprune.deletion.pruning import carry_out
from fastprune.plan.prune_plan import PrunePlan, make_plan

NAME = "5" * 64


def plan_for(root: Path, *patterns: str) -> PrunePlan:
    index = scanned(root)
    return make_plan(index, Policy(patterns=patterns) if patterns else Policy(orphans_only=True))


def carried_out(plan: PrunePlan) -> PruneReport:
    results: list[PruneReport] = []

    async def work() -> None:
        results.append(await carry_out(plan, Unlinker()))

    anyio.run(work)
    return results[0]


def test_a_manifest_that_was_pulled_again_stays_with_its_blobs(builder: CacheBuilder) -> None:
    root = builder.root
    layer = builder.blob(10)
    image = builder.image("r/a:1", layers=[layer], pulled="2024-01-01T00:00:00")
    plan = plan_for(root, "r/a")
    before = load(root)
    builder.tag(image, "r/a:1", pulled="2024-05-05T05:05:05")
    report = carried_out(plan)
    assert files(root) == before.paths
    assert report.changed == (f"img/{image}",)
    assert (report.exit_code, report.bytes_freed, len(report.blobs)) == (3, 0, 0)


def test_a_list_that_was_pulled_again_stays_with_its_children(builder: CacheBuilder) -> None:
    root = builder.root
    image = builder.image("r/a@sha256:1", layers=[builder.blob(10)])
    index = builder.index("r/a:1", children=[image], pulled="2024-01-01T00:00:00")
    plan = plan_for(root, "r/a")
    before = load(root)
    builder.tag(index, "r/a:1", pulled="2024-05-05T05:05:05")
    report = carried_out(plan)
    assert files(root) == before.paths
    assert report.changed == (f"img/{index}",)
    # The child was not removed: it is needed after all, and the report says by which list.
    assert [report.plan.index.path(row) for row in report.plan.protected.tolist()] == [
        f"img/{image}"
    ]


def test_a_manifest_that_says_the_same_goes_whatever_its_times(builder: CacheBuilder) -> None:
    root = builder.root
    image = builder.image("r/a:1")
    plan = plan_for(root, "r/a")
    os.utime(root / "img" / image, ns=(1, 1))
    assert carried_out(plan).exit_code == 0
    assert files(root) == set()


@pytest.mark.parametrize(
    "created",
    ["", "2023-02-29T00:00:00", "x" * 19, "x" * 100, "2024-01-01", "0" * 19, "é" * 70],
)
def test_odd_times_do_not_look_like_a_change(created: str, builder: CacheBuilder) -> None:
    builder.image("r/a:1", created=created, pulled=created[::-1])
    assert carried_out(plan_for(builder.root, "r/a")).exit_code == 0
    assert files(builder.root) == set()


def test_blobs_stay_when_a_manifest_appears_during_the_prune(builder: CacheBuilder) -> None:
    root = builder.root
    layer = builder.blob(10)
    builder.image("r/a:1", layers=[layer])
    plan = plan_for(root, "r/a")
    appeared = builder.image("r/b:latest", layers=[layer])
    before = load(root)
    report = carried_out(plan)
    assert report.appeared == (f"lts/{appeared}",)
    assert (report.exit_code, len(report.blobs)) == (4, 0)
    assert kept_images_lost_blobs(before, load(root)) == []


# Few blobs of many are asked about one by one, most of a folder is listed.
@pytest.mark.parametrize(("folder", "others"), [("img", 0), ("blobs", 0), ("blobs", 9)])
@pytest.mark.parametrize("kind", ["fifo", "socket", "directory", "symlink"])
def test_what_is_no_regular_file_any_more_is_left_alone(
    kind: str, folder: str, others: int, builder: CacheBuilder
) -> None:
    root = builder.root
    if folder == "img":
        builder.image("r/a:1", config=NAME, name=NAME)
        plan = plan_for(root, "r/a")
    else:
        builder.blob(10, name=NAME)
        if others:
            builder.image("r/b:1", layers=[builder.blob(10) for _ in range(others)])
        plan = plan_for(root)
    (root / folder / NAME).unlink()
    make: dict[str, Callable[[], str]] = {
        "fifo": lambda: builder.fifo(folder, NAME),
        "socket": lambda: builder.socket(folder, NAME),
        "directory": lambda: builder.directory(folder, NAME),
        "symlink": lambda: builder.symlink(folder, "/etc/hostname", NAME),
    }
    make[kind]()
    before = snapshot(root)
    report = carried_out(plan)
    assert snapshot(root) == before
    assert report.exit_code == 3
    said = {*report.changed, *(failure.path for failure in report.failures)}
    assert said == {f"{folder}/{NAME}"}


def test_the_other_blobs_go_all_the_same(builder: CacheBuilder) -> None:
    names = [builder.blob(10 * number, name=f"{number:064x}") for number in range(1, 6)]
    plan = plan_for(builder.root)
    for name in (names[0], names[4]):
        (builder.root / "blobs" / name).unlink()
        builder.symlink("blobs", "/etc/hostname", name)
    (builder.root / "blobs" / names[1]).unlink()
    report = carried_out(plan)
    replaced = {f"blobs/{names[0]}", f"blobs/{names[4]}"}
    assert files(builder.root) == set(report.changed) == replaced
    assert (len(report.blobs), report.bytes_freed, report.already_gone) == (2, 70, 1)


def test_what_is_gone_already_is_counted_and_no_failure(builder: CacheBuilder) -> None:
    root = builder.root
    image = builder.image("r/a:1", layers=[builder.blob(10)])
    plan = plan_for(root, "r/a")
    (root / "img" / image).unlink()
    report = carried_out(plan)
    assert (report.already_gone, report.exit_code) == (1, 0)
    assert files(root) == set()
    assert len(report.manifests) == 0


def test_a_deleter_stays_in_its_folder(builder: CacheBuilder, tmp_path: Path) -> None:
    """The folder is open: a link that takes its place later leads nowhere."""
    elsewhere = CacheBuilder(tmp_path / "elsewhere")
    name = builder.blob(10, name=NAME)
    elsewhere.blob(10, name=NAME)
    folder = os.open(builder.root / "blobs", os.O_RDONLY)
    try:
        (builder.root / "blobs").rename(builder.root / "moved")
        (builder.root / "blobs").symlink_to(elsewhere.root / "blobs")
        result = Unlinker().remove(folder, Batch([name], [10], None))
    finally:
        os.close(folder)
    assert list(result.outcomes) == [Outcome.REMOVED]
    assert (elsewhere.root / "blobs" / name).exists()
    assert not (builder.root / "moved" / name).exists()
