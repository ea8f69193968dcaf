"""ServedManifest: what a running server has in memory although its file or a blob is not sound.

Stage: plan. A value, which `fastprune.verification.comparing` finds. Pure, no I/O.

The server reads a manifest once, and answers for it from memory then. So it goes on when the file
or a blob has gone behind its back: the manifest comes with 200, its blob with 500, and nothing is
pulled again. When the server is asked to prune its URL, it forgets it, and the next pull brings it
anew.
"""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple


class NamedReason(IntEnum):
    """A reason that is written by its name."""

    @property
    def text(self) -> str:
        """The reason as reports, documents and the audit log write it."""
        return self.name.lower().replace("_", "-")


class ServedReason(NamedReason):
    """What is wrong with a manifest that the server has in memory. The gravest counts."""

    NO_FILE = 1
    DAMAGED_FILE = 2
    MISSING_BLOB = 3
    BAD_BLOB = 4

    @property
    def said(self) -> str:
        """The reason as a part of a sentence."""
        return (
            "its file is gone",
            "its file is damaged",
            "a blob is missing",
            "a blob is damaged",
        )[self - 1]


class ServedManifest(NamedTuple):
    """An entry of the server's list that it can't serve whole, or can't load again.

    Attributes:
        url: The image URL.
        digest: `sha256:` and 64 hex digits.
        path: Its file, relative to the cache, whether there is one or not.
        reason: What is wrong.
    """

    url: str
    digest: str
    path: str
    reason: ServedReason

    @property
    def document(self) -> dict[str, str]:
        """The manifest as a JSON object."""
        return self._asdict() | {"reason": self.reason.text}

    @property
    def entry(self) -> tuple[str, str]:
        """The URL and the digest."""
        return self.url, self.digest
