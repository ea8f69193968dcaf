"""For any URL, the name of the repository is the one that `Reference.parse` gives."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.property.indexing import index_of
from tests.property.profile import examples
from tests.support.strategies import CacheSketch, ImageSketch

from fastprune.index.cache_index import CacheIndex
from fastprune.model import Reference
from fastprune.reading.shards import UrlForm, url_form
from fastprune.usage.repositories import cut_to_segments, number_names, repository_lengths

DIGEST = "sha256:" + "ab" * 32
URLS = (
    "docker.io/library/nginx:1.25",
    f"docker.io/library/nginx@{DIGEST}",
    "localhost:5000/a/b:latest",
    "localhost:5000/a/b",
    "localhost:5000",
    "no-slash:tag",
    "no-slash",
    f"both/a:tag@{DIGEST}",
    "colon/at:the/end:",
    "",
    "/",
    ":",
    "@",
    "a//b:1",
    "quay.io/ünïcode/имя:1",
    "trailing/nul\0:1",
    # The digests of their own files.
    f"localhost:5000@sha256:{16:064x}",
    f"localhost:5000/a/b@sha256:{17:064x}",
    f"an@at/and:colon@sha256:{18:064x}",
)


def indexed(urls: Sequence[str]) -> CacheIndex:
    images = tuple(
        ImageSketch("img", f"{number:064x}", url, (), "0" * 64) for number, url in enumerate(urls)
    )
    return index_of(CacheSketch(images))


def names(index: CacheIndex, lengths: np.ndarray) -> list[str]:
    return [index.url_bytes(row)[: lengths[row]].decode() for row in range(len(index))]


@pytest.mark.parametrize("urls", [URLS, URLS[:1], (), ("",)], ids=["many", "one", "none", "empty"])
def test_a_repository_is_what_comes_before_the_tag_or_digest(urls: Sequence[str]) -> None:
    index = indexed(urls)
    assert names(index, repository_lengths(index)) == [
        Reference.parse(url).repository for url in urls
    ]


@examples(100)
@given(urls=st.lists(st.text(st.sampled_from("ab/:@.é\0"), max_size=9), max_size=20))
def test_any_urls_at_once(urls: list[str]) -> None:
    index = indexed(urls)
    lengths = repository_lengths(index)
    repositories = [Reference.parse(url).repository for url in urls]
    assert names(index, lengths) == repositories
    for segments in (1, 2, 3):
        assert names(index, cut_to_segments(index, lengths, segments)) == [
            "/".join(name.split("/")[:segments]) for name in repositories
        ]


@examples(50)
@given(urls=st.lists(st.text(st.sampled_from("ab/\0"), max_size=4), max_size=30))
def test_equal_names_have_equal_numbers(urls: list[str]) -> None:
    index = indexed(urls)
    found = number_names(index, repository_lengths(index))
    repositories = [Reference.parse(url).repository for url in urls]
    assert len(found.rows) == len(set(repositories))
    numbered = [
        index.url_bytes(int(found.rows[one]))[: found.lengths[one]].decode() for one in found.ids
    ]
    assert numbered == repositories


OWN, OTHER = f"{0:064x}", f"{7:064x}"


@pytest.mark.parametrize(
    ("url", "form"),
    [
        (f"a/b@sha256:{OWN}", UrlForm.OWN_DIGEST),
        (f"a:5000@sha256:{OWN}", UrlForm.OWN_DIGEST),
        (f"a@b@sha256:{OWN}", UrlForm.OWN_DIGEST),
        (f"é@sha256:{OWN}", UrlForm.OWN_DIGEST),
        (f"a/b@sha256:{OTHER}", UrlForm.DIGEST),
        (f"@sha256:{OWN}", UrlForm.TAG),
        (f"a/b@sha256:{OWN[1:]}", UrlForm.TAG),
        (f"a/b@sha512:{OWN}", UrlForm.TAG),
        (f"a/b:{OWN}", UrlForm.TAG),
        (OWN, UrlForm.TAG),
        ("", UrlForm.TAG),
    ],
)
def test_a_url_is_whole_though_its_own_digest_is_not_kept_twice(url: str, form: UrlForm) -> None:
    assert url_form(url, OWN) == form
    index = indexed([url, "z/y:1", f"z/y@sha256:{OTHER}"])
    assert index.urls(np.arange(3)) == [url, "z/y:1", f"z/y@sha256:{OTHER}"]
    assert index.url(0) == url
    assert index.digest_urls.tolist() == [form != UrlForm.TAG, False, True]
    assert (OWN.encode() in index.url_pool.tobytes()) == (OWN in url and form != UrlForm.OWN_DIGEST)
