"""A server that starts during the work ends it in order; --force goes on and says so."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import anyio
import pytest
from tests.cli.inside import run_inside
from tests.cli.program import Result, run
from tests.faults.injection import tool
from tests.faults.scenes import MODES, PATTERN, Mode, Scene, in_trash, prune_of
from tests.faults.test_servers import serving
from tests.faults.trash_scenes import OLD, RESTORE, TrashScene
from tests.support.cachebuilder import CacheBuilder, files, snapshot
from tests.support.fakeproc import FakeProc
from tests.support.schemas import errors

import fastprune
from fastprune import ApplyOptions, Limits, Policy, PrunePlan, Reading
from fastprune.deletion.journal import JournalEntry
from fastprune.guard.server_findings import ServerFinding

SERVER = ServerFinding(7, "ociregistry serve")
PERHAPS = ServerFinding(8, "ociregistry load", "its cache can't be told")
# Two levels of lists, images, blobs.
PHASES = 4


def it_starts_after(looks: int, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Starts a server after so many looks for servers; returns the cache of each look."""
    looked: list[str] = []

    def look(root: str) -> tuple[ServerFinding, ...]:
        looked.append(root)
        return (SERVER,) if len(looked) > looks else ()

    monkeypatch.setattr("fastprune.guard.servers.find_servers", look)
    return looked


