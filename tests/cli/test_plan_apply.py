"""`plan` and `apply`: the file, the exit codes, and changes of the cache in between."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from tests.cli.program import Result, on_terminal, run, without_privileges
from tests.support.cachebuilder import CacheBuilder, Corruption, files, snapshot
from tests.support.documents import Json
from tests.support.locking import locked
from tests.support.oracle import expected, load
from tests.support.realcaches import unpack

PATTERN = ("--pattern", "typha:v3.27.0")


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return unpack("pulled", tmp_path)


def lines(path: Path) -> list[Json]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def document(result: Result) -> Json:
    found: Json = json.loads(result.out)
    return found


def test_a_plan_comes_through_a_pipe(cache: Path) -> None:
    outcome = expected(load(cache), patterns=["typha:v3.27.0"])
    planned = run("plan", *PATTERN, "-o", "-", cache=cache)
    cut = run("apply", "-", cache=cache, stdin=planned.out[:-20])
    assert (cut.code, cut.out) == (2, "")
    assert "stdin: line" in cut.err
    applied = run("apply", "-", "--format", "json", cache=cache, stdin=planned.out)
    assert (applied.code, applied.err) == (0, "")
    assert files(cache) == outcome.left


def test_two_options_that_read_stdin_are_a_usage_error(cache: Path) -> None:
    before = snapshot(cache)
    config = "pruneConfig: {type: pattern, expr: .}\n"
    options = ("prune", "--config-file", "/dev/stdin", "--keep-from", "-")
    for words in (options, ("apply", "-", "--config-file", "-")):
        result = run(*words, cache=cache, stdin=config)
        assert (result.code, result.out) == (2, "")
        assert "--config-file both read stdin; give one of them a file" in result.err
    assert snapshot(cache) == before


def test_plan_and_apply_do_what_prune_does(cache: Path, tmp_path: Path) -> None:
    outcome = expected(load(cache), patterns=["typha:v3.27.0"])
    before = snapshot(cache)
    file = tmp_path / "plan"
    planned = run("plan", *PATTERN, "-o", file, cache=cache)
    assert (planned.code, planned.err) == (0, "")
    assert snapshot(cache) == before
    dry = run("prune", *PATTERN, "--dry-run", cache=cache).out.splitlines()
    # But for the times.
    assert planned.out.splitlines()[:-2] == dry[-6:-2]
    _, *named, _ = lines(file)
    paths = {one.get("path") or "blobs/" + one["digest"].removeprefix("sha256:") for one in named}
    assert paths == outcome.removed
    rehearsed = run("apply", file, "--dry-run", cache=cache)
    assert rehearsed.out.splitlines()[:-2] == dry[:-2]
    assert snapshot(cache) == before
    applied = run("apply", file, "--format", "json", cache=cache)
    assert (applied.code, applied.err) == (0, "")
    assert files(cache) == outcome.left
    report = document(applied)
    assert (report["command"], report["left_out"], report["totals"]["already_gone"]) == (
        *("apply", []),
        0,
    )
    assert {one["path"] for one in report["manifests"]} == outcome.lists | outcome.images
    again = run("apply", file, "--summary", cache=cache)
    assert (again.code, "Already gone: 4\n" in again.out) == (0, True)


def test_a_plan_can_go_to_stdout_and_come_back(cache: Path, tmp_path: Path) -> None:
    outcome = expected(load(cache), patterns=["typha:v3.27.0"])
    result = run("plan", *PATTERN, "-o", "-", cache=cache)
    assert result.code == 0
    assert "Bytes would be freed: 10829 (10.8 kB)\n" in result.err
    assert run("plan", "-q", *PATTERN, "-o", "-", cache=cache).err == ""
    (tmp_path / "plan").write_text(result.out, "utf-8")
    assert run("apply", tmp_path / "plan", cache=cache).code == 0
    assert files(cache) == outcome.left


def test_the_totals_of_a_plan_in_json(cache: Path, tmp_path: Path) -> None:
    result = run("plan", *PATTERN, "-o", tmp_path / "plan", "--format", "json", cache=cache)
    report = document(result)
    assert (report["version"], report["command"], report["dry_run"]) == (1, "plan", True)
    header = lines(tmp_path / "plan")[0]
    assert report["totals"]["bytes"] == header["totals"]["bytes"] == 10829


def test_what_changed_is_left_and_named_with_the_reason(cache: Path, tmp_path: Path) -> None:
    file = tmp_path / "plan"
    assert run("plan", *PATTERN, "-o", file, cache=cache).code == 0
    listed, child = (one for one in lines(file) if one["record"] == "manifest")
    path = cache / listed["path"]
    holder = json.loads(path.read_bytes()) | {"pulled": "2030-01-01T00:00:00"}
    path.write_text(json.dumps(holder), "utf-8")
    before = snapshot(cache)
    result = run("apply", file, cache=cache)
    assert (result.code, result.err) == (3, "")
    assert snapshot(cache) == before
    text = result.out.splitlines()
    assert "docker.io/calico/typha:v3.27.0: pulled since the plan was made" in text
    assert f"{child['url']}: still needed (docker.io/calico/typha:v3.27.0)" in text
    assert "Left out of the saved plan: 4" in text
    report = document(run("apply", file, "-n", "--summary", "--format", "json", cache=cache))
    assert len(report["left_out"]) == 4
    assert {
        "path": listed["path"],
        "url": listed["url"],
        "reason": "pulled since the plan was made",
        "needed_by": "",
    } in report["left_out"]


def spoil(file: Path, how: str) -> None:
    content = file.read_text("utf-8")
    if how == "altered":
        content = content.replace("typha", "tyqha", 1)
    elif how == "cut off":
        content = content[: len(content) // 2]
    elif how == "newer":
        content = content.replace('"version":2', '"version":3', 1)
    elif how == "something else":
        content = "img/" + "ab" * 32 + "\n"
    if how == "missing":
        file.unlink()
    else:
        file.write_text(content, "utf-8")


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ("altered", "checksum"),
        ("cut off", "line "),
        ("newer", "format version 3"),
        ("something else", "line 1: "),
        ("missing", "No such file"),
    ],
)
def test_a_file_that_is_no_plan_any_more_is_refused(
    how: str, says: str, cache: Path, tmp_path: Path
) -> None:
    file = tmp_path / "plan"
    assert run("plan", *PATTERN, "-o", file, cache=cache).code == 0
    spoil(file, how)
    before = snapshot(cache)
    result = run("apply", file, cache=cache)
    assert (result.code, result.out) == (2, "")
    assert str(file) in result.err
    assert says in result.err
    assert "make a new plan" in result.err
    assert snapshot(cache) == before


def test_a_plan_for_another_cache_is_refused(cache: Path, tmp_path: Path) -> None:
    file = tmp_path / "plan"
    assert run("plan", *PATTERN, "-o", file, cache=cache).code == 0
    shutil.copytree(cache, tmp_path / "copy")
    before = snapshot(tmp_path / "copy")
    result = run("apply", file, cache=tmp_path / "copy")
    assert (result.code, result.out) == (4, "")
    assert f"the plan was made for the cache at {cache}" in result.err
    assert snapshot(tmp_path / "copy") == before


def test_unreadable_manifests_refuse_both(tmp_path: Path) -> None:
    builder = CacheBuilder(tmp_path / "cache")
    builder.image("r/a:1")
    builder.image("q:1")
    file = tmp_path / "plan"
    assert run("plan", "--pattern", "r/a", "-o", file, cache=builder.root).code == 0
    path = builder.corrupt(Corruption.ARRAY)
    before = snapshot(tmp_path)
    refused = run("plan", "--pattern", "r", "-o", file, "--format", "json", cache=builder.root)
    assert (refused.code, document(refused)["corrupt"][0]["path"]) == (4, path)
    applied = run("apply", file, "--format", "json", cache=builder.root)
    assert (applied.code, document(applied)["corrupt"][0]["path"]) == (4, path)
    assert document(applied)["command"] == "apply"
    assert path in applied.err
    # A hint never names an option that apply does not have.
    assert "--skip-corrupt" not in applied.err
    assert snapshot(tmp_path) == before


def test_a_plan_that_can_not_be_written_is_refused_before_the_scan(
    cache: Path, tmp_path: Path
) -> None:
    before = snapshot(tmp_path)
    for place in (cache / "blobs" / "plan", tmp_path, tmp_path / "no" / "plan"):
        result = run("plan", *PATTERN, "--log-level", "info", "-o", place, cache=cache)
        assert (result.code, result.out) == (2, "")
        assert f"--output {place}" in result.err
    assert snapshot(tmp_path) == before
    assert run("plan", *PATTERN, cache=cache).code == 2


def test_a_full_or_forbidden_folder_is_an_error_and_leaves_nothing(
    cache: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "closed"
    folder.mkdir(mode=0o555)
    result = run(
        *("plan", *PATTERN, "-o", folder / "plan"), cache=cache, prefix=without_privileges()
    )
    assert (result.code, "Permission denied" in result.err) == (1, True)
    assert "Traceback" not in result.err
    assert list(folder.iterdir()) == []


def test_apply_takes_the_lock_and_a_dry_run_does_not(cache: Path, tmp_path: Path) -> None:
    file = tmp_path / "plan"
    with locked(cache):
        assert run("plan", *PATTERN, "-o", file, cache=cache).code == 0
        assert run("apply", file, cache=cache).code == 11
        assert run("apply", file, "-n", cache=cache).code == 0


def test_apply_asks_on_a_terminal(cache: Path, tmp_path: Path) -> None:
    file = tmp_path / "plan"
    assert run("plan", *PATTERN, "-o", file, cache=cache).code == 0
    before = snapshot(cache)
    with on_terminal("apply", file, cache=cache) as terminal:
        terminal.wait_for("[y/N] ")
        assert f"Remove 2 manifests and 2 blobs (10.8 kB) from {cache}? " in terminal.shown
        terminal.type("n\n")
        assert terminal.wait() == 1
    assert snapshot(cache) == before


def test_the_dry_run_of_the_config_file_holds_for_apply_too(cache: Path, tmp_path: Path) -> None:
    file = tmp_path / "plan"
    assert run("plan", *PATTERN, "-o", file, cache=cache).code == 0
    config = tmp_path / "config.yaml"
    config.write_text("pruneConfig:\n  dryRun: true\n", "utf-8")
    before = snapshot(cache)
    assert "(dry run)" in run("apply", file, "--config-file", config, cache=cache).out
    assert snapshot(cache) == before


def test_a_limit_stops_apply_and_the_next_one_goes_on(cache: Path, tmp_path: Path) -> None:
    outcome = expected(load(cache), patterns=["calico"])
    file = tmp_path / "plan"
    assert run("plan", "--pattern", "calico", "-o", file, cache=cache).code == 0
    slow = ("--max-deletes-per-second", "20", "--max-duration", "700ms")
    stopped = run("apply", file, *slow, cache=cache)
    assert (stopped.code, "Stopped: --max-duration" in stopped.out) == (3, True)
    assert run("apply", file, cache=cache).code == 0
    assert files(cache) == outcome.left


def test_a_reader_that_goes_away_is_no_error(cache: Path) -> None:
    result = run(
        *("plan", "--pattern", ".", "--allow-remove-all", "-o", "-", "-q"),
        cache=cache,
        prefix=["sh", "-c", '"$@" | head -n 1', "sh"],
    )
    assert (result.code, result.err) == (0, "")
    assert json.loads(result.out)["record"] == "plan"
