from __future__ import annotations

from itertools import chain
from urllib.parse import unquote

import pytest
import re2
from hypothesis import given
from hypothesis import strategies as st

from fastprune.server.expressions import (
    MOST_BYTES,
    encoded,
    expression,
    expressions,
    in_requests,
)

# What URLs of images hold, and what has a meaning in expressions, in queries or to the server.
urls = st.text("ab./:@-_,+*?()[]{}^$|\\ %&=#é\n", min_size=1, max_size=12)


def matching(joined: str, among: list[str]) -> list[str]:
    """What the server finds: it splits at commas, and searches each expression in each URL."""
    found = [re2.compile(one) for one in joined.split(",")]
    return [url for url in among if any(one.search(url) for one in found)]


@given(st.lists(urls, unique=True, min_size=1, max_size=20), st.data())
def test_expressions_match_their_urls_and_no_others(known: list[str], data: st.DataObject) -> None:
    wanted = data.draw(st.lists(st.sampled_from(known), unique=True, min_size=1))
    sent = unquote(encoded(expressions(wanted)))
    assert matching(sent, known) == [url for url in known if url in wanted]


@given(urls, urls)
def test_an_expression_does_not_match_what_holds_the_url(url: str, more: str) -> None:
    assert matching(expression(url), [url, url + more, more + url, url + "\n"]) == [url]


def test_an_expression_looks_as_documented() -> None:
    assert expression("docker.io/library/nginx:1.25") == r"^docker\.io/library/nginx:1\.25$"
    assert expression("a.b/c,d:1") == r"^a\.b/c\x2Cd:1$"


@pytest.mark.parametrize("wanted", [[], [""], ["docker.io/library/nginx:1.25", ""]])
def test_no_expression_is_ever_empty(wanted: list[str]) -> None:
    with pytest.raises(ValueError, match="would match everything"):
        expressions(wanted)


def test_an_empty_url_is_no_request() -> None:
    with pytest.raises(ValueError, match="would match everything"):
        list(in_requests(["a", "", "b"]))
    assert list(in_requests([])) == []


def test_half_of_a_surrogate_pair_is_no_request() -> None:
    with pytest.raises(UnicodeEncodeError):
        encoded(expressions(["docker.io/\udcff:1"]))


@given(
    st.lists(st.sampled_from(["a", "é" * 2000, "docker.io/library/nginx:1.25", "," * 3000]))
    | st.integers(0, 2000).map(lambda n: [f"docker.io/a/b@sha256:{i:064x}" for i in range(n)]),
    st.none() | st.integers(1, 50),
)
def test_requests_hold_all_urls_in_order_and_no_more_than_fit(
    wanted: list[str], most: int | None
) -> None:
    requests = list(in_requests(wanted, most))
    assert list(chain.from_iterable(requests)) == wanted
    assert all(0 < len(one) <= (most or len(one)) for one in requests)
    assert all(len(encoded(expressions(one))) <= MOST_BYTES for one in requests)


def test_some_hundred_digest_urls_fit_a_request() -> None:
    wanted = [f"docker.io/library/nginx@sha256:{at:064x}" for at in range(1000)]
    sizes = [len(one) for one in in_requests(wanted)]
    assert sizes[0] > 300
    with pytest.raises(ValueError, match="do not fit"):
        expressions(wanted)
