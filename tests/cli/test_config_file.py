"""The server's own configuration file, and how the command line overrides it."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from tests.cli.program import Result, run
from tests.support.cachebuilder import CacheBuilder, files, snapshot

OLD = "2020-01-01T00:00:00"
EVERYTHING = {"old:1", "used:1", "new:1"}


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("config") / "cache")


@pytest.fixture
def own(tmp_path: Path) -> Path:
    return build(tmp_path / "cache")


def build(root: Path) -> Path:
    """A cache with an old image, an old one that is still used, and a new one."""
    builder = CacheBuilder(root)
    # Of yesterday: no clock of any zone takes it for a time to come.
    now = (datetime.now(UTC) - timedelta(days=1)).strftime("%Y-%m-%dT%H:%M:%S")
    builder.image("old:1", created=OLD)
    builder.image("used:1", created=OLD, pulled=now)
    builder.image("new:1", created=now)
    return root


def prune_with(config: str, cache: Path, *options: str) -> Result:
    """Prunes by a configuration file of this content."""
    path = cache.parent / "config.yaml"
    path.write_text(config, encoding="utf-8")
    return run("prune", "--format", "json", *options, "--config-file", path, cache=cache)


def selected(result: Result) -> set[str]:
    assert (result.code, result.err) == (0, "")
    return {item["url"] for item in json.loads(result.out)["manifests"]}


@pytest.mark.parametrize(
    ("config", "urls"),
    [
        ("pruneConfig: {type: pattern, expr: 'old,^new'}", {"old:1", "new:1"}),
        # YAML makes a date of this.
        ("pruneConfig: {type: date, expr: 2021-01-01T00:00:00}", {"old:1", "used:1"}),
        ("pruneConfig: {type: created, duration: 30d}", {"old:1", "used:1"}),
        ("pruneConfig: {type: accessed, duration: 720h}", {"old:1"}),
        ("pruneConfig: {type: date, expr: '2021-01-01T00:00:00', count: 1}", {"old:1"}),
        ("pruneConfig: {type: pattern, expr: ':1', count: -1}", EVERYTHING),
        (
            "port: [1, {a: b}]\nPRUNECONFIG: {TYPE: Pattern, Expr: old, Freq: {d: 1}, other: 5}",
            {"old:1"},
        ),
    ],
    ids=[
        "pattern",
        "date",
        "created",
        "accessed",
        "count",
        "no-count",
        "any letter case, and keys of the server",
    ],
)
def test_the_file_says_what_to_prune(config: str, urls: set[str], shared: Path) -> None:
    assert selected(prune_with(config, shared, "--dry-run", "--allow-remove-all")) == urls


def test_the_command_line_overrides_key_by_key(own: Path) -> None:
    before = snapshot(own)
    config = "pruneConfig: {type: pattern, expr: old, COUNT: 1, dryrun: true}"
    result = prune_with(config, own, "--pattern", "old,used,new")
    # Another pattern, but still no more than one image and still a dry run.
    assert selected(result) == {"old:1"}
    assert snapshot(own) == before


def test_another_criterion_on_the_command_line_adds_to_those_of_the_file(shared: Path) -> None:
    config = "pruneConfig: {type: pattern, expr: 'old|new'}"
    assert selected(prune_with(config, shared, "--dry-run", "--older-than", "1y")) == {"old:1"}


def test_dry_run_in_the_file_is_respected_and_can_be_overridden(own: Path) -> None:
    before = snapshot(own)
    config = "pruneConfig: {type: pattern, expr: old, dryRun: true}"
    assert json.loads(prune_with(config, own).out)["dry_run"] is True
    assert snapshot(own) == before
    assert json.loads(prune_with(config, own, "--no-dry-run").out)["dry_run"] is False
    assert len(files(own)) == len(before) - 4 - 2  # The root, the folders; an image, its config.


def test_dry_run_on_the_command_line_overrides_the_file(own: Path) -> None:
    before = snapshot(own)
    prune_with("pruneConfig: {type: pattern, expr: old, dryRun: false}", own, "--dry-run")
    assert snapshot(own) == before


def test_orphans_only_sets_the_criteria_of_the_file_aside(shared: Path) -> None:
    config = "pruneConfig: {type: pattern, expr: old}"
    assert selected(prune_with(config, shared, "--dry-run", "--orphans-only")) == set()


def test_list_does_not_select_by_the_prune_settings(shared: Path) -> None:
    path = shared.parent / "list.yaml"
    path.write_text("pruneConfig: {type: pattern, expr: old}", encoding="utf-8")
    result = run("list", "--format", "url", "--config-file", path, cache=shared)
    assert set(result.out.splitlines()) == EVERYTHING


@pytest.mark.parametrize(
    ("config", "key"),
    [
        ("imagePath: [a]", "imagePath"),
        ("pruneConfig: {type: size}", "type"),
        ("pruneConfig: {type: pattern}", "expr"),
        ("pruneConfig: {type: pattern, expr: '['}", "expr"),
        ("pruneConfig: {type: date, expr: tomorrow}", "expr"),
        ("pruneConfig: {type: created, duration: 30}", "duration"),
        ("pruneConfig: {type: accessed, duration: '30'}", "duration"),
        ("pruneConfig: {type: pattern, expr: a, count: some}", "count"),
        ("pruneConfig: {type: pattern, expr: a, dryRun: maybe}", "dryRun"),
        ("pruneConfig: {type: 'pattern", "YAML"),
    ],
)
def test_a_wrong_value_is_a_usage_error_that_names_its_key(
    config: str, key: str, shared: Path
) -> None:
    before = snapshot(shared)
    result = prune_with(config, shared)
    assert result.code == json.loads(result.out)["exit_code"] == 2
    assert key in result.err
    assert "config.yaml" in result.err
    assert snapshot(shared) == before


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ("dryRun: true", "dryRun: has no effect here; put dryRun in pruneConfig"),
        ("dry-run: true", "dry-run: has no effect here; put dryRun in pruneConfig"),
        ("pruneConfig: {dry_run: true}", "pruneConfig.dry_run: unknown key; write dryRun"),
        ("prune_config: {dryRun: true}", "prune_config: unknown key; write pruneConfig"),
        ("image-path: /elsewhere", "image-path: unknown key; write imagePath"),
    ],
)
def test_a_dry_run_or_a_cache_in_the_wrong_place_is_not_passed_over(
    config: str, message: str, own: Path
) -> None:
    before = snapshot(own)
    result = prune_with(config, own, "--pattern", ".", "--allow-remove-all")
    assert result.code == 2
    assert result.err.startswith("fastprune: error: --config-file ")
    assert message in result.err
    assert snapshot(own) == before


def test_a_file_without_criteria_is_no_criterion(shared: Path) -> None:
    before = snapshot(shared)
    assert prune_with("pruneConfig: {count: -1, dryRun: false}", shared).code == 2
    assert prune_with("", shared).code == 2
    assert snapshot(shared) == before


def test_a_missing_file_is_a_usage_error(shared: Path) -> None:
    result = run("list", "--config-file", shared.parent / "missing.yaml", cache=shared)
    assert (result.code, result.out) == (2, "")
    assert "missing.yaml" in result.err


FROM_A_PIPE = """config=$1; shift; exec "$@" --config-file <(cat "$config")"""


def prune_from_a_pipe(config: str, cache: Path, *options: str | Path) -> Result:
    """Prunes by a configuration file that gives its content only once."""
    path = cache.parent / "config.yaml"
    path.write_text(config, encoding="utf-8")
    return run(
        "prune",
        *options,
        "--format",
        "json",
        prefix=["bash", "-c", FROM_A_PIPE, "bash", str(path)],
        env={"FASTPRUNE_IMAGE_PATH": ""},
    )


@pytest.mark.parametrize("option", ["--log-file", "--metrics-file", "--audit-log"])
def test_a_config_file_that_can_be_read_once_is_read_once(
    option: str, own: Path, tmp_path: Path
) -> None:
    before = snapshot(own)
    config = f"imagePath: {own}\npruneConfig: {{type: pattern, expr: old, dryRun: true}}"
    result = prune_from_a_pipe(config, own, option, tmp_path / "beside.prom")
    report = json.loads(result.out)
    assert (result.code, report["dry_run"], report["image_path"]) == (0, True, str(own))
    assert [item["url"] for item in report["manifests"]] == ["old:1"]
    assert snapshot(own) == before


def test_an_error_names_the_cache_of_a_config_file_that_can_be_read_once(
    own: Path, tmp_path: Path
) -> None:
    """The paths of errors and metrics come from the same reading."""
    metrics = tmp_path / "fastprune.prom"
    log = tmp_path / "log"
    config = f"imagePath: {own}\npruneConfig: {{count: many}}"
    result = prune_from_a_pipe(config, own, "--metrics-file", metrics, "--log-file", log)
    assert (result.code, json.loads(result.out)["image_path"]) == (2, str(own))
    assert f'image_path="{own}"' in metrics.read_text()
    assert "count" in log.read_text()


def test_a_damaged_config_file_that_can_be_read_once_is_refused(own: Path, tmp_path: Path) -> None:
    before = snapshot(own)
    config = "pruneConfig: {dryRun: true}\npruneConfig: {type: pattern, expr: old}"
    result = prune_from_a_pipe(config, own, "--image-path", own, "--log-file", tmp_path / "log")
    assert (result.code, json.loads(result.out)["image_path"]) == (2, str(own))
    assert "'pruneConfig' is there already, on line 1" in result.err
    assert snapshot(own) == before


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        (
            "pruneConfig: {dryRun: true}\npruneConfig: {type: pattern, expr: old}",
            "config.yaml: line 2: 'pruneConfig' is there already, on line 1",
        ),
        (
            "pruneConfig:\n  dryRun: true\n  type: pattern\n  expr: old\n  dryrun: false",
            "config.yaml: line 5: 'dryrun' is there already as 'dryRun', on line 2",
        ),
        ("port: 1\npruneConfig: {type: pattern, expr: old}\nport: 2", "line 3: 'port'"),
        ("pruneConfig: {type: pattern, expr: old}\t# all", "line 1: not valid YAML"),
        ("pruneConfig: {type: pattern, expr: old, count: 010}", "pruneConfig.count: '010'"),
    ],
)
def test_what_the_server_refuses_or_may_read_otherwise_is_refused(
    config: str, reason: str, shared: Path
) -> None:
    before = snapshot(shared)
    result = prune_with(config, shared)
    assert result.code == 2
    assert reason in result.err
    assert snapshot(shared) == before
