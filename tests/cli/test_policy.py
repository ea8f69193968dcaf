"""`--policy FILE`: the rules of a file in prune, plan, apply, explain, list and du."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.cli.program import run
from tests.support.cachebuilder import CacheBuilder, files, snapshot
from tests.support.inprocess import Output, invoke
from tests.support.schemas import errors

POLICY = """\
[policy]
exclude = "base"

[rules.ci]
pattern = "^ci/"
keep-last = 1

[rules.old]
date = "2024-01-03"
"""
TAGS = {
    **{f"ci/app:{day}": f"2024-01-0{day}T00:00:00" for day in (1, 2, 3)},
    **{f"prod/app:{day}": f"2024-01-0{day}T00:00:00" for day in (1, 2, 3)},
    "prod/base:1": "2024-01-01T00:00:00",
}
GOES = {"ci/app:1": "ci", "ci/app:2": "ci", "prod/app:1": "old", "prod/app:2": "old"}


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    builder = CacheBuilder(tmp_path / "cache")
    for url, created in TAGS.items():
        builder.image(url, layers=[builder.blob(100)], created=created)
    return builder.root


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    return written(tmp_path, POLICY)


def written(folder: Path, content: str, name: str = "nightly.toml") -> Path:
    path = folder / name
    path.write_text(content, encoding="utf-8")
    return path


def goes(result: Output) -> dict[str, str | None]:
    return {item["url"]: item["rule"] for item in result.document["manifests"]}


def test_a_prune_by_a_file_does_what_its_dry_run_says(cache: Path, policy: Path) -> None:
    before = snapshot(cache)
    dry = invoke("prune", "--policy", policy, "--dry-run", cache=cache)
    assert (dry.code, dry.err) == (0, "")
    assert "By rule: ci 2, old 2\n" in dry.out
    assert "Kept by rules: 2 (excluded 1, keep-last 1)\n" in dry.out
    assert snapshot(cache) == before
    done = invoke("prune", "--policy", policy, "--format", "json", "--force", cache=cache)
    assert (done.code, goes(done)) == (0, GOES)
    assert done.document["by_rule"] == {"ci": 2, "old": 2}
    assert len(files(cache)) == 3 * 3


def test_a_plan_of_a_file_keeps_the_rules_until_it_is_applied(
    cache: Path, policy: Path, tmp_path: Path
) -> None:
    plan, log = tmp_path / "plan", tmp_path / "log"
    assert invoke("plan", "--policy", policy, "-o", plan, cache=cache).code == 0
    lines = [json.loads(line) for line in plan.read_text("utf-8").splitlines()]
    assert {line["url"]: line["rule"] for line in lines if line["record"] == "manifest"} == GOES
    # The file is not asked again.
    policy.unlink()
    applied = invoke(
        *("apply", plan, "--audit-log", log, "--force", "--format", "json"), cache=cache
    )
    assert (applied.code, goes(applied)) == (0, GOES)
    start, *events, _ = [json.loads(line) for line in log.read_text("utf-8").splitlines()]
    assert [rule["name"] for rule in start["policy"]["rules"]] == ["ci", "old"]
    assert {one["url"]: one["rule"] for one in events if one["kind"] != "blob"} == GOES
    assert not any("rule" in one for one in events if one["kind"] == "blob")


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("ci/app:2", "it would go: it is selected by rule 'ci' (pattern)"),
        ("prod/app:1", "it would go: it is selected by rule 'old' (created-before)"),
        ("ci/app:3", "it would stay: --keep-last keeps it (rule 'ci': its tag is the newest of"),
        ("prod/base:1", "it would stay: it is excluded"),
        ("prod/app:3", "it would stay: it does not meet every criterion (none of 2 rules selects"),
    ],
)
def test_explain_names_the_rule(url: str, says: str, cache: Path, policy: Path) -> None:
    result = invoke("explain", url, "--policy", policy, cache=cache)
    assert result.code == 0
    assert f"This prune: {says}" in result.out


def test_list_shows_what_the_rules_select(cache: Path, policy: Path) -> None:
    before = snapshot(cache)
    listed = invoke("list", "--policy", policy, "--format", "url", cache=cache)
    assert (listed.code, listed.out.split(), listed.err) == (0, sorted(GOES), "")
    narrowed = invoke(
        "list", "--policy", policy, "--keep-last", "2", "--format", "url", cache=cache
    )
    assert narrowed.out.split() == ["ci/app:1", "prod/app:1"]
    assert snapshot(cache) == before


def test_list_leaves_out_the_children_that_a_rule_keeps_with_their_list(tmp_path: Path) -> None:
    builder = CacheBuilder(tmp_path / "cache")
    child = builder.image("old/app@sha256:" + "1" * 64, layers=[builder.blob(100)])
    builder.index("ci/app:1", children=[child])
    rules = '[rules.ci]\npattern = "^ci/"\nexclude = "^old/"\n[rules.all]\npattern = "."\n'
    policy = written(tmp_path, rules)
    listed = invoke("list", "--policy", policy, "--format", "url", cache=builder.root)
    assert listed.out == "ci/app:1\n"


def test_du_shows_what_comes_free_by_the_rules(cache: Path, policy: Path) -> None:
    result = invoke("du", "--policy", policy, "--by", "image", "--format", "json", cache=cache)
    assert result.document["selects"]
    assert {row["name"] for row in result.document["rows"] if row["kind"] == "image"} == set(GOES)


@pytest.mark.parametrize(
    ("more", "stays"),
    [
        (("--exclude", "app:1"), {"ci/app:1", "prod/app:1"}),
        (("--keep-last", "2"), {"ci/app:2", "prod/app:2"}),
        (("--keep-within", "9000d"), set(GOES)),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else "",
)
def test_options_beside_a_file_only_keep_more(
    more: tuple[str, ...], stays: set[str], cache: Path, policy: Path
) -> None:
    result = invoke("prune", "--policy", policy, *more, "-n", "--format", "json", cache=cache)
    assert goes(result).keys() == GOES.keys() - stays


def test_what_is_in_use_is_named_beside_the_file(cache: Path, tmp_path: Path) -> None:
    (tmp_path / "in-use").write_text("prod/app:1\n", encoding="utf-8")
    in_use = tmp_path / "also-in-use"
    in_use.write_text("ci/app:1 prod/app:2\n", encoding="utf-8")
    # Short names mean those of Docker Hub; these images are of no registry at all.
    builder = CacheBuilder(cache)
    for url in ("docker.io/prod/app:1", "docker.io/prod/app:2", "docker.io/prod/app:3"):
        builder.image(url, created="2024-01-01T00:00:00")
    content = POLICY.replace("[policy]", '[policy]\nkeep-from = "in-use"')
    policy = written(tmp_path, content)
    options = ("--policy", policy, "--keep-from", in_use, "-n", "--format", "json")
    names = goes(invoke("prune", *options, cache=cache)).keys()
    assert {name for name in names if name.startswith("docker.io/")} == {"docker.io/prod/app:3"}


@pytest.mark.parametrize(
    "option",
    [
        *(("--pattern", "a"), ("--date", "2024-01-01"), ("--older-than", "1d"), ("--count", "1")),
        *(("--pulled-before", "2024-01-01"), ("--not-pulled-for", "1d"), ("--dangling",)),
        *(("--broken",), ("--max-size", "1GB"), ("--free", "1GB"), ("--min-free-space", "1%")),
        ("--orphans-only",),
    ],
    ids=lambda option: option[0],
)
def test_options_that_select_are_refused_beside_a_file(
    option: tuple[str, ...], cache: Path, policy: Path
) -> None:
    for command in (("prune",), ("explain", "ci/app:1"), ("plan", "-o", "-"), ("list",), ("du",)):
        if option == ("--orphans-only",) and command[0] in ("list", "du"):
            continue
        result = invoke(*command, "--policy", policy, *option, cache=cache)
        assert (result.code, result.out) == (2, "")
        assert f"{option[0]} can't be combined with --policy" in result.err


def test_the_limits_of_the_file_and_of_the_command_line_hold_both(
    cache: Path, tmp_path: Path
) -> None:
    limits = "[policy]\nmax-delete-count = 3\nmax-delete-percent = 90"
    policy = written(tmp_path, POLICY.replace("[policy]", limits))
    before = snapshot(cache)

    def refused(*options: str) -> list[tuple[str, float]]:
        result = invoke("prune", "--policy", policy, *options, "--format", "json", cache=cache)
        assert result.code == 4
        return [(one["limit"], one["most"]) for one in result.document["exceeded"]]

    assert refused() == [("max-delete-count", 3)]
    assert refused("--max-delete-count", "9") == [("max-delete-count", 3)]
    assert refused("--max-delete-count", "2") == [("max-delete-count", 2)]
    assert refused("--max-delete-percent", "10", "-n") == [
        ("max-delete-count", 3),
        ("max-delete-percent", 10),
    ]
    assert snapshot(cache) == before


def test_the_longer_grace_counts(cache: Path, tmp_path: Path) -> None:
    policy = written(tmp_path, POLICY.replace("[policy]", '[policy]\ngrace = "1h"'))
    for options in ((), ("--grace", "1s")):
        result = invoke("prune", "--policy", policy, *options, "-n", cache=cache)
        assert "Blobs: 0\n" in result.out
        assert "Blobs spared as too young: 8\n" in result.out


def test_of_the_servers_file_only_the_dry_run_stays_in_force(
    cache: Path, policy: Path, tmp_path: Path
) -> None:
    server = written(
        tmp_path, "pruneConfig: {type: pattern, expr: base, dryRun: true}", "config.yaml"
    )
    before = snapshot(cache)
    options = ("--policy", policy, "--config-file", server, "--format", "json")
    result = invoke("prune", *options, cache=cache)
    assert (result.document["dry_run"], goes(result)) == (True, GOES)
    assert snapshot(cache) == before


def test_an_error_in_the_file_is_a_usage_error_with_its_key(cache: Path, tmp_path: Path) -> None:
    policy = written(tmp_path, "[rules.ci]\n\nkep-last = 3\n")
    before = snapshot(cache)
    result = invoke("prune", "--policy", policy, "--format", "json", cache=cache)
    said = f"{policy}: rules.ci.kep-last: unknown key; did you mean 'keep-last'?"
    assert (result.code, result.document["error"]) == (2, said)
    assert f"fastprune: error: {said}\n" in result.err
    assert snapshot(cache) == before


def test_a_file_in_yaml_does_the_same(cache: Path, tmp_path: Path) -> None:
    content = (
        "policy: {exclude: base}\n"
        "rules:\n  ci:\n    pattern: ^ci/\n    keep-last: 1\n  old: {date: 2024-01-03}\n"
    )
    policy = written(tmp_path, content, "nightly.yaml")
    result = invoke("prune", "--policy", policy, "-n", "--format", "json", cache=cache)
    assert goes(result) == GOES


def test_what_it_prints_is_what_the_schemas_say(cache: Path, policy: Path, tmp_path: Path) -> None:
    plan, log = tmp_path / "plan", tmp_path / "log"
    options = ("--policy", policy, "--format", "json")
    assert errors("report", invoke("prune", *options, "-n", cache=cache).document) == []
    assert errors("explain", invoke("explain", "ci/app:1", *options, cache=cache).document) == []
    assert invoke("plan", "--policy", policy, "-o", plan, cache=cache).code == 0
    assert invoke("apply", plan, "--audit-log", log, "--force", cache=cache).code == 0
    for file, schema in ((plan, "plan-line"), (log, "audit-line")):
        for line in file.read_text("utf-8").splitlines():
            assert errors(schema, json.loads(line)) == []


def test_a_list_on_stdin_counts_for_every_rule_that_names_it(tmp_path: Path) -> None:
    builder = CacheBuilder(tmp_path / "cache")
    for name in ("q.io/a/x:1", "q.io/b/x:1", "q.io/a/y:1", "q.io/b/y:1"):
        builder.image(name, created="2020-01-01T00:00:00")
    policy = tmp_path / "policy.toml"
    rules = ("a", "b")
    policy.write_text(
        "".join(f"[rules.{name}]\npattern = '/{name}/'\nkeep-from = '-'\n" for name in rules)
    )
    result = run(
        *("prune", "--dry-run", "--format", "json", "--policy", policy, "--keep-from", "-"),
        cache=builder.root,
        stdin="q.io/a/x:1 q.io/b/x:1",
    )
    assert {one["url"] for one in json.loads(result.out)["manifests"]} == {
        "q.io/a/y:1",
        "q.io/b/y:1",
    }
