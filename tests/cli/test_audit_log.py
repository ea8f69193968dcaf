"""`prune --audit-log`: it names every file that went, however the prune ended."""

from __future__ import annotations

import json
import os
import re
import signal
import stat
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from tests.cli.program import finish, run, started, through_shell, wait_until, without_privileges
from tests.hazards.trashing import in_trash
from tests.support.cachebuilder import CacheBuilder, digest_of, files, snapshot
from tests.support.oracle import expected, load
from tests.support.realcaches import unpack

import fastprune

ORPHANS = 2_000
NGINX = ("prune", "--pattern", "nginx")
EVERYTHING = ("prune", "--pattern", ".", "--allow-remove-all")
ONLY_ORPHANS = ("prune", "--orphans-only", "--allow-remove-all")


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return unpack("loaded", tmp_path)


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "audit.log"


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def removed(path: Path) -> set[str]:
    """What a log says has gone."""
    return {line["name"] for line in lines(path) if line.get("outcome") == "removed"}


def many_orphans(root: Path) -> Path:
    CacheBuilder(root)
    for number in range(ORPHANS):
        (root / "blobs" / digest_of(str(number))).touch()
    return root


def test_the_log_says_what_went_and_why(cache: Path, log: Path) -> None:
    before = load(cache)
    outcome = expected(before, patterns=["nginx"])
    report = json.loads(run(*NGINX, "--audit-log", log, "--format", "json", cache=cache).out)
    start, *went, end = lines(log)
    assert removed(log) == outcome.removed
    assert start["event"] == "start"
    assert start["format"] == 1
    assert start["action"] == "delete"
    assert start["fastprune"] == fastprune.__version__
    assert start["image_path"] == str(cache)
    assert start["policy"] == {"patterns": ["nginx"], "allow_broken": False}
    assert start["planned"]["bytes"] == outcome.freed_bytes
    assert end["event"] == "end"
    assert (end["exit_code"], end["stopped"], end["error"]) == (0, None, None)
    assert end["totals"]["bytes"] == outcome.freed_bytes == sum(one["bytes"] for one in went)
    assert end["totals"]["images"] == len(outcome.images)
    reasons = {one["path"]: one["reason"] for one in report["manifests"]}
    reasons |= {"blobs/" + one["digest"][7:]: one["reason"] for one in report["blobs"]}
    urls = {one["path"]: one["url"] for one in report["manifests"]}
    assert {one["name"]: one["reason"] for one in went} == reasons
    assert {one["name"]: one["url"] for one in went if one["kind"] != "blob"} == urls
    assert {one["name"] for one in went if one["kind"] == "list"} == outcome.lists
    assert all("url" not in one for one in went if one["kind"] == "blob")
    assert len({line["run"] for line in lines(log)}) == 1
    assert all(re.fullmatch(r"[-\d]{10}T[:\d]{8}\.\d{3}Z", line["time"]) for line in lines(log))
    assert [line["time"] for line in lines(log)] == sorted(line["time"] for line in lines(log))
    assert datetime.fromisoformat(start["time"]).tzinfo is not None


def test_trash_and_log_share_the_run_id(cache: Path, log: Path) -> None:
    report = json.loads(
        run(*NGINX, "--trash", "--audit-log", log, "--format", "json", cache=cache).out
    )
    assert {line["run"] for line in lines(log)} == {report["trash_run"]}
    assert lines(log)[0]["action"] == "trash"
    assert in_trash(cache, report["trash_run"]) == removed(log)


def test_a_second_run_is_appended_and_one_with_nothing_to_do_says_so(
    cache: Path, log: Path
) -> None:
    for _ in range(2):
        assert run(*NGINX, "--audit-log", log, "--summary", cache=cache).code == 0
    events = [line["event"] for line in lines(log)]
    assert events[-3:] == ["end", "start", "end"]
    assert events.count("start") == 2
    assert lines(log)[-1]["totals"]["bytes"] == 0
    assert len({line["run"] for line in lines(log)}) == 2


def test_a_new_log_is_not_for_everyone_to_read(cache: Path, log: Path) -> None:
    result = through_shell(
        f'umask 022; exec "$@" --audit-log {log}', *NGINX, "--summary", cache=cache
    )
    assert result.code == 0
    assert stat.S_IMODE(log.stat().st_mode) == 0o640


def test_a_dry_run_writes_none_and_says_so(cache: Path, log: Path) -> None:
    result = run(*NGINX, "--dry-run", "--audit-log", log, "--summary", cache=cache)
    assert result.code == 0
    assert "nothing is written to the audit log" in result.err
    assert not log.exists()


# What refuses a prune before it starts.


@pytest.mark.parametrize("folder", ["img", "lts", "blobs"])
@pytest.mark.parametrize("way", ["straight", "link", "dots", "below"])
def test_a_log_in_a_folder_of_the_cache_is_refused(
    folder: str, way: str, cache: Path, tmp_path: Path
) -> None:
    path = cache / folder / "audit.log"
    if way == "dots":
        path = cache / "img" / ".." / folder / "audit.log"
    elif way == "below":
        (cache / folder / "more").mkdir()
        path = cache / folder / "more" / "audit.log"
    elif way == "link":
        path = tmp_path / "link"
        path.symlink_to(next((cache / folder).iterdir()))
    before = snapshot(cache)
    result = run(*NGINX, "--audit-log", path, cache=cache)
    assert (result.code, result.out) == (2, "")
    assert f"{path}: lies in a folder of the cache" in result.err
    assert snapshot(cache) == before


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("/no/such/folder/log", "No such file or directory"),
        ("/dev/full", "No space left on device"),
        ("{tmp}", "Is a directory"),
        ("{tmp}/fifo", "No such device or address"),
        ("--dry-run", "--audit-log"),
        ("", "the value of --audit-log is empty"),
    ],
)
def test_a_log_that_can_t_be_opened_or_written_refuses_the_prune(
    path: str, why: str, cache: Path, tmp_path: Path
) -> None:
    os.mkfifo(tmp_path / "fifo")
    before = snapshot(cache)
    for more in ((), ("--trash",)):
        result = run(*NGINX, "--audit-log", path.format(tmp=tmp_path), *more, cache=cache)
        assert (result.code, result.out) == (2, "")
        assert why in result.err
        assert snapshot(cache) == before


