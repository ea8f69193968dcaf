"""A server in this process that is asked as fastprune asks one: no HTTP, no thread of its own.

It is the stand-in's memory and its pulls on a real cache, behind the protocol `Server`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from pathlib import Path

from fastprune import ServerError
from fastprune.server.listing import BlobCounts, ServerListing, parse_blob_list, parse_listing

from .stand_in.hooks import Hooks
from .stand_in.listings import blob_list, manifest_list
from .stand_in.memory import Memory
from .stand_in.pulling import Puller
from .stand_in.references import of_request, of_url
from .stand_in.storage import Storage
from .stand_in.upstream import Upstream

BEGAN = datetime(2026, 11, 29)


class AskedServer:
    """A running server on a cache.

    Attributes:
        hooks: What happens at which point of its work.
        upstream: What it pulls from.
        memory: What it knows.
        asked: The URLs of each request to prune.
        before: Is called before each request, with its name: list, prune or blobs. What it
            raises is the answer.
        after: The same, when the work is done and the answer was not given.
    """

    def __init__(self, root: Path, *, always_latest: bool = False) -> None:
        """Loads the cache."""
        self.hooks, self.upstream = Hooks(), Upstream()
        self.asked: list[list[str]] = []
        self.before: Callable[[str], None] = lambda what: None
        self.after: Callable[[str], None] = lambda what: None
        self._seconds = 0
        self._root, self._always_latest = root, always_latest
        self.restart()

    def restart(self) -> None:
        """Loads the cache anew."""
        storage = Storage(self._root, self.hooks)
        self.memory = Memory(storage, self.hooks, self._tick, 0)
        self.memory.load()
        self._puller = Puller(
            self.memory,
            storage,
            self.hooks,
            self._tick,
            upstream=self.upstream,
            always_latest=self._always_latest,
        )

    def _tick(self) -> str:
        """The time of now: a second later each time, so that a pull never writes the same."""
        self._seconds += 1
        return f"{BEGAN + timedelta(seconds=self._seconds):%Y-%m-%dT%H:%M:%S}"

    def pull(self, url: str) -> None:
        """A client asks for a manifest by this URL: with the host as a parameter of the request."""
        host, _, rest = url.partition("/")
        repository, _, reference = rest.partition("@" if "@" in rest else ":")
        self._puller.get(of_request(repository.split("/"), reference, namespace=host))

    def whole(self, url: str) -> bool:
        """Whether a client gets the manifest and, of an image, all blobs. Pulls if it must."""
        holder = self._puller.get(of_url(url))
        return all(
            self.memory.references_to(blob.digest) > 0
            and (self._root / "blobs" / blob.digest).is_file()
            for blob in holder.blobs
        )

    def listed(self) -> ServerListing:
        """All that it knows."""
        return parse_listing(manifest_list(self.memory.matching(lambda one: True, 10**9)).encode())

    async def listing(self, urls: Sequence[str] | None = None) -> ServerListing:
        """See `Server.listing`."""
        self.before("list")
        wanted = None if urls is None else set(urls)
        found = self.memory.matching(lambda one: wanted is None or one.url in wanted, 10**9)
        self.after("list")
        return parse_listing(manifest_list(found).encode())

    async def prune(self, urls: Sequence[str]) -> None:
        """See `Server.prune`."""
        assert urls, "this would remove everything"
        self.before("prune")
        self.asked.append(list(urls))
        wanted = set(urls)
        self.memory.prune(self.memory.matching(lambda one: one.url in wanted, 10**9))
        self.after("prune")

    async def counted_blobs(self) -> BlobCounts:
        """See `Server.counted_blobs`."""
        self.before("blobs")
        return parse_blob_list(blob_list(self.memory.counted_blobs()).encode())

    async def head(self, url: str) -> None:
        """See `Server.head`."""
        if self.memory.serve(of_url(url)) is None:
            raise ServerError(f"404 for {url}")

    async def check(self) -> None:
        """See `Server.check`."""
