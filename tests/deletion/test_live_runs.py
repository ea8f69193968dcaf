"""Live runs in the trash: what the next one does with them, and what the other commands do."""

from __future__ import annotations

import json
from pathlib import Path

import anyio
import pytest
from tests.hazards.trashing import contents_of, restore_now
from tests.support.asked_server import AskedServer
from tests.support.asking import HOUR, age, ask, plan_of, prune_beside, run_id, set_aside
from tests.support.cachebuilder import CacheBuilder, digest_of, files
from tests.support.schemas import errors

import fastprune
from fastprune import (
    ApplyOptions,
    DeleteLimits,
    PlanOptions,
    Policy,
    PruneReport,
    ScanOptions,
    UsageError,
    open_audit_log,
)

ORPHANS = Policy(orphans_only=True)
A = "r.example/a:1"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A cache with two images, and an orphan."""
    builder = CacheBuilder(tmp_path / "cache")
    builder.image(A, layers=[builder.blob(100)])
    builder.image("r.example/b:1", layers=[builder.blob(200)])
    builder.blob(b"orphan" * 50)
    age(builder.root)
    return builder.root


@pytest.fixture
def tidy(root: Path) -> Path:
    """The same without the orphan."""
    (root / "blobs" / digest_of(b"orphan" * 50)).unlink()
    return root


def trash_of(root: Path, run: int = 0) -> Path:
    return root / ".fastprune" / "trash" / run_id(run)


def test_an_orphan_that_an_image_needs_by_the_next_run_is_put_back(root: Path) -> None:
    server, builder = AskedServer(root), CacheBuilder(root)
    report = prune_beside(root, server, ORPHANS)
    (blob,) = set_aside(root)
    name = blob.rpartition("/")[2]
    assert report.trash_run == ""
    builder.image("r.example/c:1", layers=[name])
    later = prune_beside(root, server, ORPHANS, run=1)
    assert later.asked is not None
    assert (later.asked.put_back, later.asked.emptied) == (1, 0)
    assert f"blobs/{name}" in files(root)
    assert set_aside(root) == set()


def test_a_manifest_that_the_server_lists_by_the_next_run_is_put_back_with_its_blobs(
    tidy: Path,
) -> None:
    """As if the run before had been killed right after it moved them, in the middle of a pull."""
    root = tidy
    server, before = AskedServer(root), files(root)
    (image,) = (path for path in (root / "img").iterdir() if A in path.read_text())
    holder = json.loads(image.read_text())
    blobs = [one["digest"][7:] for one in holder["v2.docker.manifest"]["layers"]]
    trash = trash_of(root)
    for folder in ("img", "lts", "blobs"):
        (trash / folder).mkdir(parents=True)
    image.rename(trash / "img" / image.name)
    for name in blobs:
        (root / "blobs" / name).rename(trash / "blobs" / name)
    report = prune_beside(root, server, Policy(patterns=("nothing",)), run=1)
    assert report.asked is not None
    assert report.asked.put_back == 2
    assert files(root) == before
    assert set_aside(root) == set()


def test_a_second_name_of_a_blob_that_is_there_stays_for_an_hour(tidy: Path) -> None:
    root = tidy
    server = AskedServer(root)
    trash = trash_of(root)
    for folder in ("img", "lts", "blobs"):
        (trash / folder).mkdir(parents=True)
    blob = next((root / "blobs").iterdir())
    (trash / "blobs" / blob.name).hardlink_to(blob)
    plan = plan_of(root, server, Policy(patterns=("nothing",)))
    soon = trash.parent / f"{run_id(1).replace('T12', 'T13')}"
    trash.rename(soon)
    ask(plan, server, run=1)
    assert set_aside(root) == {f"{soon.name}/blobs/{blob.name}"}
    ask(plan_of(root, server, Policy(patterns=("nothing",))), server, run=2)
    assert set_aside(root) == set()
    assert blob.exists()


def test_a_file_of_a_live_run_is_deleted_although_the_cache_lacks_its_folder(tidy: Path) -> None:
    root = tidy
    server = AskedServer(root)
    plan = plan_of(root, server, Policy(patterns=("nothing",)))
    soon = trash_of(root).parent / run_id(1).replace("T12", "T13")
    for folder in ("img", "lts", "blobs"):
        (soon / folder).mkdir(parents=True)
    (soon / "lts" / ("5" * 64)).touch()
    (root / "lts").rmdir()
    report = ask(plan, server, run=1)
    assert (report.stopped, set_aside(root)) == ("", set())


def test_trash_commands_know_live_runs(root: Path) -> None:
    before = files(root)
    prune_beside(root, AskedServer(root), ORPHANS)
    assert contents_of(root, run_id(0)).count("blob") == 1
    assert restore_now(root, run_id(0)).exit_code == 0
    assert files(root) == before
    assert set_aside(root) == set()


async def _apply(root: Path, server: AskedServer, policy: Policy, **options: object) -> PruneReport:
    planning = PlanOptions(ScanOptions(listing=server.listed()), grace=HOUR)
    async with fastprune.locked(root, force=True) as cache:
        plan = await cache.plan(policy, planning)
        limits = DeleteLimits(allow_remove_all=True)
        how = ApplyOptions(delete_limits=limits, server=server, **options)  # type: ignore[arg-type]
        return await cache.apply(plan, how)


def test_a_locked_cache_asks_and_audits_what_went(root: Path, tmp_path: Path) -> None:
    server, before = AskedServer(root), files(root)
    log = tmp_path / "audit.jsonl"

    async def work() -> PruneReport:
        with open_audit_log(str(log), str(root)) as audit:
            return await _apply(root, server, Policy(patterns=("r.example/a",)), journal=audit)

    report = anyio.run(work)
    assert report.asked is not None
    assert (report.asked.requests, report.asked.moved) == (1, 1)
    assert report.trash_run.endswith("-live")
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert [errors("audit-line", line) for line in lines] == [[]] * len(lines)
    moved = {line["name"]: line["action"] for line in lines if line["event"] == "file"}
    assert set(moved) == before - files(root)
    assert sorted(moved.values()) == ["delete"] * 3 + ["trash"]
    assert {line["run"] for line in lines} == {report.trash_run}
    assert {path.partition("/")[0] for path in set_aside(root)} == {report.trash_run}


def test_a_plan_without_anything_to_do_makes_no_run(root: Path) -> None:
    server = AskedServer(root)
    report = anyio.run(_apply, root, server, Policy(patterns=("nothing",)))
    # The orphan goes, whatever the policy.
    assert report.asked is not None
    assert report.asked.moved == 1
    anyio.run(_apply, root, server, Policy(patterns=("nothing",)))
    assert not (root / ".fastprune").exists()
    report = anyio.run(_apply, root, server, Policy(patterns=("nothing",)))
    assert report.asked is not None
    assert report.asked.requests == 0
    assert not (root / ".fastprune").exists()


def test_the_trash_of_the_user_and_a_server_exclude_each_other(root: Path) -> None:
    server = AskedServer(root)

    async def work() -> None:
        with pytest.raises(UsageError, match="trash"):
            await _apply(root, server, ORPHANS, trash=True)
        async with fastprune.locked(root, force=True) as cache:
            plan = await cache.plan(ORPHANS)
            with pytest.raises(UsageError, match="list of the server"):
                await cache.apply(plan, ApplyOptions(server=server))

    before = files(root)
    anyio.run(work)
    assert files(root) == before
