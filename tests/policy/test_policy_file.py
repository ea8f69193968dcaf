"""Policy files: what each key means, and errors that name file and key."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from fastprune import DeleteLimits, Policy, Rule, UsageError
from fastprune.layouts.default import DEFAULT_LAYOUT
from fastprune.policy.file_entries import Entry
from fastprune.policy.file_loading import PolicyFile, load_policy_file
from fastprune.policy.file_reading import read_toml, read_yaml

NOW = datetime(2024, 7, 1, 12, 0, 0, tzinfo=UTC)

TOML = """\
# Every night.
[policy]
exclude = ["/base/", "kube-"]
keep-last = 2
keep-within = "7d"
keep-from = "in-use.txt"
zone = "Europe/Berlin"
max-size = "500GB"
free = "1kB"
grace = "1h"
max-delete-count = 100
max-delete-size = "1TB"
max-delete-percent = 12.5

[rules.ci-images]
pattern = [
  "^ci/",  # the registry of the builds
  ":pr-",
]
older-than = "30d"
count = 5
keep-last = 3

[rules.dated]
date = 2024-01-01
pulled-before = 2024-02-01T10:00:00
broken = true
dangling = false
"""
YAML = """\
# Every night.
policy:
  exclude: ["/base/", kube-]
  keep-last: 2
  keep-within: 7d
  keep-from: in-use.txt
  zone: Europe/Berlin
  max-size: 500GB
  free: 1kB
  grace: 1h
  max-delete-count: 100
  max-delete-size: 1TB
  max-delete-percent: 12.5

rules:
  ci-images:
    pattern:
      - ^ci/
      - ":pr-"
    older-than: 30d
    count: 5
    keep-last: 3
  dated:
    date: 2024-01-01
    pulled-before: 2024-02-01T10:00:00
    broken: true
    dangling: false
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "img").mkdir()
    (tmp_path / "in-use.txt").write_text("nginx\n", encoding="utf-8")
    return tmp_path


def loaded(folder: Path, content: str, name: str = "p.toml", zone: str | None = None) -> PolicyFile:
    path = folder / name
    path.write_text(content, encoding="utf-8")
    return load_policy_file(str(path), NOW, layout=DEFAULT_LAYOUT, root=str(folder), zone=zone)


@pytest.mark.parametrize(("content", "name"), [(TOML, "p.toml"), (YAML, "p.yaml"), (YAML, "P.YML")])
def test_every_key_means_what_the_option_of_its_name_means(
    content: str, name: str, folder: Path
) -> None:
    assert loaded(folder, content, name) == PolicyFile(
        policy=Policy(
            exclude=("/base/", "kube-"),
            keep_last=2,
            keep_since="2024-06-24T14:00:00",
            keep_references=("docker.io/library/nginx:latest",),
            max_bytes=500 * 10**9,
            free_bytes=1000,
            rules=(
                Rule(
                    "ci-images",
                    Policy(
                        patterns=("^ci/", ":pr-"),
                        created_before="2024-06-01T14:00:00",
                        count=5,
                        keep_last=3,
                    ),
                ),
                Rule(
                    "dated",
                    Policy(
                        created_before="2024-01-01T00:00:00",
                        pulled_before="2024-02-01T10:00:00",
                        broken=True,
                    ),
                ),
            ),
        ),
        grace=3600,
        delete_limits=DeleteLimits(100, 10**12, 12.5),
        zone="Europe/Berlin",
    )


def test_the_zone_of_the_command_line_comes_first(folder: Path) -> None:
    policy = loaded(folder, TOML, zone="UTC").policy
    assert policy.keep_since == "2024-06-24T12:00:00"
    assert policy.rules[0].policy.created_before == "2024-06-01T12:00:00"


def test_patterns_split_at_commas_as_on_the_command_line(folder: Path) -> None:
    rules = loaded(folder, '[rules.a]\npattern = "x,y"\nexclude = ["z,w"]\n').policy.rules
    assert rules[0].policy == Policy(patterns=("x", "y"), exclude=("z", "w"))


