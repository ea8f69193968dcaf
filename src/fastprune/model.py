"""Digest, Reference and ManifestKind: the small values of the domain.

Stage: parse. Input: text. Output: frozen values. Pure, no I/O.

Digests follow the OCI image specification (descriptor.md, "Digests"); only the
algorithm sha256 occurs in an ociregistry cache. Image references follow the
grammar of the distribution project, as far as ociregistry writes them.
"""

from __future__ import annotations

import binascii
import calendar
import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum

from fastprune.errors import UsageError

DIGEST_BYTES = 32
DIGEST_PREFIX = "sha256:"
LINE_CHARS = len(DIGEST_PREFIX) + 2 * DIGEST_BYTES + 1
"""Characters of a digest, and of what stands between two in a text."""

LARGEST_INT64 = 2**63 - 1
_HEX_CHARS = 2 * DIGEST_BYTES
_LOWER_HEX = frozenset("0123456789abcdef")


def is_hex_name(name: str) -> bool:
    """Whether a file name is 64 lower-case hex digits, as every cached file's is."""
    return len(name) == _HEX_CHARS and _LOWER_HEX.issuperset(name)


@dataclass(frozen=True, slots=True, order=True)
class Digest:
    """A content digest: the algorithm sha256 and its 32 raw bytes."""

    raw: bytes

    def __post_init__(self) -> None:
        if len(self.raw) != DIGEST_BYTES:
            raise ValueError(f"a sha256 digest has {DIGEST_BYTES} bytes, not {len(self.raw)}")

    @classmethod
    def parse(cls, text: str) -> Digest:
        """Parses `sha256:<64 lower-case hex digits>`, or the hex digits alone.

        Raises:
            UsageError: The text is anything else; nothing is cut or guessed.
        """
        name = text.removeprefix(DIGEST_PREFIX)
        if not is_hex_name(name):
            raise UsageError(f"not a digest: {text!r}")
        return cls(bytes.fromhex(name))

    @property
    def hex(self) -> str:
        """The 64 hex digits: the name of the file in the cache."""
        return self.raw.hex()

    def __str__(self) -> str:
        return DIGEST_PREFIX + self.hex


class ManifestKind(IntEnum):
    """The `type` of a ManifestHolder, with ociregistry's own numbers."""

    DOCKER_LIST = 0
    DOCKER_IMAGE = 1
    OCI_INDEX = 2
    OCI_IMAGE = 3

    @property
    def is_list(self) -> bool:
        """Whether it refers to manifests (a list or index) rather than to blobs."""
        return self in (ManifestKind.DOCKER_LIST, ManifestKind.OCI_INDEX)

    @property
    def label(self) -> str:
        """`list` or `image`, as ociregistry prints it."""
        return "list" if self.is_list else "image"


@dataclass(frozen=True, slots=True)
class Reference:
    """An image URL of the cache, taken apart.

    Attributes:
        repository: Registry host (and port) and repository path.
        tag: The tag, empty for a digest URL or when none was written.
        digest: `sha256:<hex>` of a digest URL, else empty. It is shown, never trusted.
    """

    repository: str
    tag: str
    digest: str

    @classmethod
    def parse(cls, url: str) -> Reference:
        """Splits `registry/repository:tag` or `registry/repository@sha256:<hex>`.

        A colon before the last slash belongs to a port. Text that fits neither
        form is kept whole as the repository, so that it can still be shown.
        """
        return cls(*split_url(url))

    @property
    def tag_or_digest(self) -> str:
        """What follows the repository; `-` if nothing does."""
        return self.tag or self.digest or "-"


def split_url(url: str) -> tuple[str, str, str]:
    """The repository, the tag and the digest of an image URL; see `Reference`."""
    repository, at, digest = url.partition("@")
    if at:
        return repository, "", digest
    repository, colon, tag = url.rpartition(":")
    return (repository, tag, "") if colon and "/" not in tag else (url, "", "")


_TIME = re.compile(r"(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)", re.ASCII)


def parse_time(text: str) -> int | None:
    """Parses `YYYY-MM-DDTHH:MM:SS` to seconds from 1970-01-01T00:00:00 on the same clock.

    None if it is written in any other way, or no real date and time of day.
    """
    match = _TIME.fullmatch(text)
    if not match:
        return None
    year, month, day, hour, minute, second = map(int, match.groups())
    if year < 1 or not 1 <= month <= 12 or hour > 23 or minute > 59 or second > 59:
        return None
    if not 1 <= day <= calendar.monthrange(year, month)[1]:
        return None
    return calendar.timegm((year, month, day, hour, minute, second))


def pack_names(names: list[str]) -> bytes:
    """Turns file names into raw digests, all or nothing.

    Raises:
        ValueError: One is not 64 lower-case hex digits.
    """
    if not names:
        return b""
    joined = "".join(names)
    # A byte that is not UTF-8 becomes a lone surrogate, which unhexlify refuses.
    if set(map(len, names)) != {_HEX_CHARS} or joined != joined.lower():
        raise ValueError("not the name of a cached file")
    return binascii.unhexlify(joined)


def file_names(digests: bytes) -> list[str]:
    """The file names of raw digests, 32 bytes each."""
    joined = digests.hex()
    return [joined[at : at + _HEX_CHARS] for at in range(0, len(joined), _HEX_CHARS)]


def in_chunks(digests: bytes, most: int) -> Iterator[tuple[int, bytes]]:
    """Cuts raw digests into chunks of so many digests at most.

    Yields:
        The position of the first digest of each chunk, and the digests in it.
    """
    step = most * DIGEST_BYTES
    for at in range(0, len(digests), step):
        yield at // DIGEST_BYTES, digests[at : at + step]
