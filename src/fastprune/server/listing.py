"""The server's lists of manifests and of blobs, parsed.

Stage: parse. Input: the body of an answer. Output: a `ServerListing`, or digests. Pure, no I/O.

A line is `url digest  created pulled`; the times can be empty. Within a URL the server cuts a
digest to its first 10 digits; the digest beside it is whole. A list without manifests is one
sentence.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fastprune.errors import ServerError
from fastprune.model import DIGEST_BYTES, file_names
from fastprune.text.escaping import printable

_HEADER = "URL DIGEST CREATED PULLED"
_BLOB_HEADER = "URL REFCNT"
_BLOB_LINE = re.compile(r"([0-9a-f]{64}) (-?\d{1,18})", re.ASCII)
_NONE = b"no manifests found\n"
_LINE = re.compile(r"(\S|\S.*\S) ([0-9a-f]{64})  (\S*) (\S*)", re.ASCII)
_CUT = re.compile(r"(.+@sha256:)([0-9a-f]{10}|[0-9a-f]{64})", re.DOTALL)
_MOST_SHOWN = 200


@dataclass(frozen=True, slots=True, eq=False)
class ServerListing:
    """The manifests that a server knows: k entries, each with its own image URL.

    Attributes:
        urls: The k image URLs, whole.
        digests: uint8, (k, 32): the digest that the server has for each.
    """

    urls: list[str]
    digests: NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.urls)

    @property
    def names(self) -> dict[str, str]:
        """The digest of each URL in hex, as its file is named."""
        return dict(zip(self.urls, file_names(self.digests.tobytes()), strict=True))


@dataclass(frozen=True, slots=True, eq=False)
class BlobCounts:
    """The blobs that a server gives to clients: k of them.

    Attributes:
        digests: uint8, (k, 32).
        counts: int64, (k,): how many references to each the server counts; above 0.
    """

    digests: NDArray[np.uint8]
    counts: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.counts)


def parse_listing(text: bytes) -> ServerListing:
    """Parses the answer to a request for the list of manifests: its whole body.

    Raises:
        ServerError: It is not as specified: the message says where and how. Nothing is guessed
            and no line is left out.
    """
    if text == _NONE:
        return ServerListing([], _digests([]))
    try:
        lines = _lines(text.decode(), _HEADER)
    except UnicodeDecodeError as error:
        raise _odd(f"it is not UTF-8 at byte {error.start}") from None
    if not lines:
        raise _odd("it has a header, but no manifests")
    urls, digests = [], []
    for number, line in enumerate(lines, 2):
        match = _LINE.fullmatch(line)
        if not match:
            raise _odd(f"line {number} is no URL, digest and two times: {shown(line)}")
        url, digest = match[1], match[2]
        urls.append(_whole(url, digest, number) if "@" in url else url)
        digests.append(digest)
    if len(set(urls)) != len(urls):
        [(url, _)] = Counter(urls).most_common(1)
        raise _odd(f"it names an image URL twice: {shown(url)}")
    return ServerListing(urls, _digests(digests))


def parse_blob_list(text: bytes) -> BlobCounts:
    """Parses the answer to a request for the list of blobs: its whole body.

    A line is `digest count`. A count that is not above 0 means that the server gives the blob to
    nobody.

    Raises:
        ServerError: It is not as specified: the message says where and how.
    """
    if text == _NONE:
        return BlobCounts(_digests([]), np.empty(0, np.int64))
    digests, counts = [], []
    for number, line in enumerate(_lines(text.decode(errors="replace"), _BLOB_HEADER), 2):
        match = _BLOB_LINE.fullmatch(line)
        if not match:
            raise _odd(f"line {number} is no digest and count: {shown(line)}")
        if int(match[2]) > 0:
            digests.append(match[1])
            counts.append(int(match[2]))
    return BlobCounts(_digests(digests), np.array(counts, dtype=np.int64))


def _lines(text: str, header: str) -> list[str]:
    """The lines of a list after its header."""
    first, *lines = text.split("\n")
    if first != header:
        raise _odd(f"it begins with {shown(first) or 'an empty line'}, not with {header!r}")
    if not lines or lines.pop():
        raise _odd("it is cut off: the end of its last line is missing")
    return lines


def _digests(names: list[str]) -> NDArray[np.uint8]:
    """Digests in hex as an array."""
    return np.frombuffer(bytes.fromhex("".join(names)), np.uint8).reshape(-1, DIGEST_BYTES)


def shown(text: str) -> str:
    """The beginning of text from a server, in quotes and safe to print; nothing if it is empty."""
    if not text:
        return ""
    return f"'{printable(text[:_MOST_SHOWN])}'" + ("..." if len(text) > _MOST_SHOWN else "")


def _whole(url: str, digest: str, number: int) -> str:
    """A URL with a digest, with all digits of it."""
    match = _CUT.fullmatch(url)
    if not match or not digest.startswith(match[2]):
        raise _odd(f"line {number}: the digest in {shown(url)} is not that beside it, {digest}")
    return match[1] + digest


def _odd(what: str) -> ServerError:
    return ServerError(
        f"the server's list can't be used: {what}",
        hint="make sure that --server names a server of ociregistry, of a version that fastprune "
        "knows",
    )
