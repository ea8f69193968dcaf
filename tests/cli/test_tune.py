"""`tune` in real processes: what it prints, saves and leaves behind, however it ends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.cli.program import (
    Result,
    command,
    environment,
    finish,
    run,
    start,
    wait_until,
    without_privileges,
)
from tests.support.cachebuilder import CacheBuilder, digest_of, snapshot
from tests.support.locking import locked
from tests.support.realcaches import unpack

from fastprune.cli.options import GlobalOptions
from fastprune.cli.session import open_session
from fastprune.executors.processes import available_jobs

QUICK = ("--seconds", "1", "--files", "100")
SCRATCH = ".fastprune-tune-*"
JSON_KEYS = {
    "version",
    "command",
    "image_path",
    "machine",
    "cache",
    "scan",
    "delete",
    "recommendation",
    "noisy",
    "estimate",
    "saved",
    "seconds",
}

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount")


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return unpack("pulled", tmp_path_factory.mktemp("tune"))


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def measured(cache: Path, home: Path) -> Result:
    """One run whose JSON several tests look at; it saves, too."""
    before = snapshot(cache)
    result = tune("--format", "json", "--save", cache=cache, home=home)
    assert snapshot(cache) == before
    return result


def tune(*options: str, cache: Path, home: Path | None = None) -> Result:
    return run("tune", *QUICK, *options, cache=cache, env=config_in(home or cache / "no-home"))


def config_in(home: Path) -> Mapping[str, str]:
    return {"XDG_CONFIG_HOME": str(home)}


def left_behind(folder: Path) -> list[Path]:
    return [*folder.glob(SCRATCH), *folder.glob(f"*/{SCRATCH}")]


def test_json_has_a_version_and_the_documented_keys(measured: Result, cache: Path) -> None:
    assert (measured.code, measured.err) == (0, "")
    document = json.loads(measured.out)
    assert set(document) == JSON_KEYS
    assert (document["version"], document["command"]) == (1, "tune")
    assert document["image_path"] == str(cache)
    assert document["cache"] == {"manifests": 81, "blobs": 93}
    assert document["machine"]["cpus"] == os.cpu_count()
    assert document["machine"]["file_system"]
    assert [item["concurrency"] for item in document["delete"]["settings"]] == [1, 4, 8, 16, 32]
    assert document["delete"]["file_bytes"] == 4096
    estimate = document["estimate"]
    assert estimate["seconds"] == pytest.approx(
        estimate["scan_seconds"] + estimate["delete_seconds"], abs=2e-6
    )


def test_a_small_cache_says_nothing_about_jobs(measured: Result) -> None:
    document = json.loads(measured.out)
    assert document["scan"]["too_small"] is True
    assert [item["jobs"] for item in document["scan"]["settings"]] == [1]
    assert document["recommendation"]["jobs"] == "auto"


def test_nothing_is_left_behind(measured: Result, cache: Path) -> None:
    assert measured.code == 0
    assert left_behind(cache.parent) == []


def test_text_has_bars_and_a_recommendation_and_fits_80_columns(tmp_path: Path) -> None:
    root = unpack("loaded", tmp_path)
    before = snapshot(root)
    result = run(
        *("tune", *QUICK),
        cache=root,
        env={"COLUMNS": "80", **config_in(tmp_path / "home")},
    )
    assert (result.code, result.err) == (0, "")
    lines = result.out.splitlines()
    assert "A cache of 11 manifests is too small to tell: reading it takes no time." in lines
    assert sum("<- recommended" in line for line in lines) == 1
    assert any(line.startswith("Recommended: --jobs auto --concurrency ") for line in lines)
    assert any(line.startswith("A prune of everything here: about ") for line in lines)
    assert max(map(len, lines[1:])) <= 80
    assert result.out.isascii()
    assert snapshot(root) == before
    assert [path.name for path in tmp_path.iterdir()] == ["loaded"]


def test_a_larger_cache_is_read_with_several_jobs(tmp_path: Path) -> None:
    builder = CacheBuilder(tmp_path / "cache")
    manifest = builder.root / "img" / builder.image("example.org/image:1")
    for number in range(4_100):
        (manifest.parent / digest_of(str(number))).hardlink_to(manifest)
    before = snapshot(builder.root)
    result = tune("--format", "json", "--jobs", "3", cache=builder.root)
    assert (result.code, result.err) == (0, "")
    document = json.loads(result.out)
    jobs = [item["jobs"] for item in document["scan"]["settings"]]
    auto = available_jobs()
    assert {1, 3, auto} <= set(jobs)
    assert set(jobs) - {3, auto} <= {1, 2, 4, 8}
    assert document["recommendation"]["jobs"] in jobs
    assert snapshot(builder.root) == before


def test_it_takes_no_lock_and_needs_none(cache: Path) -> None:
    with locked(cache):
        assert tune(cache=cache).code == 0


def test_progress_is_on_stderr_and_only_if_asked_for(cache: Path) -> None:
    result = tune("--progress", cache=cache)
    assert result.code == 0
    for step in ("warming up", "scanning", "creating", "deleting"):
        assert f"fastprune: {step}: " in result.err
        assert f"{step}: " not in result.out


@pytest.mark.parametrize("folders", [(), ("img",), ("img", "lts", "blobs")], ids="-".join)
def test_a_missing_or_empty_cache_is_no_cache(folders: tuple[str, ...], tmp_path: Path) -> None:
    root = tmp_path / "cache"
    for folder in folders:
        (root / folder).mkdir(parents=True)
    result = tune(cache=root)
    assert (result.code, result.out) == (10, "")
    assert str(root) in result.err
    assert left_behind(tmp_path) == []


@pytest.mark.parametrize(
    "options",
    [
        ("--format", "yaml"),
        ("--seconds", "0"),
        ("--seconds", "nan"),
        ("--files", "5"),
        ("--jobs", "0"),
    ],
)
def test_what_cannot_be_used_is_a_usage_error(options: tuple[str, str], cache: Path) -> None:
    result = run("tune", *options, cache=cache)
    assert (result.code, result.out) == (2, "")


# What is saved


def test_save_writes_the_recommendation(measured: Result, cache: Path, home: Path) -> None:
    document = json.loads(measured.out)
    file = home / "fastprune" / "tuned.json"
    assert document["saved"] == str(file)
    advised = document["recommendation"]
    (rate,) = [
        setting["per_second"]
        for setting in document["delete"]["settings"]
        if setting["concurrency"] == advised["concurrency"]
    ]
    assert json.loads(file.read_text()) == {
        "version": 1,
        "caches": {str(cache.resolve()): advised | {"deletes_per_second": rate}},
    }
    assert [path.name for path in file.parent.iterdir()] == ["tuned.json"]


def test_save_keeps_what_is_there_for_other_caches(cache: Path, tmp_path: Path) -> None:
    write_saved(tmp_path, {"/elsewhere": {"jobs": 7, "concurrency": 9, "note": "kept"}})
    result = tune("--save", cache=cache, home=tmp_path)
    assert (result.code, result.err) == (0, "")
    assert f"Saved in {tmp_path / 'fastprune' / 'tuned.json'}: " in result.out
    saved = json.loads((tmp_path / "fastprune" / "tuned.json").read_text())["caches"]
    assert saved["/elsewhere"] == {"jobs": 7, "concurrency": 9, "note": "kept"}
    assert set(saved) == {"/elsewhere", str(cache.resolve())}


def test_save_writes_through_a_link(cache: Path, tmp_path: Path) -> None:
    real = tmp_path / "dotfiles" / "tuned.json"
    real.parent.mkdir()
    real.write_text('{"version": 1, "caches": {}}')
    link = tmp_path / "fastprune" / "tuned.json"
    link.parent.mkdir()
    link.symlink_to(real)
    assert tune("--save", cache=cache, home=tmp_path).code == 0
    assert link.is_symlink()
    assert str(cache.resolve()) in json.loads(real.read_text())["caches"]


@pytest.mark.parametrize(
    "content",
    ["", "{", "[]", "null", '{"version": 2, "caches": {}}', '{"version": 1, "caches": []}', "\xff"],
)
def test_a_damaged_file_is_named_and_not_used(content: str, cache: Path, tmp_path: Path) -> None:
    file = tmp_path / "fastprune" / "tuned.json"
    file.parent.mkdir()
    file.write_bytes(content.encode("latin-1"))
    result = run("list", "--format", "url", cache=cache, env=config_in(tmp_path))
    assert result.code == 0
    assert len(result.out.splitlines()) == 81
    assert f"fastprune: warning: {file} is damaged and not used" in result.err


@pytest.mark.parametrize("closed", [".", "fastprune"], ids=["home", "folder of fastprune"])
def test_a_folder_that_may_not_be_searched_is_no_reason_to_warn(
    closed: str, cache: Path, tmp_path: Path
) -> None:
    """Whether there is such a file is not known; with HOME=/root there mostly is none."""
    home = tmp_path / "home"
    (home / "fastprune").mkdir(parents=True)
    options = ("list", "--format", "url", "--limit", "1")
    env, prefix = config_in(home), without_privileges()
    (home / closed).chmod(0)
    try:
        result = run(*options, cache=cache, env=env, prefix=prefix)
        told = run(*options, "--log-level", "debug", cache=cache, env=env, prefix=prefix)
    finally:
        (home / closed).chmod(0o700)
    assert (result.code, result.err) == (0, "")
    assert f"debug: {home}/fastprune/tuned.json can't be read" in told.err


def test_a_file_that_is_there_and_may_not_be_read_is_warned_about(
    cache: Path, tmp_path: Path
) -> None:
    write_saved(tmp_path, {})
    (tmp_path / "fastprune" / "tuned.json").chmod(0)
    result = run(
        *("list", "--format", "url", "--limit", "1"),
        cache=cache,
        env=config_in(tmp_path),
        prefix=without_privileges(),
    )
    assert result.code == 0
    assert "warning: " in result.err
    assert "tuned.json can't be read and is not used: Permission denied" in result.err


def test_a_damaged_file_is_replaced_when_saving(cache: Path, tmp_path: Path) -> None:
    file = tmp_path / "fastprune" / "tuned.json"
    file.parent.mkdir()
    file.write_text("{")
    result = tune("--save", cache=cache, home=tmp_path)
    assert result.code == 0
    assert f"{file} is damaged" in result.err
    assert set(json.loads(file.read_text())["caches"]) == {str(cache.resolve())}


def test_a_file_that_can_not_be_read_is_not_replaced(cache: Path, tmp_path: Path) -> None:
    file = tmp_path / "fastprune" / "tuned.json"
    file.mkdir(parents=True)
    result = tune("--save", cache=cache, home=tmp_path)
    assert result.code == 1
    assert f"fastprune: error: {file} can't be read, so it was not replaced" in result.err
    assert file.is_dir()


def test_what_cannot_be_saved_is_shown_all_the_same(cache: Path) -> None:
    result = tune("--save", cache=cache, home=Path("/dev/null/home"))
    assert result.code == 1
    assert "Recommended: " in result.out
    assert "Saved" not in result.out
    assert "fastprune: error: /dev/null/home/fastprune/tuned.json can't be written" in result.err


# Who picks it up


@pytest.fixture
def saved(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache for which 7 jobs and a concurrency of 9 were saved."""
    write_saved(tmp_path, {str(cache.resolve()): {"jobs": 7, "concurrency": 9}})
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    return cache