def there_are(servers: Sequence[ServerFinding], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fastprune.guard.servers.find_servers", lambda root: tuple(servers))


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("phases", range(PHASES + 1))
def test_a_prune_ends_before_the_next_phase(
    phases: int, mode: Mode, scene: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Once at the start, and once before each phase.
    looked = it_starts_after(1 + phases, monkeypatch)
    log = tmp_path / "audit"
    command = [*prune_of(mode), "--audit-log", str(log), "--format", "json"]
    result = run_inside(*command, cache=scene.root)
    document = json.loads(result.out)
    end = json.loads(log.read_text().splitlines()[-1])
    assert errors("report", document) == []
    assert scene.losses() == []
    assert (end["event"], end["exit_code"]) == ("end", result.code)
    if phases == PHASES:
        assert (result.code, len(looked)) == (0, 1 + PHASES)
        assert document["servers"] == document["overridden"] == []
        return
    assert result.code == (3 if phases else 11)
    assert document["servers"] == [SERVER.document]
    assert document["totals"]["blobs"] == 0
    assert "process 7: ociregistry serve" in document["stopped"]
    assert end["stopped"] == document["stopped"]
    assert "stopped: a server that may use the cache by now: process 7: " in result.err
    gone = scene.before.paths - files(scene.root)
    assert not any(path.startswith("blobs/") for path in gone)
    assert bool(gone) == bool(phases)
    monkeypatch.undo()
    if mode == "delete":
        scene.heal(mode)


@pytest.mark.parametrize("phases", range(3))
def test_a_repair_ends_before_the_next_phase(
    phases: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "cache"
    builder = CacheBuilder(root)
    builder.image("a:1", layers=[builder.blob(100)])
    layer = builder.blob(200)
    builder.image("a:2", layers=[layer])
    (root / "blobs" / layer).write_bytes(b"damaged")
    before = files(root)
    looked = it_starts_after(1 + phases, monkeypatch)
    args = ("verify", "--content", "--repair", "--yes", "--jobs", "1", "--format", "json")
    result = run_inside(*args, cache=root)
    repair = json.loads(result.out)["repair"]
    assert errors("verify", json.loads(result.out)) == []
    if phases == 2:
        assert (result.code, len(looked), repair["servers"]) == (0, 3, [])
        return
    assert result.code == (3 if phases else 11)
    assert repair["servers"] == [SERVER.document]
    assert "stopped by a server that may use the cache by now: process 7: " in result.err
    assert (files(root) == before) == (not phases)


@pytest.mark.parametrize("phases", range(3))
def test_a_restore_ends_before_the_next_phase(
    phases: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = TrashScene(tmp_path, RESTORE)
    scene.fresh()
    before = files(scene.root)
    looked = it_starts_after(1 + phases, monkeypatch)
    args = ("trash", "restore", OLD, "--jobs", "1", "--format", "json")
    result = run_inside(*args, cache=scene.root)
    document = json.loads(result.out)
    assert errors("trash-change", document) == []
    assert len(looked) == 2 + phases
    assert result.code == (3 if phases else 11)
    assert document["servers"] == [SERVER.document]
    assert "stopped by a server that may use the cache by now: process 7: " in result.err
    back = files(scene.root) - before
    assert bool(back) == bool(phases)
    assert back <= scene.moved
    monkeypatch.undo()
    assert run_inside("trash", "restore", OLD, "--jobs", "1", cache=scene.root).code in (0, 3)
    assert files(scene.root) - before >= back


class StartsServer:
    """A journal that starts a server as soon as an image was removed."""

    def __init__(self, root: Path, until: ExitStack) -> None:
        self._root, self._until = root, until
        self.pid = 0

    async def note(self, entries: Sequence[JournalEntry]) -> None:
        if not self.pid and any(entry.kind == "image" for entry in entries):
            self.pid = self._until.enter_context(serving("serve", "--image-path", self._root))

    async def settle(self) -> None:
        pass


@pytest.mark.alone
def test_a_real_server_that_starts_while_images_go_saves_the_blobs(scene: Scene) -> None:
    with ExitStack() as until:
        journal = StartsServer(scene.root, until)
        policy = Policy(patterns=(PATTERN,))
        applying, reading = ApplyOptions(journal=journal), Reading(jobs=1)
        report = anyio.run(
            partial(fastprune.prune, scene.root, policy, applying=applying, reading=reading)
        )
    assert report is not None
    assert (report.exit_code, len(report.blobs)) == (3, 0)
    assert len(report.images) > 0
    (server,) = report.servers
    assert (server.pid, server.is_sure) == (journal.pid, True)
    assert scene.losses() == []
    scene.heal("delete")


@pytest.mark.alone
def test_a_real_server_that_starts_while_somebody_is_asked(scene: Scene) -> None:
    before = snapshot(scene.root)
    with ExitStack() as until:

        async def confirm(_: PrunePlan) -> bool:
            until.enter_context(serving("serve", "--image-path", scene.root))
            return True

        policy = Policy(patterns=(PATTERN,))
        report = anyio.run(
            partial(fastprune.prune, scene.root, policy, confirm=confirm, reading=Reading(jobs=1))
        )
    assert report is not None
    assert (report.exit_code, len(report.manifests), len(report.servers)) == (11, 0, 1)
    assert snapshot(scene.root) == before


def test_apply_of_the_library_looks_as_well(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    async def apply(*, force: bool) -> fastprune.PruneReport:
        async with fastprune.locked(scene.root, force=force, reading=Reading(jobs=1)) as cache:
            plan = await cache.plan(Policy(patterns=(PATTERN,)))
            there_are([PERHAPS], monkeypatch)
            return await cache.apply(plan, ApplyOptions(limits=Limits(concurrency=1)))

    report = anyio.run(partial(apply, force=False))
    assert (report.exit_code, report.servers) == (11, (PERHAPS,))
    assert files(scene.root) == scene.before.paths
    report = anyio.run(partial(apply, force=True))
    assert (report.exit_code, report.servers, report.overridden) == (0, (), (PERHAPS,))


# What --force overrides.


def test_a_prune_with_force_names_what_it_overrides(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    there_are([SERVER, PERHAPS], monkeypatch)
    command = ["prune", "--pattern", PATTERN, "--force", "--jobs", "1"]
    text = run_inside(*command, "--max-delete-count", "100", cache=scene.root)
    said_of_the_overridden(text)
    assert (
        "Overridden by --force: a server seems to run on this cache: process 7: ociregistry serve; "
        "it can't be told whether a server runs on this cache: process 8: ociregistry load "
        "(its cache can't be told)\n"
    ) in text.out
    assert files(scene.root) == scene.outcome.left
    document = json.loads(run_inside(*command, "--format", "json", cache=scene.root).out)
    assert errors("report", document) == []
    assert document["overridden"] == [SERVER.document, PERHAPS.document]
    assert document["servers"] == []


def said_of_the_overridden(result: Result) -> None:
    assert result.code == 0
    assert (
        "warning: --force goes on although a server seems to run on this cache: "
        "process 7: ociregistry serve\n"
    ) in result.err
    assert (
        "warning: --force goes on although it can't be told whether a server runs on this cache: "
        "process 8: ociregistry load (its cache can't be told)\n"
    ) in result.err


def test_the_other_commands_with_force_do_so_too(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    prune = ["prune", "--pattern", PATTERN, "--trash", "--jobs", "1", "--format", "json"]
    run_id = json.loads(run_inside(*prune, cache=scene.root).out)["trash_run"]
    assert in_trash(scene.root)
    there_are([SERVER, PERHAPS], monkeypatch)
    for args in (["trash", "restore", run_id], ["verify", "--repair", "--yes"]):
        result = run_inside(*args, "--force", "--jobs", "1", cache=scene.root)
        said_of_the_overridden(result)
        if args[0] == "trash":
            assert "Overridden by --force: a server seems to run on this cache: " in result.out
    assert files(scene.root) == scene.before.paths


def test_without_a_server_force_says_nothing(scene: Scene) -> None:
    result = run_inside("prune", "--pattern", PATTERN, "--force", "--jobs", "1", cache=scene.root)
    assert (result.code, "--force" in result.err + result.out) == (0, False)


def test_what_only_reads_names_what_can_t_be_told(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    there_are([PERHAPS], monkeypatch)
    command = ["prune", "--pattern", PATTERN, "--dry-run", "--jobs", "1", "--format", "json"]
    result = run_inside(*command, cache=scene.root)
    assert result.code == 0
    assert "warning: it can't be told whether a server runs on this cache: " in result.err
    assert json.loads(result.out)["servers"] == [PERHAPS.document]


# The program, if processes or files are hidden from it.


def refused(result: Result, scene: Scene, reason: str) -> None:
    assert (result.code, result.out) == (11, "")
    assert f"it can't be told whether a server runs on {scene.root}: " in result.err
    assert reason in result.err
    assert "Traceback" not in result.err
    assert "give --force" in result.err
    assert files(scene.root) == scene.before.paths


def elsewhere(script: str) -> list[str]:
    """A prefix that runs a script, then the program (`"$@"`), with mounts of their own."""
    user = [] if os.geteuid() == 0 else ["--map-root-user"]
    started = [tool("unshare", "util-linux"), *user, "--mount", "sh", "-ec"]
    if subprocess.run([*started, f"{script}\ntrue"], check=False, capture_output=True).returncode:
        pytest.skip("nothing can be mounted on /proc here")
    return [*started, f'{script}\nexec "$@"', "sh"]


PRUNE = ("prune", "--pattern", PATTERN, "--jobs", "1")


@pytest.mark.alone
def test_an_empty_proc_refuses(scene: Scene) -> None:
    prefix = elsewhere("mount -t tmpfs none /proc")
    refused(run(*PRUNE, cache=scene.root, prefix=prefix), scene, "/proc shows no processes")
    result = run(*PRUNE, "--force", cache=scene.root, prefix=prefix)
    assert result.code == 0
    assert "--force goes on although it can't be told" in result.err
    assert files(scene.root) == scene.outcome.left


@pytest.mark.alone
def test_a_proc_that_hides_other_users_refuses(scene: Scene) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can mount such a /proc")
    capabilities = tool("setpriv", "util-linux")
    prefix = [
        *elsewhere("mount -t proc -o hidepid=invisible proc /proc"),
        *(capabilities, "--bounding-set=-sys_ptrace", "--inh-caps=-sys_ptrace", "--"),
    ]
    refused(run(*PRUNE, cache=scene.root, prefix=prefix), scene, "hidepid=invisible")


@pytest.mark.alone
def test_a_server_whose_file_can_t_be_understood_refuses(scene: Scene, tmp_path: Path) -> None:
    """Only this program sees the process: other programs on this machine must not be refused."""
    config = tmp_path / "config.yaml"
    config.write_text(f"port: [\nimagePath: {scene.root}\n")
    fake = FakeProc(tmp_path / "proc")
    for table in (Path(fake.path, "1", "mountinfo"), Path(fake.path, "self", "mountinfo")):
        table.write_text("20 1 8:1 / / rw - ext4 /dev/sda rw\n")
    fake.add("7", "ociregistry", "serve", "--config-file", str(config))
    prefix = elsewhere(f"mount --bind '{fake.path}' /proc")
    result = run(*PRUNE, cache=scene.root, prefix=prefix)
    refused(result, scene, f"process 7: ociregistry serve --config-file {config} (its cache ")