def test_a_log_without_permission_refuses_the_prune(cache: Path, log: Path) -> None:
    log.touch()
    log.chmod(0o444)
    before = snapshot(cache)
    result = run(*NGINX, "--audit-log", log, cache=cache, prefix=without_privileges())
    assert result.code == 2
    assert "Permission denied; nothing was deleted" in result.err
    assert snapshot(cache) == before


# However it ends.


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_after_a_signal_the_log_has_all_that_went_and_an_end(
    number: signal.Signals, log: Path, tmp_path: Path
) -> None:
    root = many_orphans(tmp_path / "cache")
    before = files(root)
    options = ("--max-deletes-per-second", str(ORPHANS), "--summary")
    with started(*ONLY_ORPHANS, *options, "--audit-log", log, cache=root) as process:
        wait_until(lambda: len(files(root)) < ORPHANS)
        process.send_signal(number)
        result = finish(process)
    assert result.code == 128 + number
    assert removed(log) == before - files(root)
    end = lines(log)[-1]
    assert (end["event"], end["stopped"], end["exit_code"]) == ("end", number.name, result.code)
    assert end["totals"]["left"] == len(files(root))


def test_a_killed_prune_leaves_lines_that_are_all_true(log: Path, tmp_path: Path) -> None:
    root = many_orphans(tmp_path / "cache")
    before = files(root)
    options = ("--max-deletes-per-second", str(ORPHANS), "--concurrency", "1")
    with started(*ONLY_ORPHANS, *options, "--audit-log", log, cache=root) as process:
        wait_until(lambda: len(files(root)) < ORPHANS - 400)
        process.kill()
        finish(process)
    gone = before - files(root)
    # The kernel ends a write of several pages at any of them, and so in the middle of a line.
    whole = log.read_bytes().rpartition(b"\n")[0]
    log.write_bytes(whole + b"\n")
    assert removed(log) <= gone
    # At most one batch per thread is not in it: here one of 200.
    assert len(gone - removed(log)) <= 200
    assert lines(log)[-1]["event"] == "file"


def test_what_failed_or_changed_is_in_the_log_too(log: Path, tmp_path: Path) -> None:
    builder = CacheBuilder(tmp_path / "cache")
    listed = builder.index("a:latest", children=["ab" * 32])
    builder.image("a:1")
    (builder.root / "lts").chmod(0o555)
    log.touch()
    log.chmod(0o666)
    try:
        result = run(
            *("prune", "--pattern", "a", "--allow-remove-all", "--audit-log", log),
            cache=builder.root,
            prefix=without_privileges(),
        )
    finally:
        (builder.root / "lts").chmod(0o755)
    assert result.code == 3
    (failed,) = [line for line in lines(log) if line.get("outcome") == "failed"]
    assert (failed["name"], failed["bytes"]) == (f"lts/{listed}", 0)
    assert failed["error"] == "Permission denied"
    assert (lines(log)[-1]["totals"]["failed"], lines(log)[-1]["exit_code"]) == (1, 3)


def test_an_error_in_the_middle_is_in_the_last_line(cache: Path, log: Path) -> None:
    (cache / ".fastprune").symlink_to("/tmp")
    result = run(*NGINX, "--trash", "--audit-log", log, cache=cache)
    assert result.code == 1
    start, end = lines(log)
    assert (start["event"], end["event"], end["exit_code"]) == ("start", "end", 1)
    assert "is not a folder" in end["error"]


def test_a_log_that_fails_half_way_stops_the_prune_and_the_missing_lines_are_counted(
    tmp_path: Path, log: Path
) -> None:
    root = many_orphans(tmp_path / "cache")
    # A file may be no larger than this: the shell counts in blocks of 512 or 1024 bytes.
    script = 'ulimit -f 40; exec "$@"'
    options = ("--concurrency", "1", "--summary", "--audit-log", log)
    result = through_shell(script, *ONLY_ORPHANS, *options, cache=root)
    assert result.code == 3
    left = files(root)
    assert 0 < len(left) < ORPHANS
    assert f"Stopped: the audit log {log} can't be written: File too large" in result.out
    (missing,) = re.findall(r"lines that are missing in it: (\d+)", result.err)
    whole = log.read_text().splitlines()[:-1]  # The last one is cut off.
    # The first line and the one that ends it are no files.
    assert len(whole) + int(missing) == ORPHANS - len(left) + 2
    # The next run begins a line of its own.
    again = run(*ONLY_ORPHANS, "--summary", "--audit-log", log, cache=root)
    assert again.code == 0
    *_, end = log.read_text().splitlines()
    assert json.loads(end)["event"] == "end"


def test_the_lines_are_on_a_pipe_when_they_are_wanted_there(cache: Path) -> None:
    before = files(cache)
    result = run(
        *EVERYTHING, "--audit-log", "/dev/stdout", "--format", "json", "--summary", cache=cache
    )
    assert result.code == 0
    events = [json.loads(line) for line in result.out.splitlines() if line.startswith('{"run"')]
    assert {one["name"] for one in events if one["event"] == "file"} == before
