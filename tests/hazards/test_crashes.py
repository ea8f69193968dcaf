"""A prune may end at any moment: at worst, blobs are left that nothing refers to."""

from __future__ import annotations

import errno
import signal
from pathlib import Path

import pytest
from tests.cli.program import finish, run, started, wait_until
from tests.hazards.steps import OneByOne, carry_out_now, folder_name, plan_for
from tests.support.cachebuilder import CacheBuilder, files
from tests.support.oracle import (
    expected,
    kept_images_lost_blobs,
    kept_lists_lost_children,
    load,
)

from fastprune.deletion.deleter import Batch, BatchResult

IMAGES = 500


class PowerCutError(Exception):
    """The power is cut: nothing happens after this."""


class Diary(OneByOne):
    """Deletes until the power is cut, and writes down what was done."""

    def __init__(self, steps: int) -> None:
        """Has power for so many steps."""
        super().__init__()
        self._steps = steps
        self.entries: list[tuple[str, str]] = []

    def remove_one(self, folder: int, one: Batch) -> BatchResult:
        self._step(folder, one.names[0])
        return super().remove_one(folder, one)

    def settle(self, folder: int) -> None:
        self._step(folder, "settle")
        super().settle(folder)

    def _step(self, folder: int, what: str) -> None:
        if len(self.entries) == self._steps:
            raise PowerCutError
        self.entries.append((folder_name(folder), what))


def build(root: Path) -> CacheBuilder:
    """A cache with lists in both folders, shared layers, an orphan, and images that stay."""
    builder = CacheBuilder(root)
    base, own = builder.blob(10), builder.blob(20)
    child = builder.image("a@sha256:" + "12" * 32, layers=[base, own])
    builder.index("a:1", children=[child])
    builder.index("a:latest", children=[child, "ab" * 32])
    builder.image("a:2", layers=[base, builder.blob(30)])
    builder.image("kept:1", layers=[base])
    builder.index("kept:2", children=[builder.image("kept@sha256:" + "34" * 32)])
    builder.blob(40)
    return builder


def test_lists_go_first_then_images_then_blobs_each_durable_before_the_next(
    tmp_path: Path,
) -> None:
    root = build(tmp_path / "cache").root
    lists = {path for path, manifest in load(root).manifests.items() if manifest.is_list}
    diary = Diary(steps=1000)
    carry_out_now(plan_for(root, "a:"), diary)
    phases: list[str] = []
    unsettled: set[str] = set()
    for folder, what in diary.entries:
        if what == "settle":
            unsettled.remove(folder)
            continue
        is_list = f"{folder}/{what}" in lists
        phase = "blobs" if folder == "blobs" else "lists" if is_list else "images"
        if phase not in phases:
            assert not unsettled, f"{phase} begin before {unsettled} are durable"
            phases.append(phase)
        assert phase == phases[-1]
        unsettled.add(folder)
    assert phases == ["lists", "images", "blobs"]
    assert not unsettled


@pytest.mark.parametrize("steps", range(13))
def test_no_kept_manifest_misses_anything_wherever_it_is_cut_off(
    steps: int, tmp_path: Path
) -> None:
    root = build(tmp_path / "cache").root
    before = load(root)
    outcome = expected(before, patterns=["^a"])
    power = True
    try:
        carry_out_now(plan_for(root, "^a"), Diary(steps))
    except* PowerCutError:
        power = False
    assert not power
    after = load(root)
    assert kept_images_lost_blobs(before, after) == []
    assert kept_lists_lost_children(before, after) == []
    # The next prune finishes the work; the pattern finds children whose list is gone, too.
    carry_out_now(plan_for(root, "^a"))
    assert files(root) == outcome.left


def test_what_can_not_be_made_durable_ends_the_run_before_the_next_phase(tmp_path: Path) -> None:
    class NeverDurable(Diary):
        def settle(self, folder: int) -> None:
            raise OSError(errno.EIO, "no such luck")

    root = build(tmp_path / "cache").root
    deleter = NeverDurable(steps=1000)
    report = carry_out_now(plan_for(root, "a:"), deleter)
    assert report.stopped == "img/ can't be made durable: no such luck"
    assert (len(report.lists), report.exit_code) == (1, 3)
    assert {folder for folder, _ in deleter.entries} == {"img"}
    assert len(deleter.entries) == 1  # The first list, whose folder then failed.


def test_a_killed_prune_leaves_no_manifest_without_its_blobs(tmp_path: Path) -> None:
    builder = CacheBuilder(tmp_path / "cache")
    base = builder.blob(10)
    for number in range(IMAGES):
        builder.image(f"a:{number}", layers=[base])
    before = load(builder.root)
    images = builder.root / "img"
    modified = images.stat().st_mtime_ns
    # Slow enough to be caught in the middle of it.
    everything = ("--pattern", "a", "--allow-remove-all")
    options = (*everything, "--max-deletes-per-second", str(IMAGES))
    with started("prune", *options, cache=builder.root) as process:
        wait_until(lambda: images.stat().st_mtime_ns != modified)
        process.send_signal(signal.SIGKILL)
        assert finish(process).code == -signal.SIGKILL
    after = load(builder.root)
    assert 0 < len(after.manifests) < len(before.manifests)
    assert kept_images_lost_blobs(before, after) == []
    assert run("prune", *everything, cache=builder.root).code == 0
    assert files(builder.root) == set()
