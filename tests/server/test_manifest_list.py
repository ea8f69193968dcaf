from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastprune.errors import ServerError
from fastprune.server.listing import ServerListing, parse_listing

HEADER = "URL DIGEST CREATED PULLED\n"
DIGEST = "0123456789" + "a" * 54
TIMES = "2026-01-02T03:04:05 2026-02-03T04:05:06"
LINE = f"docker.io/library/nginx:1.25 {DIGEST}  {TIMES}\n"


def entries(listing: ServerListing) -> list[tuple[str, str]]:
    return [
        (url, bytes(digest).hex())
        for url, digest in zip(listing.urls, listing.digests, strict=True)
    ]


def as_the_server_writes(items: list[tuple[str, str, str, str]]) -> bytes:
    """The list of URL, digest, created and pulled, as the server writes it."""
    if not items:
        return b"no manifests found\n"
    lines = [
        f"{url.replace(digest, digest[:10])} {digest}  {created} {pulled}\n"
        for url, digest, created, pulled in sorted(items)
    ]
    return (HEADER + "".join(lines)).encode()


digests = st.binary(min_size=32, max_size=32).map(bytes.hex)
times = st.sampled_from(["", "2026-01-02T03:04:05", "0001-01-01T00:00:00"])
repositories = st.lists(st.text("abz019._,+-", min_size=1, max_size=6), min_size=1, max_size=3).map(
    lambda parts: "/".join(["docker.io:5000", *parts])
)
tags = st.text("abzABZ019._-", min_size=1, max_size=9)


@st.composite
def items(draw: st.DrawFn) -> tuple[str, str, str, str]:
    digest, repository = draw(digests), draw(repositories)
    url = f"{repository}@sha256:{digest}" if draw(st.booleans()) else f"{repository}:{draw(tags)}"
    return url, digest, draw(times), draw(times)


@given(st.lists(items(), unique_by=lambda item: item[0], max_size=20))
def test_what_the_server_writes_is_read_whole(written: list[tuple[str, str, str, str]]) -> None:
    listing = parse_listing(as_the_server_writes(written))
    assert entries(listing) == sorted((url, digest) for url, digest, _, _ in written)
    assert listing.digests.dtype == "uint8"
    assert listing.digests.shape == (len(written), 32)


def test_no_manifests_are_an_empty_listing() -> None:
    listing = parse_listing(b"no manifests found\n")
    assert (len(listing), listing.digests.shape) == (0, (0, 32))


def test_a_whole_digest_in_a_url_is_taken_as_it_is() -> None:
    url = f"docker.io/library/nginx@sha256:{DIGEST}"
    listing = parse_listing(f"{HEADER}{url} {DIGEST}  {TIMES}\n".encode())
    assert entries(listing) == [(url, DIGEST)]


def test_a_url_may_hold_blanks() -> None:
    listing = parse_listing(f"{HEADER}docker.io/a b:1 {DIGEST}   \n".encode())
    assert entries(listing) == [("docker.io/a b:1", DIGEST)]


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("", "begins with an empty line"),
        ("\n", "begins with an empty line"),
        ("no manifests found", "begins with 'no manifests found'"),
        ("no manifests found\n\n", "begins with 'no manifests found'"),
        ("<html></html>\n", "begins with '<html></html>'"),
        (LINE, "begins with 'docker.io"),
        (HEADER, "no manifests"),
        (HEADER.strip(), "cut off"),
        (HEADER + LINE.strip(), "cut off"),
        (HEADER + LINE + LINE[:30], "cut off"),
        (HEADER + LINE + "\n", "line 3"),
        (HEADER + "\n" + LINE, "line 2"),
        (HEADER + LINE + HEADER, "line 3"),
        (HEADER + LINE.replace(DIGEST, DIGEST[:63]), "line 2"),
        (HEADER + LINE.replace(DIGEST, DIGEST.upper()), "line 2"),
        (HEADER + LINE.replace(DIGEST, "sha256:" + DIGEST), "line 2"),
        (HEADER + LINE.replace("  ", " "), "line 2"),
        (HEADER + f" {DIGEST}  {TIMES}\n", "line 2"),
        (HEADER + LINE.replace("\n", " x\n"), "line 2"),
        (HEADER + LINE + "- sha256:" + DIGEST + "\n", "line 3"),
        (HEADER + LINE + LINE, "twice"),
        (HEADER + f"a.b/c@sha256:{DIGEST[:10]} {'f' * 64}  {TIMES}\n", "is not that beside it"),
        (HEADER + f"a.b/c@sha256:{DIGEST[:9]} {DIGEST}  {TIMES}\n", "is not that beside it"),
        (HEADER + f"a.b/c@sha512:{DIGEST[:10]} {DIGEST}  {TIMES}\n", "is not that beside it"),
        (HEADER + f"a.b/c@sha256:{DIGEST[:10]}x {DIGEST}  {TIMES}\n", "is not that beside it"),
        (HEADER + f"a.b/c@sha256:{DIGEST}0 {DIGEST}  {TIMES}\n", "is not that beside it"),
        (HEADER + f"a.b/\x1b[31m:1 {DIGEST} {TIMES}\n", r"\x1b[31m"),
    ],
)
def test_anything_else_is_an_error(text: str, part: str) -> None:
    with pytest.raises(ServerError, match="the server's list can't be used") as caught:
        parse_listing(text.encode())
    assert part in str(caught.value)
    assert str(caught.value).isprintable()


def test_what_is_not_utf_8_is_an_error() -> None:
    with pytest.raises(ServerError, match="not UTF-8 at byte 28"):
        parse_listing(HEADER.encode() + b"ab\xff")


@given(st.data(), st.lists(items(), unique_by=lambda item: item[0], min_size=1, max_size=5))
def test_a_list_that_is_cut_off_anywhere_is_an_error(
    data: st.DataObject, written: list[tuple[str, str, str, str]]
) -> None:
    whole = as_the_server_writes(written)
    cut = whole[: data.draw(st.integers(0, len(whole) - 1))]
    if cut.endswith(b"\n") and cut.count(b"\n") > 1:
        # HTTP tells of a cut at the end of a line.
        assert len(parse_listing(cut)) < len(written)
    else:
        with pytest.raises(ServerError):
            parse_listing(cut)
