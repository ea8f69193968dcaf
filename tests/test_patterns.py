"""Patterns on the command line: what is refused, and the place that the message shows."""

from __future__ import annotations

import pytest
import re2

from fastprune.errors import UsageError
from fastprune.patterns import UrlMatcher, check_pattern, split_patterns


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
        ([r"x{1\,2}:"], ("x{1,2}:",)),
        ([r"a\,b,c"], ("a,b", "c")),
        ([r"a\\,b"], (r"a\\", "b")),
        ([r"[]{],b"], ("[]{]", "b")),
        ([r"[^](],b"], ("[^](]", "b")),
        ([r"[[:alpha:]({],b"], ("[[:alpha:]({]", "b")),
        ([r"[\]\[],b"], (r"[\]\[]", "b")),
        ([r"\{\[\(,b"], (r"\{\[\(", "b")),
        ([r"\Q{[(\E,b"], (r"\Q{[(\E", "b")),
        (["(a){2},b{3},c"], ("(a){2}", "b{3}", "c")),
        ([r"(a[x\,)]{1\,2}),b"], ("(a[x,)]{1,2})", "b")),
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


@pytest.mark.parametrize(
    ("text", "bracket"),
    [
        ("x{1,2}:", "{"),
        ("a,x{1,}", "{"),
        ("[a,b]", "["),
        ("[],]", "["),
        ("(a,b)", "("),
        ("(?:a[x],b)", "("),
        (r"\Qa,b\E", r"\Q"),
        ("[[:alpha:],]", "["),
    ],
)
def test_a_comma_in_a_bracket_is_refused_and_the_way_is_shown(text: str, bracket: str) -> None:
    with pytest.raises(UsageError) as refusal:
        split_patterns([text], "--exclude")
    message = str(refusal.value)
    assert message.startswith(f"--exclude {text!r}: the comma after ")
    assert f"but {bracket} is still open" in message
    assert r"write '\,' for a comma" in message
    assert "--exclude A --exclude B" in message


@pytest.mark.parametrize(
    "pattern",
    ["foo|", "|", "|foo", "()", "a*", "(foo)?", "^", "$", "^$", r"x{0\,3}", "(?i)", ".?"]
    # These match no empty text, but every image.
    + [r"\b", r"foo|\b"],
)
@pytest.mark.parametrize("option", ["--pattern", "--exclude"])
def test_what_matches_everything_by_accident_is_refused(pattern: str, option: str) -> None:
    with pytest.raises(UsageError, match="every image; write '.' to mean every image"):
        split_patterns(["x", pattern], option)


@pytest.mark.parametrize("pattern", [".", ".*", "^.*$", "^.*", ".*$", "a|b", "(a|)b", r"\bx"])
def test_what_says_that_everything_is_meant_and_what_names_something_is_taken(
    pattern: str,
) -> None:
    assert split_patterns([pattern], "--pattern") == (pattern,)


@pytest.mark.parametrize("sets", [[[r"\pL{200}"]], [["b", r"\pL{200}", "c"], [r"\pL{200}"]]])
def test_a_pattern_that_is_too_large_for_a_set_is_matched_by_itself(
    sets: list[list[str]],
) -> None:
    for pattern in {pattern for patterns in sets for pattern in patterns}:
        check_pattern(pattern, "--pattern")
    urls = ["é" * 200, "é" * 199, "ab"]
    expected = [
        sum(
            any(re2.search(one, url) for one in patterns) << bit
            for bit, patterns in enumerate(sets)
        )
        for url in urls
    ]
    assert UrlMatcher(sets).match([url.encode() for url in urls]).tolist() == expected
    assert expected[0]


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
