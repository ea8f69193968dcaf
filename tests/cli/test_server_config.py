"""ociregistry's own configuration file: which keys count, and what is refused."""

from __future__ import annotations

import logging
import re
from pathlib import Path

import pytest

from fastprune.cli.cache_warnings import warn_of_own_pruning
from fastprune.cli.server_config import PruneSettings, ServerConfig, load_config, prune_settings
from fastprune.errors import UsageError


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "config.yaml"


def settings(file: Path, text: str) -> PruneSettings:
    file.write_text(text)
    return prune_settings(load_config(str(file)))


@pytest.mark.parametrize("text", ["", "# nothing but this\n", "---\n", "{}", "port: 8080\nair: 1"])
def test_a_file_without_our_keys_says_nothing(text: str, file: Path) -> None:
    file.write_text(text)
    config = load_config(str(file))
    assert (config.image_path, config.prune) == (None, None)
    assert prune_settings(config) == PruneSettings()


@pytest.mark.parametrize("key", ["imagePath", "imagepath", "IMAGEPATH", "ImagePath"])
def test_keys_are_known_in_any_letter_case(key: str, file: Path) -> None:
    file.write_text(f"{key}: /var/lib/x\npRuNeCoNfIg:\n  TYPE: Pattern\n  EXPR: a,b\n")
    config = load_config(str(file))
    assert config.image_path == "/var/lib/x"
    assert prune_settings(config) == PruneSettings(pattern=["a,b"])


def test_an_empty_image_path_is_none(file: Path) -> None:
    file.write_text("imagePath: ''\npruneConfig:\n")
    assert load_config(str(file)) == ServerConfig(str(file), None, None)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{type: pattern, expr: 'nginx,redis'}", PruneSettings(pattern=["nginx,redis"])),
        (
            "{type: date, expr: '2024-03-01T22:17:31'}",
            PruneSettings(date="2024-03-01T22:17:31"),
        ),
        # Without quotes, YAML reads a date.
        ("{type: date, expr: 2024-03-01T22:17:31}", PruneSettings(date="2024-03-01T22:17:31")),
        ("{type: date, expr: 2024-03-01}", PruneSettings(date="2024-03-01")),
        ("{type: created, duration: 30d}", PruneSettings(older_than="30d")),
        ("{type: accessed, duration: 720h}", PruneSettings(not_pulled_for="720h")),
        ("{type: accessed, duration: 1h, count: 5}", PruneSettings(not_pulled_for="1h", count=5)),
        # To the server, -1 means no limit.
        ("{type: pattern, expr: a, count: -1}", PruneSettings(pattern=["a"])),
        ("{type: pattern, expr: a, count: 0}", PruneSettings(pattern=["a"], count=0)),
        ("{type: pattern, expr: a, dryRun: true}", PruneSettings(pattern=["a"], dry_run=True)),
        ("{type: pattern, expr: a, DRYRUN: false}", PruneSettings(pattern=["a"], dry_run=False)),
        # What belongs to another type does not count.
        ("{type: pattern, expr: a, duration: 1d}", PruneSettings(pattern=["a"])),
        ("{type: created, duration: 1d, expr: a}", PruneSettings(older_than="1d")),
        # Other keys belong to the server.
        ("{frequency: 1h, enabled: true}", PruneSettings()),
        ("{dryRun: true}", PruneSettings(dry_run=True)),
    ],
)
def test_prune_config_in_the_terms_of_the_command_line(
    text: str, expected: PruneSettings, file: Path
) -> None:
    assert settings(file, f"pruneConfig: {text}\n") == expected


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("pruneConfig: {type: size}", "type"),
        ("pruneConfig: {type: pattern}", "expr"),
        ("pruneConfig: {type: pattern, expr: ''}", "expr"),
        ("pruneConfig: {type: pattern, expr: [a, b]}", "expr"),
        ("pruneConfig: {type: date}", "expr"),
        ("pruneConfig: {type: created}", "duration"),
        ("pruneConfig: {type: accessed, expr: 1d}", "duration"),
        ("pruneConfig: {type: created, duration: 30}", "duration"),
        ("pruneConfig: {count: many}", "count"),
        ("pruneConfig: {count: 1.5}", "count"),
        ("pruneConfig: {count: true}", "count"),
        ("pruneConfig: {dryRun: 'yes'}", "dryRun"),
        ("pruneConfig: {dryRun: 1}", "dryRun"),
        ("pruneConfig: [a]", "pruneConfig"),
        ("pruneConfig: text", "pruneConfig"),
        ("imagePath: [a]", "imagePath"),
        ("imagePath: 7", "imagePath"),
        ("- a\n- b", "not a mapping"),
        ("text", "not a mapping"),
        ("a: b: c", "not valid YAML"),
        ("a: [", "not valid YAML"),
        ("a: !!python/object:os.system x", "not valid YAML"),
        ("\x00", "not valid YAML"),
        ("[" * 5_000, "nested too deeply"),
        ("pruneConfig: {type: date, expr: 2024-13-01}", "expr|not valid YAML"),
        ("pruneConfig: {type: date, expr: 2024-02-30T00:00:00}", "expr|not valid YAML"),
        ("other: 2024-13-01", "not valid YAML"),
    ],
)
def test_what_can_t_be_used_is_a_usage_error_that_names_file_and_key(
    text: str, key: str, file: Path
) -> None:
    with pytest.raises(UsageError, match=key) as refusal:
        settings(file, text + "\n")
    assert str(file) in str(refusal.value)


def test_a_file_that_can_t_be_read_is_a_usage_error(tmp_path: Path) -> None:
    for path in (tmp_path / "missing", tmp_path):
        with pytest.raises(UsageError, match="--config-file"):
            load_config(str(path))
    binary = tmp_path / "binary"
    binary.write_bytes(b"\xff\xfe\x00\xd8")
    with pytest.raises(UsageError, match="not valid YAML"):
        load_config(str(binary))


@pytest.mark.parametrize(
    ("expr", "message"),
    [("nginx|", "matches the empty text"), ("x{1,2}", "the comma after 'x{1'")],
)
def test_an_expression_that_means_everything_or_is_cut_in_two_is_refused(
    expr: str, message: str, file: Path
) -> None:
    with pytest.raises(UsageError, match=re.escape(message)) as refusal:
        settings(file, f"pruneConfig: {{type: pattern, expr: '{expr}'}}\n")
    assert "pruneConfig.expr" in str(refusal.value)


def test_a_server_that_prunes_by_itself_is_said_once(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(logging.getLogger("fastprune"), "propagate", True)
    running = [(7, "/etc/a.yaml"), (8, "/etc/b.yaml")]
    monkeypatch.setattr("fastprune.guard.servers.pruning_servers", lambda root: tuple(running))

    def said(config: ServerConfig | None) -> list[str]:
        caplog.clear()
        warn_of_own_pruning(str(tmp_path), config)
        return [record.getMessage() for record in caplog.records]

    sentence = "the server prunes by itself as well: {} has pruneConfig with enabled: true"
    assert said(None) == [sentence.format("/etc/a.yaml")]
    file.write_text("pruneConfig:\n  enabled: true\n")
    assert said(load_config(str(file))) == [sentence.format(file)]
    running.clear()
    file.write_text("pruneConfig:\n  type: pattern\n  expr: x\n")
    assert said(load_config(str(file))) == said(None) == []