def write_saved(home: Path, caches: Mapping[str, object]) -> None:
    file = home / "fastprune" / "tuned.json"
    file.parent.mkdir(exist_ok=True)
    file.write_text(json.dumps({"version": 1, "caches": caches}))


def test_saved_values_are_the_defaults(saved: Path) -> None:
    session = open_session(GlobalOptions(image_path=str(saved)))
    assert (session.jobs, session.concurrency(None)) == (7, 9)


def test_they_are_found_by_any_path_to_the_cache(saved: Path, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(saved)
    assert open_session(GlobalOptions(image_path=str(link))).jobs == 7


def test_an_explicit_number_beats_them(saved: Path) -> None:
    session = open_session(GlobalOptions(image_path=str(saved), jobs="3"))
    assert (session.jobs, session.concurrency("5")) == (3, 5)


def test_an_explicit_auto_beats_them(saved: Path) -> None:
    session = open_session(GlobalOptions(image_path=str(saved), jobs="auto"))
    assert (session.jobs, session.concurrency("auto")) == (available_jobs(), None)


def test_another_cache_has_no_part_in_them(saved: Path, tmp_path: Path) -> None:
    del saved
    session = open_session(GlobalOptions(image_path=str(tmp_path)))
    assert (session.jobs, session.concurrency(None)) == (available_jobs(), None)


@pytest.mark.parametrize(
    ("value", "warns"), [("auto", False), (0, True), (1025, True), ("4", True), (True, True)]
)
def test_a_saved_value_that_is_no_number_is_auto(
    value: object, warns: bool, cache: Path, tmp_path: Path
) -> None:
    write_saved(tmp_path, {str(cache.resolve()): {"jobs": value, "concurrency": 4}})
    result = run("list", "--limit", "1", cache=cache, env=config_in(tmp_path))
    assert result.code == 0
    assert ("tuned.json" in result.err and "jobs is not used" in result.err) == warns


@pytest.mark.parametrize("rate", [0, -1, "fast", True, 1e300, []])
def test_a_saved_rate_that_is_none_is_not_used(
    rate: object, saved: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_saved(tmp_path, {str(saved.resolve()): {"deletes_per_second": rate}})
    assert open_session(GlobalOptions(image_path=str(saved))).saved_rate is None
    assert "deletes_per_second is not used" in capsys.readouterr().err


def test_a_dry_run_goes_by_the_saved_rate(cache: Path, tmp_path: Path) -> None:
    write_saved(tmp_path, {str(cache.resolve()): {"deletes_per_second": 12_345.6}})
    options = ("prune", "--pattern", "typha", "--dry-run", "--summary")
    result = run(*options, cache=cache, env=config_in(tmp_path))
    assert result.out.endswith(" (12,346 files/s measured)\n")


def test_a_prune_runs_with_saved_values(tmp_path: Path) -> None:
    root = unpack("loaded", tmp_path)
    write_saved(tmp_path, {str(root): {"jobs": 2, "concurrency": 3}})
    result = run("prune", "--pattern", "nginx", cache=root, env=config_in(tmp_path))
    assert (result.code, result.err) == (0, "")


# How it ends


@pytest.mark.parametrize(
    ("numbers", "code"),
    [
        ((signal.SIGINT,), 130),
        ((signal.SIGINT, signal.SIGINT, signal.SIGINT), 130),
        ((signal.SIGTERM,), 143),
        ((signal.SIGHUP,), 129),
    ],
    ids=["SIGINT", "SIGINT-again-and-again", "SIGTERM", "SIGHUP"],
)
@pytest.mark.parametrize("files", [0, 1_000], ids=["at-once", "later"])
def test_a_signal_leaves_nothing_behind(
    numbers: tuple[signal.Signals, ...], code: int, files: int, tmp_path: Path
) -> None:
    root = unpack("loaded", tmp_path)
    before = snapshot(root)
    process = start("tune", "--seconds", "30", "--files", "50000", cache=root)
    wait_until(lambda: count_scratch_files(tmp_path) > files)
    for number in numbers:
        process.send_signal(number)
    result = finish(process)
    assert result.code == code
    assert "Traceback" not in result.err
    assert left_behind(tmp_path) == []
    assert snapshot(root) == before


def count_scratch_files(folder: Path) -> int:
    try:
        return sum(len(os.listdir(scratch / "blobs")) for scratch in folder.glob(SCRATCH))
    except OSError:
        return 0


def test_a_signal_during_the_deletion_leaves_nothing_behind(tmp_path: Path) -> None:
    root = unpack("loaded", tmp_path)
    most = 0

    def is_deleting() -> bool:
        nonlocal most
        now = count_scratch_files(tmp_path)
        most = max(most, now)
        return 0 < now < most

    process = start("tune", "--seconds", "30", "--files", "5000", cache=root)
    wait_until(is_deleting)
    process.send_signal(signal.SIGINT)
    result = finish(process)
    assert result.code == 130
    assert left_behind(tmp_path) == []


def test_a_signal_that_is_ignored_stays_ignored(tmp_path: Path) -> None:
    root = unpack("loaded", tmp_path)
    with subprocess.Popen(
        ["nohup", *command("tune", *QUICK, cache=root)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=environment(),
    ) as process:
        wait_until(lambda: count_scratch_files(tmp_path) > 0)
        process.send_signal(signal.SIGHUP)
        assert process.wait(30) == 0


@contextmanager
def mounted(*arguments: str | Path) -> Iterator[None]:
    subprocess.run(["mount", *arguments], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", arguments[-1]], check=True)


@needs_root
@pytest.mark.parametrize("size", ["size=1m", "size=100m,nr_inodes=200"], ids=["bytes", "inodes"])
def test_a_full_disk_is_named_and_nothing_is_left_behind(size: str, tmp_path: Path) -> None:
    with mounted("-t", "tmpfs", "-o", size, "tmpfs", tmp_path):
        root = unpack("loaded", tmp_path)
        result = tune(cache=root)
        assert (result.code, result.out) == (1, "")
        assert "fastprune: error: too little free space at " in result.err
        assert left_behind(tmp_path) == []


@needs_root
def test_a_parent_that_is_read_only_is_not_needed(tmp_path: Path) -> None:
    with mounted("-t", "tmpfs", "tmpfs", tmp_path):
        root = unpack("loaded", tmp_path)
        before = snapshot(root, ignore=["."])
        with mounted("--bind", root, root):
            # The cache stays writable: only this way to the file system is closed.
            subprocess.run(["mount", "-o", "remount,ro,bind", tmp_path], check=True)
            process = start("tune", *QUICK, cache=root)
            wait_until(lambda: any(root.glob(SCRATCH)))
            result = finish(process)
            assert (result.code, result.err) == (0, "")
            assert left_behind(tmp_path) == []
            assert snapshot(root, ignore=["."]) == before


@needs_root
def test_a_cache_that_is_read_only_too_can_not_be_measured(tmp_path: Path) -> None:
    with mounted("-t", "tmpfs", "tmpfs", tmp_path):
        root = unpack("loaded", tmp_path)
        subprocess.run(["mount", "-o", "remount,ro", tmp_path], check=True)
        result = tune(cache=root)
        assert (result.code, result.out) == (1, "")
        assert "can't be written to" in result.err


@needs_root
def test_a_cache_that_is_a_file_system_of_its_own_is_measured_there(tmp_path: Path) -> None:
    root = unpack("loaded", tmp_path)
    with mounted("-t", "tmpfs", "tmpfs", root):
        CacheBuilder(root).image("a:1")
        result = tune("--format", "json", cache=root)
        assert (result.code, result.err) == (0, "")
        assert json.loads(result.out)["machine"]["file_system"] == "tmpfs"
        assert left_behind(tmp_path) == []
