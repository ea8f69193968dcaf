"""Manifests from memory or through the upstream: the order of writing of a pull.

I/O: through `Storage` only.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from .holders import BadFileError, Holder, new_holder
from .hooks import Hooks, Point
from .memory import Memory, MissingBlobError
from .references import BadReferenceError, Reference
from .storage import Storage
from .upstream import Upstream

_MOST_SECONDS = 60.0


class PullError(Exception):
    """A manifest can't be served: the answer is 500."""


class Puller:
    """Serves manifests. Of those who ask for the same one at once, only the first one pulls."""

    def __init__(
        self,
        memory: Memory,
        storage: Storage,
        hooks: Hooks,
        clock: Callable[[], str],
        *,
        upstream: Upstream | None,
        always_latest: bool,
    ) -> None:
        """Describes how it pulls.

        Args:
            memory: Where it looks first.
            storage: Where it writes.
            hooks: What happens meanwhile.
            clock: The time of now as text.
            upstream: What it pulls from; None: nothing can be reached.
            always_latest: Whether the tag `latest` is pulled each time.
        """
        self._memory = memory
        self._storage = storage
        self._hooks = hooks
        self._clock = clock
        self._upstream = upstream
        self._always_latest = always_latest
        self._under_way: dict[str, threading.Event] = {}
        self._lock = threading.Lock()

    def get(self, reference: Reference) -> Holder:
        """The manifest of a URL.

        Raises:
            PullError: It is not there and can't be pulled, or one of its blobs went meanwhile.
        """
        always = self._always_latest and reference.reference == "latest"
        if not always and (found := self._memory.serve(reference)):
            return found
        with self._lock:
            done = self._under_way.get(reference.url)
            if done is None:
                self._under_way[reference.url] = threading.Event()
        if done is None:
            return self._pull(reference, always=always)
        done.wait(_MOST_SECONDS)
        if found := self._memory.serve(reference):
            return found
        raise PullError(f"not found after waiting: {reference.url}")

    def _pull(self, reference: Reference, *, always: bool) -> Holder:
        try:
            holder = self._fetched(reference)
            self._hooks.at(Point.BEFORE_ADDING, reference.url)
            add = self._memory.replace if always else self._memory.add
            if not add(reference, holder):
                raise MissingBlobError(reference.url)
        except (BadFileError, BadReferenceError, MissingBlobError, OSError) as error:
            raise PullError(str(error)) from error
        else:
            return holder
        finally:
            with self._lock:
                self._under_way.pop(reference.url).set()

    def _fetched(self, reference: Reference) -> Holder:
        found = self._upstream.find(reference.url) if self._upstream else None
        if self._upstream is None or found is None:
            raise PullError(f"the upstream has no {reference.url}")
        holder = new_holder(found.media_type, found.document, reference.url, self._clock())
        self._storage.write_manifest(holder)
        self._hooks.at(Point.PULLED_MANIFEST, reference.url)
        for blob in holder.blobs:
            if not self._is_there(blob.digest, blob.size):
                content = self._upstream.fetch(blob.digest)
                if content is None:
                    raise PullError(f"the upstream has no blob {blob.digest}")
                self._storage.write_blob(blob.digest, content)
            self._hooks.at(Point.PULLED_BLOB, blob.digest)
        return holder

    def _is_there(self, digest: str, size: int) -> bool:
        try:
            return self._storage.blob(digest).stat().st_size == size
        except FileNotFoundError:
            return False
