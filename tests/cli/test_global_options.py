"""The global options: where they may stand, and which one overrides which."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path

import pytest
from tests.cli.program import Result, run
from tests.support.cachebuilder import CacheBuilder, snapshot
from tests.support.realcaches import unpack

DEFAULT_PATH = Path("/var/lib/ociregistry")


@pytest.fixture(scope="module")
def caches(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Path]:
    """Caches of one image each, by the name of that image."""
    folder = tmp_path_factory.mktemp("options")
    for name in ("option", "variable", "file"):
        CacheBuilder(folder / name).image(f"{name}:1")
    return {path.name: path for path in folder.iterdir()}


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory, caches: Mapping[str, Path]) -> Path:
    path = tmp_path_factory.mktemp("config") / "config.yaml"
    path.write_text(f"imagePath: {caches['file']}\n", encoding="utf-8")
    return path


def urls(result: Result) -> list[str]:
    assert (result.code, result.err) == (0, "")
    return result.out.splitlines()


def test_global_options_work_before_and_after_the_command(caches: Mapping[str, Path]) -> None:
    path = str(caches["option"])
    assert urls(run("--image-path", path, "list", "--format", "url")) == ["option:1"]
    assert urls(run("list", "--format", "url", "--image-path", path)) == ["option:1"]


def test_after_the_command_beats_before_it(caches: Mapping[str, Path]) -> None:
    result = run(
        *("--image-path", caches["variable"], "list", "--format", "url"),
        *("--image-path", caches["option"]),
    )
    assert urls(result) == ["option:1"]


@pytest.mark.parametrize(
    "sources", [("option", "variable", "file"), ("variable", "file"), ("file",)], ids="-".join
)
def test_the_option_beats_the_variable_and_that_the_file(
    sources: tuple[str, ...], caches: Mapping[str, Path], config: Path
) -> None:
    result = run(
        *("list", "--format", "url", "--config-file", config),
        # Before the command is where a variable could beat an option by mistake.
        cache=caches["option"] if "option" in sources else None,
        env={"FASTPRUNE_IMAGE_PATH": str(caches["variable"])} if "variable" in sources else {},
    )
    assert urls(result) == [f"{sources[0]}:1"]


@pytest.mark.skipif(DEFAULT_PATH.exists(), reason="this machine has a cache of its own")
def test_without_any_path_it_is_that_of_the_server() -> None:
    result = run("list", env={"FASTPRUNE_IMAGE_PATH": ""})
    assert result.code == 10
    assert str(DEFAULT_PATH) in result.err


@pytest.fixture
def untidy(tmp_path: Path) -> Path:
    """A cache with something to warn about."""
    root = unpack("loaded", tmp_path)
    (root / "img" / "README").write_text("What is this?", encoding="utf-8")
    return root


def test_warnings_are_on_stderr_only(untidy: Path) -> None:
    noisy = run("list", "--format", "url", cache=untidy)
    (untidy / "img" / "README").unlink()
    assert "img/README" in noisy.err
    assert noisy.out == run("list", "--format", "url", cache=untidy).out


def test_quiet_leaves_errors_only(untidy: Path) -> None:
    assert urls(run("list", "--quiet", "--progress", "--format", "url", cache=untidy))
    (untidy / "img" / ("ab" * 32)).write_bytes(b"")
    result = run("prune", "--pattern", "nginx", "-q", cache=untidy)
    assert result.code == 4
    assert "README" not in result.err
    assert "ab" * 32 in result.err


def test_the_log_file_has_the_messages_with_times_after_what_was_there(
    untidy: Path, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    log.write_text("before\n", encoding="utf-8")
    result = run("prune", "-n", "--pattern", "nginx", "--log-file", log, cache=untidy)
    first, *lines = log.read_text(encoding="utf-8").splitlines()
    assert first == "before"
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d+ WARNING .*img/README", lines[0])
    assert "img/README" in result.err


def test_the_log_file_has_the_errors_too(tmp_path: Path) -> None:
    log = tmp_path / "log"
    result = run("list", "--log-file", log, cache=tmp_path / "missing")
    assert result.code == 10
    assert "no such folder" in log.read_text(encoding="utf-8")


@pytest.mark.parametrize("folder", ["img", "blobs/deeper"])
def test_the_log_file_must_not_lie_among_the_cached_files(untidy: Path, folder: str) -> None:
    log = untidy / folder / "log"
    log.parent.mkdir(exist_ok=True)
    result = run("list", "--log-file", log, cache=untidy)
    assert (result.code, result.out) == (2, "")
    assert f"--log-file {log}: lies in a folder of the cache" in result.err
    assert not log.exists()


def test_the_level_of_messages_says_what_protection_keeps(tmp_path: Path) -> None:
    root = unpack("pulled", tmp_path)
    arguments = ("prune", "-n", "--pattern", "nginx:latest", "--log-level")
    told = run(*arguments, "info", cache=root)
    assert re.search(r"nginx@sha256:\w+ stays: docker.io/library/nginx:1.25 ", told.err)
    assert run(*arguments, "warning", cache=root).err == ""


def test_any_number_of_workers_gives_the_same_output(tmp_path: Path) -> None:
    root = unpack("pulled", tmp_path)
    outputs = {run("list", "--jobs", jobs, cache=root) for jobs in ("1", "3", "auto")}
    assert len(outputs) == 1
    assert outputs.pop().code == 0


def test_progress_without_a_terminal_is_a_line_on_stderr(tmp_path: Path) -> None:
    root = unpack("loaded", tmp_path)
    result = run("list", "--format", "url", "--progress", cache=root)
    assert re.match(r"fastprune: scanning: 11 of 11 manifests, .* in ", result.err)
    assert len(result.out.splitlines()) == 11


GONE = 'mkdir "$0"; cd "$0"; rmdir "$0"; exec "$@"'


def run_in_a_deleted_folder(*args: str | Path, tmp_path: Path, **env: str) -> Result:
    return run(*args, prefix=["sh", "-c", GONE, str(tmp_path / "gone")], env=env)


@pytest.mark.parametrize(
    "command",
    [
        ("list",),
        ("prune", "--pattern", "a", "--format", "json"),
        ("verify", "--format", "json"),
        ("trash", "list"),
        ("tune",),
        ("explain", "a"),
        ("du",),
        ("apply", "/dev/null"),
    ],
    ids=" ".join,
)
def test_a_relative_path_of_the_cache_from_a_deleted_folder_says_so(
    command: tuple[str, ...], tmp_path: Path
) -> None:
    result = run_in_a_deleted_folder(*command, "--image-path", "cache", tmp_path=tmp_path)
    assert result.code == 10
    reason = "no cache at cache: a relative path, but the folder that fastprune was started in was"
    assert reason in result.err
    assert "Traceback" not in result.err
    if "json" in command:
        document = json.loads(result.out)
        assert (document["exit_code"], document["image_path"]) == (10, "cache")


def test_so_do_the_variable_and_the_config_file(tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    config.write_text("imagePath: cache\n")
    by_variable = run_in_a_deleted_folder("list", tmp_path=tmp_path, FASTPRUNE_IMAGE_PATH="cache")
    by_file = run_in_a_deleted_folder("list", "--config-file", config, tmp_path=tmp_path)
    for result in (by_variable, by_file):
        assert (result.code, result.out) == (10, "")
        assert "was deleted" in result.err


@pytest.mark.parametrize(
    ("option", "command"),
    [
        ("--config-file", ("list",)),
        ("--log-file", ("list",)),
        ("--keep-from", ("list",)),
        ("--policy", ("list",)),
        ("--output", ("plan", "--pattern", "a")),
        ("--html", ("du",)),
        ("--audit-log", ("prune", "--pattern", "a")),
        ("--metrics-file", ("prune", "--pattern", "a")),
        ("FILE", ("apply",)),
    ],
)
def test_a_relative_path_of_a_file_from_a_deleted_folder_says_so(
    option: str, command: tuple[str, ...], caches: Mapping[str, Path], tmp_path: Path
) -> None:
    before = snapshot(caches["file"])
    words = (*command, *([option] if option.startswith("-") else []), "near")
    result = run_in_a_deleted_folder(*words, "--image-path", caches["file"], tmp_path=tmp_path)
    assert (result.code, result.out) == (2, "")
    assert f"{option} near: a relative path, but the folder" in result.err
    assert snapshot(caches["file"]) == before


def test_absolute_paths_do_from_a_deleted_folder(
    caches: Mapping[str, Path], tmp_path: Path
) -> None:
    words = ("list", "--format", "url", "--image-path", caches["file"])
    expected = run(*words)
    assert expected.out
    assert run_in_a_deleted_folder(*words, "--jobs", "2", tmp_path=tmp_path) == expected


def test_a_dash_is_no_relative_path(caches: Mapping[str, Path], tmp_path: Path) -> None:
    words = ("plan", "--pattern", "file", "-o", "-", "--allow-remove-all")
    options = ("--image-path", caches["file"], "--quiet")
    result = run_in_a_deleted_folder(*words, *options, tmp_path=tmp_path)
    assert (result.code, result.err) == (0, "")
    assert '"record":"plan"' in result.out