def test_a_mark_of_the_encoding_and_other_line_ends_change_nothing(folder: Path) -> None:
    plain = loaded(folder, TOML)
    assert loaded(folder, "\ufeff" + TOML.replace("\n", "\r\n")) == plain
    with pytest.raises(UsageError, match=r"p.toml: rules.a.x: unknown key"):
        loaded(folder, "\ufeff\r\n[rules.a]\r\nx = 1\r\n")


def test_a_size_target_needs_no_rule_and_a_rule_no_policy(folder: Path) -> None:
    assert loaded(folder, '[policy]\nmax-size = "1kB"').policy == Policy(max_bytes=1000)
    assert loaded(folder, "rules: {x: {dangling: true}}", "p.yml").policy == Policy(
        rules=(Rule("x", Policy(dangling=True)),)
    )
    space = loaded(folder, '[policy]\nmin-free-space = "1%"').policy
    assert space.free_bytes is not None


@pytest.mark.parametrize("name", ["created-before", "prune-before"])
def test_the_other_names_of_an_option_are_known(name: str, folder: Path) -> None:
    rules = loaded(folder, f'[rules.a]\n{name} = "2024-01-01"\n').policy.rules
    assert rules[0].policy.created_before == "2024-01-01T00:00:00"


# What is wrong, in TOML, and what is said after "p.toml: ".
WRONG = [
    ('[rules.ci]\noldr-than = "1d"', "rules.ci.oldr-than: unknown key; did you mean 'older-than'?"),
    ("[rules.ci]\nkeep_last = 1", "rules.ci.keep_last: unknown key; did you mean 'keep-last'?"),
    ("[rules.ci]\nxyz = 1", "rules.ci.xyz: unknown key; there are broken, count, "),
    ('[rule.ci]\npattern = "a"', "rule: unknown key; did you mean 'rules'?"),
    ('pattern = "a"', "pattern: belongs in [rules.NAME]"),
    ('exclude = "a"', "exclude: belongs in [policy] or [rules.NAME]"),
    ('[policy]\npattern = "a"', "policy.pattern: belongs in a rule, as [rules.NAME]"),
    (
        '[rules.a]\ndangling = true\nmax-size = "1GB"',
        "rules.a.max-size: belongs in [policy], as it holds for the whole cache",
    ),
    ("[policy]\nallow-remove-all = true", "policy.allow-remove-all: only works as an option"),
    ("[rules.a]\nkeep-last = 0", "rules.a.keep-last: must be a whole number, 1 or more"),
    ("[rules.a]\nkeep-last = true", "rules.a.keep-last: must be a whole number, 1 or more"),
    ('[rules.a]\ncount = "3"', "rules.a.count: must be a whole number, 0 or more"),
    ("[rules.a]\nolder-than = 30", 'rules.a.older-than: must be a text, as "30d"'),
    ('[rules.a]\nolder-than = ""', 'rules.a.older-than: must be a text, as "30d"'),
    ("[rules.a]\ndangling = 1", "rules.a.dangling: must be true or false"),
    ("[rules.a]\npattern = []", "rules.a.pattern: must be a text or a list of texts"),
    ("[rules.a]\npattern = [1]", "rules.a.pattern: must be a text or a list of texts"),
    ("[policy]\nmax-delete-percent = 101", "policy.max-delete-percent: must be a number from 0"),
    ("[policy]\nmax-delete-percent = nan", "policy.max-delete-percent: must be a number from 0"),
    ('\n\n[rules.a]\n\nolder-than = "30 days"', "rules.a.older-than: not a duration: '30 days'"),
    ('[rules.a]\ndate = "yesterday"', "rules.a.date: not a date and time: 'yesterday'"),
    ('[rules.a]\nprune-before = "never"', "rules.a.prune-before: not a date and time"),
    ('[rules.a]\npattern = [\n"a",\n"b("]', "rules.a.pattern 'b(': missing )"),
    ('[rules.a]\npattern = "a,"', "rules.a.pattern 'a,': a pattern is empty"),
    ('[rules.a]\npattern = "foo|"', "rules.a.pattern 'foo|': this matches the empty text"),
    ("[policy]\nexclude = ['x{1,2}:']", "policy.exclude 'x{1,2}:': the comma after 'x{1'"),
    ('[policy]\nexclude = "("', "policy.exclude '(': missing )"),
    ('[policy]\nmax-size = "10"', "policy.max-size: not a size: '10'"),
    ('[policy]\nmin-free-space = "10 %"', "policy.min-free-space: "),
    ('[policy]\nfree = "1GB"\ngrace = "soon"', "policy.grace: not a duration: 'soon'"),
    ('[policy]\nmax-delete-size = "1"', "policy.max-delete-size: not a size: '1'"),
    ('[policy]\nfree = "1GB"\nzone = "Mars"', "policy.zone: unknown time zone: 'Mars'"),
    ('[policy]\nkeep-from = "none.txt"', "policy.keep-from "),
    ('[rules.a]\ndate = "2024-01-01"\ncreated-before = "2024-01-01"', "says the same as 'date'"),
    ("[rules.a]", "rules.a: nothing says what to prune"),
    ('[rules.a]\nkeep-within = "1d"', "rules.a: .*only say what to keep"),
    ('[rules."a b"]\npattern = "."', "rules.a b: not the name of a rule: 'a b'"),
    ('[rules.size-target]\npattern = "."', "not the name of a rule: 'size-target'"),
    ("rules = 3", "rules: must be a table of keys and values"),
    ("[[rules]]\nname = 1", "rules: must be a table of keys and values"),
    ("[rules]\na = 1", "rules.a: must be a table of keys and values"),
]


