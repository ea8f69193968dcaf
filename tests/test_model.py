"""Digests are parsed strictly. References are parsed as far as needed to show them."""

from __future__ import annotations

import pytest

from fastprune import Digest, ManifestKind, Reference, UsageError
from fastprune.model import is_hex_name

HEX = "0123456789abcdef" * 4


@pytest.mark.parametrize("text", [HEX, f"sha256:{HEX}"])
def test_a_digest_is_parsed_with_or_without_its_prefix(text: str) -> None:
    digest = Digest.parse(text)
    assert (digest.raw, digest.hex, str(digest)) == (bytes.fromhex(HEX), HEX, f"sha256:{HEX}")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "sha256:",
        HEX[:-1],
        HEX + "0",
        HEX.upper(),
        HEX[:-1] + "g",
        HEX + "\n",
        f" {HEX}",
        f"sha256:sha256:{HEX}",
        f"sha512:{HEX}",
        f"SHA256:{HEX}",
        "٠" * 64,
        "../../victim",
    ],
)
def test_nothing_else_is_a_digest(text: str) -> None:
    with pytest.raises(UsageError, match="not a digest"):
        Digest.parse(text)
    assert not is_hex_name(text)


def test_a_digest_keeps_its_zeros_and_sorts_like_its_text() -> None:
    ordered = [f"{'0' * 63}1", f"01{'0' * 62}", "f" * 64]
    digests = [Digest.parse(text) for text in ordered]
    assert sorted(digests[::-1]) == digests
    assert [digest.hex for digest in digests] == ordered
    assert len(set(digests + digests)) == 3


@pytest.mark.parametrize("size", [0, 31, 33])
def test_a_digest_has_thirty_two_bytes(size: int) -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        Digest(bytes(size))


@pytest.mark.parametrize(
    ("kind", "is_list", "label"),
    [(0, True, "list"), (1, False, "image"), (2, True, "list"), (3, False, "image")],
)
def test_even_kinds_are_lists(kind: int, is_list: bool, label: str) -> None:
    assert (ManifestKind(kind).is_list, ManifestKind(kind).label) == (is_list, label)


@pytest.mark.parametrize(
    ("url", "repository", "tag", "digest"),
    [
        ("docker.io/library/nginx:1.25", "docker.io/library/nginx", "1.25", ""),
        ("docker.io/library/nginx", "docker.io/library/nginx", "", ""),
        ("host:5000/x:1", "host:5000/x", "1", ""),
        ("host:5000/x", "host:5000/x", "", ""),
        ("host:5000/a/b/c:latest", "host:5000/a/b/c", "latest", ""),
        (f"r/x@sha256:{HEX}", "r/x", "", f"sha256:{HEX}"),
        (f"r/x:1@sha256:{HEX}", "r/x:1", "", f"sha256:{HEX}"),
        ("r/x@anything", "r/x", "", "anything"),
        ("nginx:1", "nginx", "1", ""),
        ("r/x:", "r/x", "", ""),
        ("", "", "", ""),
    ],
)
def test_a_url_is_taken_apart(url: str, repository: str, tag: str, digest: str) -> None:
    reference = Reference.parse(url)
    assert reference == Reference(repository, tag, digest)
    assert reference.tag_or_digest == (tag or digest or "-")
