"""A running server without HTTP: it knows manifests by their URLs, and writes their files."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from tests.support.listings import listing_of

from fastprune.layouts.default import DEFAULT_LAYOUT
from fastprune.server.listing import ServerListing

_TICK = 20_000_000


class FakeServer:
    """A `Server` that keeps its list in memory.

    Attributes:
        root: Its cache.
        entries: The digest of each URL that it knows.
        asked: What it was asked: the method and the URLs.
        before: Is called before each request with the method; tests change the cache with it.
        obeys: Whether a prune removes anything.
    """

    def __init__(self, root: Path, entries: Iterable[tuple[str, str]]) -> None:
        self.root = root
        self.entries = dict(entries)
        self.asked: list[tuple[str, tuple[str, ...]]] = []
        self.before: Callable[[str], None] = lambda method: None
        self.obeys = True

    async def listing(self, urls: Sequence[str] | None = None) -> ServerListing:
        self._note("listing", *(urls or ()))
        known = self.entries.items()
        return listing_of((url, digest) for url, digest in known if urls is None or url in urls)

    async def prune(self, urls: Sequence[str]) -> None:
        self._note("prune", *urls)
        for url in urls if self.obeys else ():
            path = self._path(url)
            if path is not None:
                path.unlink(missing_ok=True)
                del self.entries[url]

    async def head(self, url: str) -> None:
        self._note("head", url)
        path = self._path(url)
        assert path is not None
        if path.exists():
            status = path.stat()
            os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + _TICK))
        else:
            path.write_bytes(b"{}")

    async def check(self) -> None:
        self._note("check")

    def _note(self, method: str, *urls: str) -> None:
        self.before(method)
        self.asked.append((method, urls))

    def _path(self, url: str) -> Path | None:
        digest = self.entries.get(url)
        return self.root / DEFAULT_LAYOUT.manifest_folder_of(url) / digest if digest else None
