"""Deletions that fail are counted and named; the rest goes, and what is still needed stays."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.cli.program import run, without_privileges
from tests.hazards.steps import Failing, OneByOne, carry_out_now, folder_name, plan_for
from tests.support.cachebuilder import CacheBuilder, files, snapshot
from tests.support.oracle import kept_images_lost_blobs, kept_lists_lost_children, load

from fastprune.deletion.deleter import Batch, BatchResult


@contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """Nothing in this folder can be deleted."""
    folder.chmod(0o555)
    try:
        yield
    finally:
        folder.chmod(0o755)


def test_a_failure_is_counted_with_errno_and_path_and_the_rest_goes_on(
    builder: CacheBuilder,
) -> None:
    images = [builder.image(f"a:{number}", layers=["ab" * 32]) for number in range(20)]
    broken = sorted(images)[3::7]
    report = carry_out_now(plan_for(builder.root, "a"), Failing(broken, errno.EROFS))
    failed = [(f"img/{name}", errno.EROFS, os.strerror(errno.EROFS)) for name in broken]
    assert list(report.failures) == failed
    assert report.exit_code == 3
    assert len(report.images) == len(images) - len(broken)
    left = load(builder.root)
    assert set(left.manifests) == {f"img/{name}" for name in broken}
    assert len(left.blobs) == len(broken)  # Their configs.


def test_the_blobs_of_a_manifest_that_could_not_be_deleted_stay(builder: CacheBuilder) -> None:
    shared, own, other = builder.blob(10), builder.blob(20), builder.blob(30)
    stays = builder.image("a:1", layers=[shared, own])
    builder.image("a:2", layers=[shared, other])
    before = load(builder.root)
    report = carry_out_now(plan_for(builder.root, "a"), Failing([stays]))
    after = load(builder.root)
    assert kept_images_lost_blobs(before, after) == []
    assert set(after.manifests) == {f"img/{stays}"}
    assert {shared, own} < set(after.blobs)
    assert other not in after.blobs
    # Files that must stay after all do not count as left.
    assert report.left == 0


def test_the_children_of_a_list_that_could_not_be_deleted_stay(builder: CacheBuilder) -> None:
    layer = builder.blob(10)
    child = builder.image("a@sha256:" + "12" * 32, layers=[layer])
    inner = builder.index("a@sha256:" + "34" * 32, children=[child])
    outer = builder.index("a:1", children=[inner])
    builder.image("b:1")
    before = load(builder.root)
    report = carry_out_now(plan_for(builder.root, "[ab]:1"), Failing([outer]))
    after = load(builder.root)
    assert set(after.manifests) >= {f"img/{outer}", f"img/{child}"}
    assert kept_images_lost_blobs(before, after) == []
    assert [failure.path for failure in report.failures] == [f"img/{outer}"]
    assert not any(manifest.url == "b:1" for manifest in after.manifests.values())


def test_the_children_of_a_list_whose_other_copy_could_not_be_deleted_stay(
    builder: CacheBuilder,
) -> None:
    child = builder.image("a@sha256:" + "12" * 32)
    listed = builder.index("a:1", children=[child])
    builder.tag(listed, "a:latest")  # The same digest, in lts/.
    before = load(builder.root)

    class FailingInLts(Failing):
        def remove_one(self, folder: int, one: Batch) -> BatchResult:
            if folder_name(folder) == "lts":
                return super().remove_one(folder, one)
            return OneByOne.remove_one(self, folder, one)

    carry_out_now(plan_for(builder.root, "a:"), FailingInLts([listed]))
    after = load(builder.root)
    assert set(after.manifests) == {f"lts/{listed}", f"img/{child}"}
    assert kept_lists_lost_children(before, after) == []
    assert kept_images_lost_blobs(before, after) == []


def test_a_folder_without_permission_is_exit_code_3_and_named_in_text_and_json(
    builder: CacheBuilder,
) -> None:
    child = builder.image("a@sha256:" + "12" * 32)
    listed = builder.index("a:latest", children=[child])
    builder.image("b:1")
    before = load(builder.root)
    with read_only(builder.root / "lts"):
        result = run(
            *("prune", "--pattern", "a:latest,b:1", "--allow-remove-all", "--format", "json"),
            cache=builder.root,
            prefix=without_privileges(),
        )
    assert result.code == 3
    report = json.loads(result.out)
    failure = {
        "path": f"lts/{listed}",
        "errno": errno.EACCES,
        "message": os.strerror(errno.EACCES),
    }
    assert report["failed"] == [failure]
    assert report["totals"]["failed"] == 1
    assert [item["url"] for item in report["manifests"]] == ["b:1"]
    assert f"lts/{listed}" in result.err
    assert os.strerror(errno.EACCES) in result.err
    after = load(builder.root)
    assert set(after.manifests) == {f"lts/{listed}", f"img/{child}"}
    assert kept_images_lost_blobs(before, after) == []


def test_blobs_that_could_not_be_deleted_go_with_the_next_run(builder: CacheBuilder) -> None:
    builder.image("a:1", layers=[builder.blob(10)])
    with read_only(builder.root / "blobs"):
        result = run(
            *("prune", "--pattern", "a", "--allow-remove-all"),
            cache=builder.root,
            prefix=without_privileges(),
        )
    assert result.code == 3
    assert "Failed: 2\n" in result.out
    assert {path.split("/")[0] for path in files(builder.root)} == {"blobs"}
    assert run("prune", "--orphans-only", "--allow-remove-all", cache=builder.root).code == 0
    assert files(builder.root) == set()


def test_a_file_that_somebody_else_removed_is_no_failure(builder: CacheBuilder) -> None:
    gone, layer = builder.image("a:1"), builder.blob(10)
    builder.image("a:2")
    plan = plan_for(builder.root, "a")
    (builder.root / "img" / gone).unlink()
    (builder.root / "blobs" / layer).unlink()
    report = carry_out_now(plan)
    assert (report.exit_code, report.already_gone) == (0, 2)
    assert files(builder.root) == set()


def test_a_manifest_without_read_permission_is_named_and_nothing_is_removed(
    builder: CacheBuilder,
) -> None:
    secret = builder.image("secret:1")
    builder.image("a:1")
    (builder.root / "img" / secret).chmod(0)
    before = snapshot(builder.root)
    result = run("prune", "--pattern", "a", cache=builder.root, prefix=without_privileges())
    assert result.code == 4
    assert f"img/{secret}: EACCES" in result.err
    assert snapshot(builder.root) == before


def test_a_folder_that_can_not_be_listed_is_an_error_and_nothing_is_removed(
    builder: CacheBuilder,
) -> None:
    builder.image("a:1")
    before = snapshot(builder.root, ignore=["blobs"])
    for folder in ("lts", "blobs"):
        (builder.root / folder).chmod(0)
        result = run("prune", "--pattern", "a", cache=builder.root, prefix=without_privileges())
        (builder.root / folder).chmod(0o755)
        assert (result.code, result.out) == (1, "")
        assert f"{builder.root / folder} can't be listed" in result.err
        assert "Traceback" not in result.err
    assert snapshot(builder.root, ignore=["blobs"]) == before
