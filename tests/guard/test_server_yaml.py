"""The server's YAML: text that two parsers read alike is taken, other text is refused."""

from __future__ import annotations

from typing import Any

import pytest

from fastprune.guard.server_yaml import ServerYamlError, load, value_of


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", {}),
        ("# nothing\n", {}),
        ("---\n", {}),
        ("--- \n...\n", {}),
        ("{}", {}),
        ("\ufeffimagePath: /x", {"imagePath": "/x"}),
        ("imagePath: /x # the cache\nport: 8080\n", {"imagePath": "/x", "port": 8080}),
        ("ImagePath: '/x y'\n", {"ImagePath": "/x y"}),
        ("imagePath:\n", {"imagePath": None}),
        ("imagePath: 2024-03-01", {"imagePath": "2024-03-01"}),
        ("imagePath: !!str /x", {"imagePath": "/x"}),
        # An alias means the same to both.
        ("at: &at /x\nimagePath: *at\n", {"at": "/x", "imagePath": "/x"}),
        (
            "pruneConfig: {type: date, expr: 2024-03-01T22:17:31, count: -1, dryRun: yes}",
            {
                "pruneConfig": {
                    "type": "date",
                    "expr": "2024-03-01T22:17:31",
                    "count": -1,
                    "dryRun": True,
                }
            },
        ),
        # Keys that only the server uses may have any form.
        (
            "registries:\n- &a {name: a, yes: 1}\n- {<<: *a, name: 010}\nhealth: 1:30\n",
            {
                "registries": [{"name": "a", "yes": 1}, {"<<": {"name": "a", "yes": 1}, "name": 8}],
                "health": 90,
            },
        ),
    ],
)
def test_what_both_read_in_the_same_way(text: str, expected: dict[str, Any]) -> None:
    assert load(text.encode()) == expected


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("port: 1\nimagePath: /x\t# the cache", "line 2: not valid YAML: .*'\\\\t'"),
        ("imagePath: /x\t\n", "line 1: not valid YAML"),
        ("a: 1\nb: !server x", "line 2: not valid YAML: .*!server"),
        ("a: !server {b: 1}", "line 1: the tag !server is not known"),
        ("a: !!set {b}", "line 1: the tag .*set is not known"),
        ("a: 1\nb: [", "line 2: not valid YAML"),
        ("a: 1\n\tb: 2", "line 2: not valid YAML"),
        ("a: 1\nb: \x01", r"line 2: not valid YAML: the character U\+0001 is not allowed"),
        ("a: 1\n# \u2028imagePath: /x", r"line 2: the character U\+2028"),
        ("# \u0085imagePath: /x", r"line 1: the character U\+0085"),
        ("a: 1\nb: 2024-13-45", "line 2: not valid YAML: '2024-13-45' is no timestamp"),
        ("a: !!bool maybe", "line 1: not valid YAML: 'maybe' is no bool"),
        ("a: !!int ''", "line 1: not valid YAML"),
        ("a: !!timestamp soon", "line 1: not valid YAML"),
        ("port: 1\nhost: a\nport: 2", "line 3: 'port' is there already, on line 1"),
        ("port: 1\n'port': 2", "line 2: 'port' is there already, on line 1"),
        ("pruneConfig: {dryRun: true}\npruneConfig: {}", "line 2: 'pruneConfig' .* on line 1"),
        (
            "pruneConfig: {dryRun: true}\nPruneConfig: {}",
            "line 2: 'PruneConfig' is there already as 'pruneConfig', on line 1",
        ),
        ("pruneConfig:\n  count: 1\n  Count: 2\n", "line 3: 'Count' .* as 'count', on line 2"),
        ("registries:\n- {name: a, name: b}", "line 2: 'name' is there already"),
        ("imagePath: /x\n---\nimagePath: /y", "single document"),
        ("- a\n- b", "not a mapping"),
        ("text", "not a mapping"),
        ("? [a]\n: b", "line 1: a key that is not a text"),
        ("[" * 5_000, "nested too deeply"),
        ("a: " + "[" * 70 + "]" * 70, "nested too deeply"),
        ("a: &a [*a]", "line 1: a value that contains itself"),
        ("imagePath: *at", "line 1: not valid YAML: .*undefined alias"),
        ("base: &b {imagePath: /x}\n<<: *b", "line 2: a merge key"),
        ("base: &b {dryRun: true}\npruneConfig:\n  <<: *b", "line 3: a merge key"),
        # Text to the one parser, a boolean, a number or a time of day to the other.
        ("imagePath: yes", "line 1: imagePath is not a string: 'yes'; put it in quotes"),
        ("imagePath: 7", "line 1: imagePath is not a string: '7'"),
        ("ImagePath: [a]", "line 1: ImagePath is not a string"),
        ("pruneConfig: {type: pattern, expr: on}", "line 1: pruneConfig.expr is not a string"),
        ("pruneConfig: {type: created, duration: 1:30}", "pruneConfig.duration is not a string"),
        # Numbers that are read differently: octal, in sixties, and so on.
        ("pruneConfig:\n  count: 010", "line 2: pruneConfig.count: '010'"),
        ("pruneConfig: {count: 1:30}", "pruneConfig.count: '1:30'"),
        ("pruneConfig: {count: 0x10}", "pruneConfig.count: '0x10'"),
        ("pruneConfig: {count: 1_000}", "pruneConfig.count: '1_000'"),
        # What the one parser refuses, or the system can't take as a path.
        ('imagePath: "\\udc80"', "line 1: half a surrogate pair"),
        ('imagePath: "/x\\0"', "line 1: imagePath holds a NUL"),
        ("imagePath: !!null /x", "line 1: imagePath has a tag"),
        ("imagePath: !!str 7", "line 1: imagePath has a tag"),
        ("pruneConfig: {dryRun: !!bool 'false'}", "pruneConfig.dryRun has a tag"),
    ],
)
def test_what_may_be_read_differently_is_refused_with_its_line(text: str, reason: str) -> None:
    with pytest.raises(ServerYamlError, match=reason):
        load(text.encode())


def test_what_is_not_utf_8_is_refused() -> None:
    with pytest.raises(ServerYamlError, match="line 2: not valid YAML: not UTF-8"):
        load(b"a: 1\nimagePath: /caf\xe9\n")
    with pytest.raises(ServerYamlError, match="not valid YAML"):
        load("imagePath: /x".encode("utf-16"))


def test_aliases_of_aliases_are_not_written_out() -> None:
    lines = ["a0: &a0 [x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 30)]
    assert list(load("\n".join(lines).encode()))[-1] == "a29"


def test_a_key_is_found_in_any_letter_case() -> None:
    mapping = load(b"IMAGEPATH: /x\n")
    assert value_of(mapping, "imagePath") == "/x"
    assert value_of(mapping, "pruneConfig") is None
