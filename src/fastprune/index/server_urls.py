"""KnownUrls: by which URLs a running server knows the manifests of a cache.

Stage: index. A value, which `fastprune.index.known_urls` finds. Pure: no I/O.

A cache holds one file for each digest and folder, with the URL of the last writer. So a server can
know tags that no file shows: its list names them, with the digest.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fastprune.index.arrays import marked


@dataclass(frozen=True, slots=True, eq=False)
class OtherTags:
    """The u tags that only the server knows.

    Attributes:
        rows: (u,): the manifest that each names, ascending.
        urls: The u URLs.
        attached: bool (u,): whether it is the tag of a signature or the like, and belongs to an
            image that is cached (see `fastprune.index.attached`).
    """

    rows: NDArray[np.intp]
    urls: list[str]
    attached: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.urls)

    def named(self, manifests: int) -> NDArray[np.bool_]:
        """Which of so many manifests have such a tag, bool (n,)."""
        return marked(self.rows, manifests)

    def urls_of(
        self, rows: NDArray[np.integer], *, of_their_own: bool = False
    ) -> Iterator[list[str]]:
        """The tags of each of some manifests; `of_their_own` are those that belong to no image."""
        firsts = np.searchsorted(self.rows, rows, side="left").tolist()
        lasts = np.searchsorted(self.rows, rows, side="right").tolist()
        if not of_their_own or not self.attached.any():
            yield from (self.urls[a:b] for a, b in zip(firsts, lasts, strict=True))
            return
        attached = self.attached.tolist()
        for first, last in zip(firsts, lasts, strict=True):
            yield [self.urls[at] for at in range(first, last) if not attached[at]]

    def of(self, row: int) -> slice:
        """Which of the tags are those of a manifest."""
        first, last = np.searchsorted(self.rows, (row, row + 1)).tolist()
        return slice(first, last)


@dataclass(frozen=True, slots=True, eq=False)
class KnownUrls:
    """The k entries of a server's list whose manifests are cached, and those that have no file.

    The file of an entry is that in the folder where the server keeps this URL. Entries come in the
    order of their rows, and those of a row in the order of the list.

    Attributes:
        rows: int32 (k,): the manifest of each entry, ascending; several entries can share one.
        urls: The k URLs by which the server knows them.
        unseen: bool (k,): a tag that only the server knows: the URL has no digest, and the file
            shows another one.
        own: bool (k,): the URL is the one that the file shows.
        strangers: The URL and the digest, `sha256:` and 64 hex digits, of each entry that has no
            file, in the order of the list. A manifest that can't be read has no row, so its
            entries are among them.
        others: The unseen ones.
    """

    rows: NDArray[np.int32]
    urls: list[str]
    unseen: NDArray[np.bool_]
    own: NDArray[np.bool_]
    strangers: tuple[tuple[str, str], ...]
    others: OtherTags

    def __len__(self) -> int:
        return len(self.urls)

    def loaded(self, manifests: int) -> NDArray[np.bool_]:
        """Which of so many manifests the server knows by any URL, bool (n,)."""
        return marked(self.rows, manifests)

    def counts(self, manifests: int) -> dict[str, int]:
        """What the server knows of so many manifests in figures, as JSON documents have them."""
        return {
            "entries": len(self) + len(self.strangers),
            "only_tags": len(self.others),
            "not_loaded": int((~self.loaded(manifests)).sum()),
            "without_file": len(self.strangers),
        }

    def urls_of(self, rows: NDArray[np.integer]) -> list[list[str]]:
        """The URLs by which the server knows each of some manifests; none if it does not."""
        firsts = np.searchsorted(self.rows, rows, side="left").tolist()
        lasts = np.searchsorted(self.rows, rows, side="right").tolist()
        return [self.urls[first:last] for first, last in zip(firsts, lasts, strict=True)]
