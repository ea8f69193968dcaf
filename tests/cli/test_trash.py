"""`prune --trash`, and `trash list`, `trash restore` and `trash empty`."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.cli.golden import check_golden
from tests.cli.program import finish, on_terminal, run, started, wait_until, without_privileges
from tests.hazards.test_dry_run import changes, freeze
from tests.hazards.trashing import LATER, RUN, entries, in_trash, prune_to_trash
from tests.support.cachebuilder import CacheBuilder, digest_of, files, snapshot
from tests.support.locking import locked
from tests.support.oracle import expected, load
from tests.support.realcaches import unpack

from fastprune import Policy

NGINX = ("prune", "--pattern", "nginx")
ORPHANS = 2_000


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return unpack("loaded", tmp_path)


@pytest.fixture
def trashed(cache: Path) -> Path:
    """A cache with two runs in its trash."""
    prune_to_trash(cache, Policy(patterns=("nginx",)))
    prune_to_trash(cache, Policy(patterns=("cilium",)), LATER)
    return cache


@contextmanager
def serving(cache: Path) -> Iterator[None]:
    """A process that looks like a server on the cache."""
    program = "print(flush=True); import time; time.sleep(60)"
    arguments = [sys.executable, "-c", program, "serve", "--image-path", str(cache)]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        try:
            yield
        finally:
            process.kill()


def test_a_prune_moves_and_says_so_and_restore_brings_all_back(cache: Path) -> None:
    before = entries(cache)
    outcome = expected(load(cache), patterns=["nginx"])
    moved = run(*NGINX, "--trash", "--summary", cache=cache)
    assert (moved.code, moved.err) == (0, "")
    assert f"Bytes moved to the trash: {outcome.freed_bytes} (" in moved.out
    (name,) = re.findall(r"Trash: run (\S+); 'fastprune trash empty' frees the bytes", moved.out)
    assert files(cache) == outcome.left
    assert in_trash(cache, name) == outcome.removed
    back = run("trash", "restore", name, cache=cache)
    assert (back.code, back.err) == (0, "")
    assert f"Runs: {name}\n" in back.out
    assert f"Images put back: {len(outcome.images)}\n" in back.out
    assert entries(cache) == before


def test_the_report_in_json_names_the_run(cache: Path) -> None:
    report = json.loads(run(*NGINX, "--trash", "--format", "json", cache=cache).out)
    assert report["trash"] is True
    assert (cache / ".fastprune" / "trash" / report["trash_run"] / "img").is_dir()
    assert report["totals"]["bytes"] > 0
    again = json.loads(run(*NGINX, "--trash", "--format", "json", cache=cache).out)
    assert (again["trash"], again["trash_run"]) == (True, None)


def test_a_dry_run_speaks_of_the_trash_and_makes_none(cache: Path) -> None:
    frozen = freeze(cache)
    text = run(*NGINX, "--trash", "-n", "--summary", cache=cache)
    report = run(*NGINX, "--trash", "-n", "--format", "json", cache=cache)
    assert changes(frozen) == []
    assert "Bytes would be moved to the trash: " in text.out
    assert (json.loads(report.out)["trash"], json.loads(report.out)["trash_run"]) == (True, None)


def test_the_cache_with_a_trash_is_listed_and_pruned_as_one_without(trashed: Path) -> None:
    listed = run("list", cache=trashed)
    (trashed / ".fastprune").rename(trashed.parent / "away")
    assert listed == run("list", cache=trashed)
    assert listed.err == ""


def test_the_question_speaks_of_the_trash(cache: Path) -> None:
    before = snapshot(cache)
    with on_terminal(*NGINX, "--trash", cache=cache) as terminal:
        terminal.wait_for("[y/N] ")
        assert f"to the trash of {cache}? " in terminal.shown.replace("\r\n", "")
        terminal.type("n\n")
        assert terminal.wait() == 1
    assert snapshot(cache) == before


# The list.


def test_the_list_is_as_the_golden_file_has_it(trashed: Path) -> None:
    text = run("trash", "list", cache=trashed)
    document = run("trash", "list", "--format", "json", cache=trashed)
    assert (text.code, text.err, document.code, document.err) == (0, "", 0, "")
    check_golden("trash-list.txt", text.out)
    check_golden("trash-list.json", document.out, cache=trashed)


def test_an_empty_trash_is_an_empty_list(cache: Path) -> None:
    assert run("trash", "list", cache=cache) == (0, "", "")
    document = json.loads(run("trash", "list", "--format", "json", cache=cache).out)
    assert (document["runs"], document["foreign"]) == ([], [])


def test_the_list_needs_no_lock_and_changes_nothing(trashed: Path) -> None:
    frozen = freeze(trashed)
    with locked(trashed):
        assert run("trash", "list", cache=trashed).code == 0
        assert run("trash", "restore", "-n", RUN, cache=trashed).code == 0
        assert run("trash", "empty", "-n", cache=trashed).code == 0
    assert changes(frozen) == []


def test_global_options_work_before_between_and_after_the_commands(trashed: Path) -> None:
    expected_list = run("trash", "list", cache=trashed)
    assert run("trash", "--image-path", trashed, "list") == expected_list
    assert run("trash", "list", "--image-path", trashed) == expected_list
    missing = trashed / "missing"
    assert run("trash", "--image-path", trashed, "list", cache=missing) == expected_list
    assert run("trash", "--image-path", trashed, "list", "--image-path", missing).code == 10


def test_foreign_things_are_named_with_every_command(trashed: Path) -> None:
    (trashed / ".fastprune" / "trash" / "\x1b[31mREADME").touch()
    (trashed / ".fastprune" / "trash" / RUN / "notes").touch()
    for command in (("list",), ("restore", RUN), ("empty",)):
        result = run("trash", *command, cache=trashed)
        assert result.code == 0
        assert r".fastprune/trash/\x1b[31mREADME does not belong in the trash" in result.err
        # A run that holds nothing but foreign files counts as foreign itself.
        assert re.search(rf"{RUN}(/notes)? does not belong in the trash", result.err)
    assert in_trash(trashed) == {"notes"}


# Restoring.


def test_enough_of_the_beginning_names_a_run(trashed: Path) -> None:
    assert run("trash", "restore", LATER[:8], cache=trashed).code == 0
    assert [path.name for path in (trashed / ".fastprune" / "trash").iterdir()] == [RUN]


@pytest.mark.parametrize("name", ["20300101", "202611", "../trash"])
def test_an_unknown_run_is_a_usage_error_that_names_those_there_are(
    name: str, trashed: Path
) -> None:
    before = snapshot(trashed)
    for command in ("restore", "empty"):
        result = run("trash", command, name, cache=trashed)
        assert (result.code, result.out) == (2, "")
        assert RUN in result.err
        assert LATER in result.err
    assert snapshot(trashed) == before


@pytest.mark.parametrize("command", ["restore", "empty"])
def test_an_empty_name_of_a_run_is_a_usage_error(command: str, trashed: Path) -> None:
    before = snapshot(trashed)
    result = run("trash", command, "", cache=trashed)
    assert (result.code, result.out) == (2, "")
    assert "error" in result.err
    assert snapshot(trashed) == before


def test_without_a_run_there_is_nothing_to_restore(trashed: Path) -> None:
    result = run("trash", "restore", cache=trashed)
    assert (result.code, result.out) == (2, "")
    assert "RUN" in result.err


def test_a_dry_restore_reports_what_the_real_one_then_does(trashed: Path) -> None:
    (manifest, *_) = sorted(in_trash(trashed))
    (trashed / manifest).write_bytes(b"newer")
    options = ("trash", "restore", RUN, "--format", "json")
    dry, wet = run(*options, "--dry-run", cache=trashed), run(*options, cache=trashed)
    assert (dry.code, wet.code) == (3, 3)
    assert f"{manifest} stays in the trash" in wet.err
    rehearsal, report = json.loads(dry.out), json.loads(wet.out)
    assert (rehearsal.pop("dry_run"), report.pop("dry_run")) == (True, False)
    del rehearsal["seconds"], report["seconds"]
    # Two names are changed for each file.
    assert rehearsal.pop("estimate")["files_per_second"] == 5_000
    assert report.pop("estimate") is None
    assert rehearsal == report
    assert report["kept"] == [manifest]
    assert (trashed / manifest).read_bytes() == b"newer"


def test_a_server_on_the_cache_refuses_a_restore_but_no_emptying(trashed: Path) -> None:
    before = snapshot(trashed)
    with serving(trashed):
        result = run("trash", "restore", RUN, cache=trashed)
        assert (result.code, result.out) == (11, "")
        assert snapshot(trashed) == before
        assert run("trash", "restore", RUN, "--force", cache=trashed).code == 0
        assert run("trash", "empty", cache=trashed).code == 0


@pytest.mark.parametrize("command", [("restore", RUN), ("empty",)], ids=" ".join)
def test_another_fastprune_on_the_cache_refuses_it(command: tuple[str, ...], trashed: Path) -> None:
    before = snapshot(trashed)
    with locked(trashed):
        result = run("trash", *command, cache=trashed)
    assert (result.code, result.out) == (11, "")
    assert f"process {os.getpid()} " in result.err
    assert snapshot(trashed) == before


def test_a_restore_that_is_interrupted_is_finished_by_the_next(tmp_path: Path) -> None:
    root = many_in_trash(tmp_path / "cache")
    with started("trash", "restore", RUN, "--concurrency", "1", cache=root) as process:
        wait_until(lambda: any((root / "blobs").iterdir()))
        process.send_signal(signal.SIGINT)
        result = finish(process)
    assert result.code in (0, 130)
    assert "Traceback" not in result.err
    assert files(root) | in_trash(root) >= {f"blobs/{digest_of(str(n))}" for n in range(ORPHANS)}
    if result.code:
        assert "Stopped: SIGINT" in result.out
        assert run("trash", "restore", RUN, cache=root).code == 0
    assert len(files(root)) == ORPHANS
    assert not (root / ".fastprune").exists()


def test_a_restore_that_is_killed_is_finished_by_the_next(tmp_path: Path) -> None:
    root = many_in_trash(tmp_path / "cache")
    with started("trash", "restore", RUN, "--concurrency", "1", cache=root) as process:
        wait_until(lambda: any((root / "blobs").iterdir()))
        process.kill()
        finish(process)
    if (root / ".fastprune").exists():
        assert run("trash", "restore", RUN, cache=root).code == 0
    assert len(files(root)) == ORPHANS
    assert {path.stat().st_nlink for path in (root / "blobs").iterdir()} == {1}


def many_in_trash(root: Path) -> Path:
    CacheBuilder(root)
    blobs = root / ".fastprune" / "trash" / RUN / "blobs"
    blobs.mkdir(parents=True)
    (blobs.parent / "img").mkdir()
    for number in range(ORPHANS):
        (blobs / digest_of(str(number))).touch()
    return root


# Emptying.


def test_empty_deletes_all_runs_and_the_trash_with_them(trashed: Path) -> None:
    left = files(trashed)
    size = sum(path.stat().st_size for path in trashed.glob(".fastprune/trash/*/*/*"))
    result = run("trash", "empty", cache=trashed)
    assert (result.code, result.err) == (0, "")
    assert f"Runs: {RUN}, {LATER}\n" in result.out
    assert f"Bytes deleted: {size} (" in result.out
    assert files(trashed) == left
    assert not (trashed / ".fastprune").exists()
    assert run("trash", "empty", cache=trashed).out.startswith("Runs: none\n")


def test_empty_deletes_the_runs_that_are_named(trashed: Path) -> None:
    before = in_trash(trashed, LATER)
    assert run("trash", "empty", RUN, RUN[:12], cache=trashed).code == 0
    assert not (trashed / ".fastprune" / "trash" / RUN).exists()
    assert in_trash(trashed, LATER) == before


def test_empty_deletes_old_runs_only_when_told_so(cache: Path) -> None:
    old, new = "20200101T000000Z-000000", "29990101T000000Z-000000"
    prune_to_trash(cache, Policy(patterns=("nginx",)), old)
    prune_to_trash(cache, Policy(patterns=("cilium",)), new)
    result = run("trash", "empty", "--older-than", "30d", "--format", "json", cache=cache)
    assert json.loads(result.out)["runs"] == [old]
    assert [path.name for path in (cache / ".fastprune" / "trash").iterdir()] == [new]
    result = run("trash", "empty", new, "--older-than", "30d", cache=cache)
    assert (result.code, result.out.startswith("Runs: none\n")) == (0, True)


def test_empty_asks_once_with_the_totals(trashed: Path) -> None:
    before = snapshot(trashed)
    with on_terminal("trash", "empty", RUN, cache=trashed) as terminal:
        terminal.wait_for("[y/N] ")
        assert "Delete 1 run (" in terminal.shown
        terminal.type("n\n")
        assert terminal.wait() == 1
        assert "nothing was deleted" in terminal.shown
    assert snapshot(trashed) == before
    with on_terminal("trash", "empty", RUN, "--yes", cache=trashed) as terminal:
        assert terminal.wait() == 0
        assert "[y/N]" not in terminal.shown
    assert not (trashed / ".fastprune" / "trash" / RUN).exists()


def test_what_can_not_be_deleted_is_named_with_exit_code_3(trashed: Path) -> None:
    folder = trashed / ".fastprune" / "trash" / RUN / "blobs"
    folder.chmod(0o555)
    try:
        result = run("trash", "empty", RUN, cache=trashed, prefix=without_privileges())
    finally:
        folder.chmod(0o755)
    blobs = [path for path in in_trash(trashed) if path.startswith("blobs/")]
    assert result.code == 3
    assert f"{blobs[0]} can't be deleted: Permission denied" in result.err
    assert run("trash", "empty", cache=trashed).code == 0


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (("list", "--format", "csv"), "--format"),
        (("restore", RUN, "--format", "csv"), "--format"),
        (("empty", "--older-than", "5"), "--older-than"),
        (("empty", "--older-than", "--dry-run"), "--older-than"),
        (("empty", "--concurrency", "0"), "--concurrency"),
        (("restore", RUN, "--lock-wait", "soon"), "--lock-wait"),
        (("burn",), "burn"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else value,
)
def test_what_can_t_be_meant_is_a_usage_error(
    options: tuple[str, ...], named: str, trashed: Path
) -> None:
    before = snapshot(trashed)
    result = run("trash", *options, cache=trashed)
    assert (result.code, result.out) == (2, "")
    assert named in result.err
    assert snapshot(trashed) == before