@pytest.mark.parametrize(("content", "says"), WRONG, ids=[case[1] for case in WRONG])
def test_what_is_wrong_is_said_with_file_and_key(content: str, says: str, folder: Path) -> None:
    with pytest.raises(UsageError) as error:
        loaded(folder, content)
    first = str(error.value).splitlines()[0]
    start = f"{folder}/p.toml: "
    assert first.startswith(start)
    assert re.search(says if ".*" in says else re.escape(says), first.removeprefix(start))


@pytest.mark.parametrize(
    ("content", "line", "says"),
    [
        ('[rules.a]\npattern = "a"\npattern = "b"', 3, "not valid TOML: Cannot overwrite a value"),
        ("[rules.a]\npattern = 'a", 2, "not valid TOML: "),
        ("[rules.a]\npattern = [1,\n", 2, "not valid TOML: "),
    ],
)
def test_what_is_no_toml_is_said_with_its_line(
    content: str, line: int, says: str, folder: Path
) -> None:
    with pytest.raises(UsageError) as error:
        loaded(folder, content)
    assert str(error.value).startswith(f"{folder}/p.toml, line {line}: {says}")


@pytest.mark.parametrize(
    ("content", "line", "says"),
    [
        ("rules:\n  ci:\n    oldr-than: 1d\n", 3, "rules.ci.oldr-than: unknown key; did you mean"),
        ("rules:\n  ci:\n    older-than:\n", 3, "rules.ci.older-than: must be a text"),
        ("rules:\n  ci:\n    pattern:\n      - a\n      - {b: c}\n", 3, "rules.ci.pattern: must"),
        (
            "rules:\n  a: {dangling: true}\n  a: {broken: true}\n",
            3,
            "'a' is there already, on line 2",
        ),
        ("rules:\n  a: \x1b\n", 2, "not valid YAML: the character U+001B is not allowed"),
        ("rules:\n  a: {dangling: true\n", 3, "not valid YAML: "),
        ("- a\n- b\n", 1, "must be a table of keys and values"),
        ("rules: {x: !!python/object:os.system {}}\n", 1, "rules.x: nothing says"),
        ("rules: {x: {count: !!int y}}\n", 1, "rules.x.count: "),
        ("rules: &a\n  x: *a\n", 2, "nested too deeply"),
        ("a: 1\n---\nb: 2\n", 2, "not valid YAML: expected a single document in the stream, but"),
    ],
)
def test_the_same_in_yaml(content: str, line: int, says: str, folder: Path) -> None:
    with pytest.raises(UsageError) as error:
        loaded(folder, content, "p.yaml")
    assert str(error.value).splitlines()[0].startswith(f"{folder}/p.yaml, line {line}: ")
    assert says in str(error.value)


