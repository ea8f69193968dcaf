"""Patterns on the command line: what is refused, and how the message shows where."""

from __future__ import annotations

import pytest

from fastprune.errors import UsageError
from fastprune.patterns import check_pattern, split_patterns


@pytest.mark.parametrize(
    ("texts", "patterns"),
    [
        (["a"], ("a",)),
        (["a,b", "c"], ("a", "b", "c")),
        (["kubernetesui/dashboard:v2.7.0"], ("kubernetesui/dashboard:v2.7.0",)),
        (["-a"], ("-a",)),
        (["a,a"], ("a", "a")),
        (["[-]-a"], ("[-]-a",)),
        ([r"\\C"], (r"\\C",)),
        (["é"], ("é",)),
        ([], ()),
    ],
)
def test_commas_and_repetitions_both_separate_patterns(
    texts: list[str], patterns: tuple[str, ...]
) -> None:
    assert split_patterns(texts, "--pattern") == patterns


@pytest.mark.parametrize("text", ["", ",", "foo,", ",foo", "a,,b"])
def test_an_empty_pattern_would_select_everything_and_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="^--pattern .*a pattern is empty") as refusal:
        split_patterns(["x", text], "--pattern")
    assert repr(text) in str(refusal.value)


@pytest.mark.parametrize("text", ["--dry-run", "a,--yes"])
def test_a_pattern_that_looks_like_an_option_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="^--exclude .*looks like an option"):
        split_patterns([text], "--exclude")


@pytest.mark.parametrize(
    ("pattern", "caret"),
    [
        ("a(b", None),
        ("ngin[x", ("[x", 4)),
        ("a**", ("**", 1)),
        ("x{2,1}", ("{2,1}", 1)),
        (r"ok\y", (r"\y", 2)),
        ("*a", ("*", 0)),
        ("(?<n", ("(?<n", 0)),
    ],
)
def test_an_invalid_pattern_is_refused_and_the_place_is_shown(
    pattern: str, caret: tuple[str, int] | None
) -> None:
    with pytest.raises(UsageError) as refusal:
        check_pattern(pattern, "--pattern")
    message, *shown = str(refusal.value).split("\n")
    assert message.startswith(f"--pattern {pattern!r}: ")
    if caret is None:
        return
    fragment, at = caret
    echo, marks = shown
    assert echo == f"  {pattern}"
    assert marks == "  " + " " * at + "^" * len(fragment)


@pytest.mark.parametrize("pattern", [r"\C", r"a\Cb", r"\\\C"])
def test_a_single_byte_is_refused_as_go_refuses_it(pattern: str) -> None:
    with pytest.raises(UsageError, match="invalid escape sequence"):
        check_pattern(pattern, "--pattern")


@pytest.mark.parametrize(
    "pattern", ["(?=a)", "(?<!a)", r"(a)\1", "(?>a)", "a++", "a{1001}", "(?x) a", "\ud800"]
)
def test_what_re2_does_not_know_is_refused(pattern: str) -> None:
    with pytest.raises(UsageError):
        check_pattern(pattern, "--pattern")


@pytest.mark.parametrize("pattern", ["(?i)a", r"\pL", r"\Aa\z", "(?P<n>a)", "[[:alpha:]]", "a|b"])
def test_what_go_knows_is_known(pattern: str) -> None:
    check_pattern(pattern, "--pattern")
