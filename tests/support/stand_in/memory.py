"""What the server keeps in memory, and how a prune goes: its defects are part of it.

I/O: through `Storage` only. Every method may be called from any thread.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator

from .holders import Holder
from .hooks import Hooks, Point
from .references import BadReferenceError, Reference, of_url
from .storage import Storage

Matches = Callable[[Holder], bool]


class MissingBlobError(Exception):
    """A blob of a manifest that was pulled is gone."""


class Memory:
    """Manifests by URL, in two maps, and how many manifests refer to each blob.

    A manifest that was pulled by tag is there twice: by its tag and by its digest. The second
    entry carries the URL of the first, so that lists and prunes leave it out.

    Attributes:
        tagged: All manifests but those of the tag `latest`, by URL.
        latest: The others, by URL.
        counts: References to each blob, by digest. What a pull counts when one of the blobs is
            missing, and what a prune does then, is as wrong as in the server.
    """

    def __init__(self, storage: Storage, hooks: Hooks, clock: Callable[[], str], seed: int) -> None:
        self.tagged: dict[str, Holder] = {}
        self.latest: dict[str, Holder] = {}
        self.counts: dict[str, int] = {}
        self._storage = storage
        self._hooks = hooks
        self._clock = clock
        self._random = random.Random(seed)
        self._manifests_lock = threading.Lock()
        self._blobs_lock = threading.Lock()

    def load(self) -> None:
        """Reads all files.

        Raises:
            BadReferenceError: The URL of one can't be understood: the server does not start.
        """
        for holder in self._storage.manifests():
            reference = of_url(holder.url)
            if all(self._storage.has_blob(blob.digest) for blob in holder.blobs):
                self.add(reference, holder)

    def has(self, reference: Reference) -> bool:
        """Whether there is an entry for exactly this URL."""
        with self._manifests_lock:
            return self._find(reference.url) is not None

    def serve(self, reference: Reference) -> Holder | None:
        """The manifest of a URL; its file is written anew, with the time of now.

        The entry goes to the map that the request belongs to. So one of `latest` that is asked
        for by digest is in both maps from then on.
        """
        with self._manifests_lock:
            url = reference.url
            found = self._find(url)
            if found is None and (url := reference.other_docker_url):
                found = self._find(url)
            if found is None:
                return None
            found = found.pulled_at(self._clock())
            (self.latest if reference.is_latest else self.tagged)[url] = found
            try:
                self._storage.write_manifest(found)
            except (OSError, BadReferenceError):
                return None
            return found

    def add(self, reference: Reference, holder: Holder) -> bool:
        """Adds a manifest whose files are there; whether none of its blobs is missing."""
        with self._manifests_lock:
            self._put(reference, holder)
            with self._blobs_lock:
                return self._count(holder)

    def replace(self, reference: Reference, holder: Holder) -> bool:
        """Puts a manifest in the place of what its URL led to, which is pruned."""
        with self._manifests_lock:
            old = self._find(reference.url)
            if old is not None and old.digest == holder.digest:
                return True
            if old is not None:
                self._drop(old)
            self._put(reference, holder)
            with self._blobs_lock:
                counted = self._count(holder)
                if old is not None:
                    self._drop_blobs(old)
            return counted or old is not None

    def matching(self, matches: Matches, count: int) -> list[Holder]:
        """Some of the manifests that match, in random order: at most so many.

        The lock is held for the whole pass. Second entries do not take part.
        """
        with self._manifests_lock:
            found = [one for url, one in self._entries() if url == one.url and matches(one)]
        if count < len(found):
            self._random.shuffle(found)
        return found[: max(count, 0)]

    def prune(self, holders: list[Holder]) -> None:
        """Removes manifests one after the other, each with its blobs that nothing counts."""
        for holder in holders:
            self._hooks.at(Point.BEFORE_MANIFEST, holder.url)
            with self._manifests_lock:
                self._drop(holder)
                self._hooks.at(Point.BETWEEN, holder.url)
                with self._blobs_lock:
                    self._drop_blobs(holder)

    def references_to(self, digest: str) -> int:
        """How many references there are to a blob, as far as they were counted."""
        with self._blobs_lock:
            return self.counts.get(digest, 0)

    def counted_blobs(self) -> dict[str, int]:
        """A copy of the counts."""
        with self._blobs_lock:
            return dict(self.counts)

    def _find(self, url: str) -> Holder | None:
        return self.tagged.get(url) or self.latest.get(url)

    def _entries(self) -> Iterator[tuple[str, Holder]]:
        yield from self.tagged.items()
        yield from self.latest.items()

    def _put(self, reference: Reference, holder: Holder) -> None:
        entries = self.latest if reference.is_latest else self.tagged
        entries[reference.url] = holder
        if not reference.by_digest:
            entries[reference.with_digest(holder.digest)] = holder

    def _count(self, holder: Holder) -> bool:
        """Counts the blobs up to the first one that is missing, that one included."""
        for blob in holder.blobs:
            self.counts[blob.digest] = self.counts.get(blob.digest, 0) + 1
            if not self._storage.has_blob(blob.digest):
                return False
        return True

    def _drop(self, holder: Holder) -> None:
        """Forgets a manifest and its second entry, whatever these lead to now; unlinks its file."""
        try:
            reference = of_url(holder.url)
        except BadReferenceError:
            return
        entries = self.latest if reference.is_latest else self.tagged
        entries.pop(reference.url, None)
        if not reference.by_digest:
            entries.pop(reference.with_digest(holder.digest), None)
        self._storage.remove_manifest(holder)

    def _drop_blobs(self, holder: Holder) -> None:
        """Counts down; ends at the first blob that can't be removed or was counted too low."""
        for blob in holder.blobs:
            left = self.counts.get(blob.digest, 0) - 1
            self.counts[blob.digest] = left
            if left == 0:
                del self.counts[blob.digest]
                if not self._storage.remove_blob(blob.digest):
                    return
            elif left < 0:
                return
