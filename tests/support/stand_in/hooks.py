"""Named points of the server's work where a test lets something else happen."""

from __future__ import annotations

import threading
from collections.abc import Callable
from enum import Enum


class Point(Enum):
    """Where the server is, and what it is about.

    The lock of the manifests is held where it is said.
    """

    BEFORE_MATCHING = "a list or a prune is asked for, and nothing is locked yet: the path"
    MATCHED = "the manifests to prune are known, none is gone: how many"
    BEFORE_MANIFEST = "a manifest is about to be pruned, nothing is locked: its URL"
    BETWEEN = "the file of a manifest is gone, its blobs are there (locked): its URL"
    BEFORE_ANSWER = "all is done, and the answer was not sent: the path"
    REWRITE = "the file of a manifest was cut to nothing, to be written anew (locked): its URL"
    PULLED_MANIFEST = "a pull has written the manifest: its URL"
    PULLED_BLOB = "a pull has written a blob, or found it there: its digest"
    HALF_A_BLOB = "a pull has written the first half of a blob: its digest"
    BEFORE_ADDING = "a pull has written all, and memory does not know it: its URL"


class Killed(BaseException):
    """Ends the work of a thread when its server was killed; nothing may catch it."""


Hook = Callable[[str], None]


class Hooks:
    """What happens at which point. A killed server goes no further than the next point."""

    def __init__(self) -> None:
        self._hooks: dict[Point, list[Hook]] = {}
        self._lock = threading.Lock()
        self._killed = False

    def on(self, point: Point, hook: Hook) -> None:
        """Calls this at each such point, from a thread of the server, with the subject."""
        with self._lock:
            self._hooks.setdefault(point, []).append(hook)

    def once(self, point: Point, hook: Callable[[], object], subject: str = "") -> None:
        """Calls this at the first such point whose subject holds this text."""
        waiting = [True]

        def first(about: str) -> None:
            if subject in about:
                with self._lock:
                    is_first = waiting and waiting.pop()
                if is_first:
                    hook()

        self.on(point, first)

    def clear(self) -> None:
        """Forgets all of them."""
        with self._lock:
            self._hooks.clear()

    def kill(self) -> None:
        """Ends the work at the next point of each thread."""
        self._killed = True

    def at(self, point: Point, subject: str) -> None:
        """The server's work has come to this point.

        Raises:
            Killed: The server was killed.
        """
        if self._killed:
            raise Killed
        with self._lock:
            hooks = list(self._hooks.get(point, ()))
        for hook in hooks:
            hook(subject)
        if self._killed:
            raise Killed