def test_all_that_is_wrong_is_said_at_once(folder: Path) -> None:
    content = '[rules.b]\nx = 1\n[policy]\nkeep-last = "1"\n'
    with pytest.raises(UsageError) as error:
        loaded(folder, content)
    assert [line.rpartition(": ")[0] for line in str(error.value).splitlines()] == [
        f"{folder}/p.toml: {key}" for key in ("policy.keep-last", "rules.b.x")
    ]
    content = '[rules.b]\ndate = "x"\n[rules.c]\npattern = "("\n[policy]\nmax-size = "1"\n'
    with pytest.raises(UsageError) as error:
        loaded(folder, content)
    assert str(error.value).count(f"{folder}/p.toml: ") == 3


@pytest.mark.parametrize(
    ("content", "name", "says"),
    [
        ("", "p.toml", "p.toml: nothing says what to prune"),
        ("", "p.yaml", "p.yaml: nothing says what to prune"),
        ("[policy]\nkeep-last = 1", "p.toml", "p.toml: nothing says what to prune"),
        ("", "policy.txt", "its name must end in .toml, .yaml, .yml"),
        ("", "policy", "its name must end in"),
        ("#" * 1_000_001, "p.toml", "larger than 1000000 bytes"),
    ],
)
def test_files_that_are_no_policies(content: str, name: str, says: str, folder: Path) -> None:
    with pytest.raises(UsageError) as error:
        loaded(folder, content, name)
    assert says in str(error.value)


def test_a_file_that_can_not_be_read(folder: Path) -> None:
    for path in (folder / "missing.toml", folder):
        with pytest.raises(UsageError, match=r"^--policy "):
            load_policy_file(
                f"{path}/x.toml", NOW, layout=DEFAULT_LAYOUT, root=str(folder), zone=None
            )
    (folder / "p.toml").write_bytes(b"# a\n\xff\n")
    with pytest.raises(UsageError, match=r"p.toml, line 2: not text in UTF-8"):
        load_policy_file(
            str(folder / "p.toml"), NOW, layout=DEFAULT_LAYOUT, root=str(folder), zone=None
        )


@pytest.mark.parametrize("name", ["p.toml", "p.yaml"])
def test_what_is_nested_without_an_end_is_no_policy(name: str, folder: Path) -> None:
    content = "x = " * (name == "p.toml") + "[" * 5_000 + "]" * 5_000
    with pytest.raises(UsageError, match=f"{name}: nested too deeply"):
        loaded(folder, content, name)


def flat(entry: Entry, above: tuple[str, ...] = ()) -> dict[tuple[str, ...], int]:
    """The line of each key below an entry, by its path."""
    found: dict[tuple[str, ...], int] = {}
    if isinstance(entry.value, dict):
        for key, inner in entry.value.items():
            found[*above, key] = inner.line
            found |= flat(inner, (*above, key))
    return found


def test_a_key_of_yaml_stands_on_the_line_that_is_told() -> None:
    text = "# a\na: 1\n\nb:\n  c: {d: 2,\n   e: 3}\n  ? f\n  : |\n   g: 4\n"
    lines = flat(read_yaml(text, "x"))
    assert lines == {
        ("a",): 2,
        ("b",): 4,
        ("b", "c"): 5,
        ("b", "c", "d"): 5,
        ("b", "c", "e"): 6,
        ("b", "f"): 7,
    }


def values(entry: Entry) -> Any:
    if isinstance(entry.value, dict):
        return {key: values(inner) for key, inner in entry.value.items()}
    return entry.value


def test_both_formats_say_the_same() -> None:
    toml, yaml = values(read_toml(TOML, "x")), values(read_yaml(YAML, "x"))
    assert toml == yaml
