"""`--metrics-file` of the real program: prune, apply and plan, with success and with errors."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.cli.program import finish, holds_open, run, started, wait_until
from tests.report.test_metrics import samples
from tests.support.cachebuilder import CacheBuilder, Corruption, files, snapshot
from tests.support.inprocess import invoke
from tests.support.oracle import expected, load
from tests.support.realcaches import unpack


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "fastprune.prom"


def test_a_prune_says_what_there_was_and_what_went(tmp_path: Path, file: Path) -> None:
    root = unpack("pulled", tmp_path)
    cache = load(root)
    outcome = expected(cache, patterns=["typha"])
    blobs = {path for path in files(root) if path.startswith("blobs/")}
    size = sum(path.stat().st_size for path in root.rglob("*") if path.is_file())
    options = ("--pattern", "typha", "--metrics-file", file)
    assert run("prune", *options, "--dry-run", cache=root).code == 0
    dry = samples(file.read_text())
    assert (dry["last_run_dry_run"], dry["last_success_timestamp_seconds"]) == (1, 0)
    assert run("prune", *options, cache=root).code == 0
    read = samples(file.read_text())
    assert read["cache_manifests"] == len(cache.manifests)
    assert read["cache_bytes"] == size
    gone = size - sum(path.stat().st_size for path in root.rglob("*") if path.is_file())
    assert read["last_run_freed_bytes"] == read["freed_bytes_total"] == gone
    assert read["last_run_removed_blobs"] == len(blobs - outcome.left)
    assert read["last_run_planned_bytes"] == dry["last_run_planned_bytes"] == gone
    assert read["last_success_timestamp_seconds"] == read["last_run_timestamp_seconds"]
    steps = ("scan", "plan", "apply")
    assert all(f"last_run_step_duration_seconds{step}" in read for step in steps)


def test_plan_and_apply_have_metrics_of_their_own(tmp_path: Path, file: Path) -> None:
    root = unpack("loaded", tmp_path)
    plan, other = tmp_path / "plan", tmp_path / "apply.prom"
    options = ("plan", "--pattern", "nginx", "-o", plan)
    assert run(*options, "--metrics-file", file, cache=root).code == 0
    assert run("apply", plan, "--metrics-file", other, cache=root).code == 0
    planned, applied = samples(file.read_text()), samples(other.read_text())
    assert planned["last_success_timestamp_seconds"] > 0
    assert "last_run_removed_blobs" not in planned
    assert planned["last_run_planned_blobs"] == applied["last_run_removed_blobs"] > 0
    assert 'command="apply"' in other.read_text()


def test_verify_counts_what_is_damaged(tmp_path: Path, file: Path) -> None:
    root = unpack("loaded", tmp_path)
    options = ("verify", "--content", "--metrics-file", file)
    assert invoke(*options, cache=root).code == 0
    sound = samples(file.read_text())
    assert (sound["cache_damaged_blobs"], sound["cache_damaged_manifests"]) == (0, 0)
    assert sound["last_run_read_blobs"] == sound["cache_blobs"]
    blob = max((root / "blobs").iterdir(), key=lambda path: path.stat().st_size)
    blob.write_bytes(b"cut off")
    (root / "blobs" / ("0" * 64)).write_bytes(b"an orphan")
    assert invoke(*options, cache=root).code == 3
    damaged = samples(file.read_text())
    # What nothing refers to can be damaged as well.
    assert damaged["cache_damaged_blobs"] == 2
    assert damaged["cache_orphan_blobs"] == 1
    assert (
        damaged["last_success_timestamp_seconds"]
        == sound["last_success_timestamp_seconds"]
        < damaged["last_run_timestamp_seconds"]
    )


def test_a_refused_prune_is_written_down(tmp_path: Path, file: Path) -> None:
    builder = CacheBuilder(tmp_path / "cache")
    builder.image("a:1")
    builder.corrupt(Corruption.NOT_JSON)
    options = ("prune", "--pattern", "a", "--metrics-file", file)
    assert run(*options, cache=builder.root).code == 4
    read = samples(file.read_text())
    assert (read["last_run_exit_code"], read["cache_corrupt_manifests"]) == (4, 1)
    assert read["last_run_removed_manifests"] == 0


@pytest.mark.parametrize(
    "command",
    [("prune", "--pattern", "nginx"), ("plan", "--pattern", "nginx", "-o", "plan"), ("verify",)],
)
def test_a_broken_configuration_file_is_a_failed_run_on_the_cache_of_the_last_one(
    command: tuple[str, ...], tmp_path: Path, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = unpack("loaded", tmp_path)
    monkeypatch.chdir(tmp_path)
    config = tmp_path / "config.yaml"
    options: tuple[str | Path, ...] = (*command, "--config-file", config, "--metrics-file", file)
    config.write_text(f"imagePath: {root}")
    assert invoke(*options, cache=None).code == 0
    sound = samples(file.read_text())
    config.write_text("imagePath: [")
    refused = invoke(*options, cache=None)
    assert refused.code == 2
    assert "--config-file" in refused.err
    read = samples(file.read_text())
    assert (read["last_run_exit_code"], read["failed_runs_total"], read["runs_total"]) == (2, 1, 2)
    assert read["last_success_timestamp_seconds"] == sound["last_success_timestamp_seconds"] > 0
    assert f'image_path="{root}"' in file.read_text()


@pytest.mark.parametrize("command", [("prune", "--dry-run"), ("apply", "no.plan")])
def test_a_pruneconfig_that_can_t_be_used_is_a_failed_run(
    command: tuple[str, ...], tmp_path: Path, file: Path
) -> None:
    config = tmp_path / "config.yaml"
    config.write_text("pruneConfig: {type: nonsense}")
    options: tuple[str | Path, ...] = (*command, "--config-file", config, "--metrics-file", file)
    assert invoke(*options, cache=tmp_path).code == 2
    read = samples(file.read_text())
    assert (read["last_run_exit_code"], read["failed_runs_total"]) == (2, 1)
    assert read["last_run_dry_run"] == ("--dry-run" in command)
    assert f'image_path="{tmp_path}"' in file.read_text()


def test_a_file_in_the_cache_is_refused_and_nothing_is_deleted(tmp_path: Path) -> None:
    root = unpack("loaded", tmp_path)
    before = snapshot(root)
    result = run(
        "prune", "--pattern", "nginx", "--metrics-file", root / "blobs" / "a.prom", cache=root
    )
    assert (result.code, result.out) == (2, "")
    assert "--metrics-file" in result.err
    assert snapshot(root) == before


def test_a_prune_that_is_stopped_by_a_signal_is_written_down(tmp_path: Path, file: Path) -> None:
    builder = CacheBuilder(tmp_path / "cache")
    builder.image("a:1")
    builder.corrupt(Corruption.EMPTY)  # Read again and again: there is time for a signal.
    options = ("prune", "--pattern", "a", "--skip-corrupt", "--metrics-file", file)
    with started(*options, cache=builder.root) as process:
        wait_until(lambda: holds_open(process, builder.root))
        process.terminate()
        assert finish(process).code == 143
    assert samples(file.read_text())["last_run_exit_code"] == 143
