"""UrlMatcher (many URLs, many patterns at once) compared with RE2, one by one."""

from __future__ import annotations

import re2
from hypothesis import example, given
from hypothesis import strategies as st
from tests.property.profile import examples
from tests.support.strategies import PATTERNS, REPOSITORIES, TAGS

from fastprune.patterns import UrlMatcher

PLAIN = st.text("ab./:@-_1", min_size=1, max_size=5)
COMPLEX = st.sampled_from(
    (
        *PATTERNS,
        r"\Adocker",
        r":1\z",
        r"(?s)a.c",
        r"a|b",
        r"[^a-z]+$",
        r"\s",
        r"^$",
        r"^",
        r"x*",
        r"(?i)DOCKER\.IO/Library",
        r"\pL{3}",
        r"a{0}",
        r"é",
        r"\x{e9}",
        r"a.b",
        r"..:",
    )
)
SETS = st.lists(st.lists(st.one_of(PLAIN, COMPLEX), min_size=1, max_size=5), min_size=1, max_size=4)
URLS = st.one_of(
    st.builds(str.__add__, st.sampled_from(REPOSITORIES), st.sampled_from(TAGS)),
    st.text("ab./:@-_1", max_size=8),
    st.text("a\nb é\0😀", max_size=5),
    st.just("quay.io/b/c@sha256:" + "a" * 64),
)


def one_by_one(sets: list[list[str]], urls: list[str]) -> list[int]:
    compiled = [[re2.compile(pattern) for pattern in patterns] for patterns in sets]
    return [
        sum(
            1 << number
            for number, patterns in enumerate(compiled)
            if any(pattern.search(url) for pattern in patterns)
        )
        for url in urls
    ]


@examples(200)
@given(sets=SETS, urls=st.lists(URLS, max_size=10))
@example(sets=[["a\\nb"], ["b"]], urls=["a", "b", "a\nb"])
def test_each_url_matches_as_it_does_alone(sets: list[list[str]], urls: list[str]) -> None:
    match = UrlMatcher(sets).match
    assert match([url.encode() for url in urls]).tolist() == one_by_one(sets, urls)


@examples(60)
@given(sets=SETS, urls=st.lists(URLS, max_size=6))
def test_a_matcher_can_be_used_again(sets: list[list[str]], urls: list[str]) -> None:
    match = UrlMatcher(sets).match
    raw = [url.encode() for url in urls]
    assert match(raw) == match(raw)
    assert match([]).tolist() == []


def test_many_patterns_match_as_each_does_alone() -> None:
    names = [f"registry-{number}.example/team{number % 17}/app" for number in range(150)]
    plain = [f"{name}:v{number % 5}" for number, name in enumerate(names)]
    mixed = [f"{name}(:|@).*[05]$" for name in names[::3]]
    sets = [plain, mixed, plain[:50] + mixed[:50]]
    urls = [f"{name}:v{number % 7}" for number, name in enumerate(names)]
    match = UrlMatcher(sets).match
    assert match([url.encode() for url in urls]).tolist() == one_by_one(sets, urls)


def test_thirty_two_sets_have_a_bit_each() -> None:
    sets = [[f"x{number:02}x"] for number in range(32)]
    urls = [f"x{number:02}x" for number in range(32)]
    match = UrlMatcher(sets).match
    assert match([url.encode() for url in urls]).tolist() == [1 << bit for bit in range(32)]


def test_a_set_too_large_for_its_automaton_still_answers() -> None:
    # Long counted repetitions make the automaton of a set outgrow its memory.
    patterns = [f"(a|b){{{number}}}[^c]{{{number}}}d" for number in range(100, 150)]
    url = "ab" * 60 + "x" * 110 + "d"
    urls = [url, url[:-1], "nothing"]
    match = UrlMatcher([patterns]).match
    assert match([one.encode() for one in urls]).tolist() == one_by_one([patterns], urls)


def test_more_patterns_than_one_automaton_can_hold() -> None:
    patterns = [f"registry-{number}.example/team{number % 17}/app:v1" for number in range(9_000)]
    urls = [b"x", b"registry-0.example/team0/app:v1", b"registry-8999.example/team6/app:v1.2"]
    assert UrlMatcher([["zz"], patterns]).match(urls).tolist() == [0, 2, 2]
