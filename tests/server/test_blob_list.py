"""The server's list of blobs, parsed: nothing is guessed."""

from __future__ import annotations

import pytest

from fastprune import ServerError
from fastprune.server.listing import parse_blob_list

ONE, OTHER = "1" * 64, "a" * 64


def test_digests_and_counts_are_read() -> None:
    found = parse_blob_list(f"URL REFCNT\n{ONE} 3\n{OTHER} 12\n".encode())
    assert [digest.tobytes().hex() for digest in found.digests] == [ONE, OTHER]
    assert found.counts.tolist() == [3, 12]
    assert len(found) == 2


def test_a_server_without_blobs_says_so_in_a_sentence() -> None:
    found = parse_blob_list(b"no manifests found\n")
    assert (len(found), found.digests.shape) == (0, (0, 32))


def test_what_is_given_to_nobody_is_left_out() -> None:
    found = parse_blob_list(f"URL REFCNT\n{ONE} 0\n{OTHER} -1\n".encode())
    assert len(found) == 0


@pytest.mark.parametrize(
    "text",
    [
        "",
        "no blobs\n",
        f"{ONE} 3\n",
        "URL REFCNT\n" + f"{ONE} 3",
        "URL REFCNT\n" + f"{ONE}\n",
        "URL REFCNT\n" + f"sha256:{ONE} 3\n",
        "URL REFCNT\n" + f"{ONE} many\n",
        "URL REFCNT\n" + f"{ONE} 3\n\n",
        "URL REFCNT\n" + f"{ONE[1:]}\xff 3\n",
    ],
)
def test_anything_else_is_an_error(text: str) -> None:
    with pytest.raises(ServerError, match="can't be used"):
        parse_blob_list(text.encode("latin-1"))
