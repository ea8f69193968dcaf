"""Answers that are not as they should be, for as many requests as a test asks for."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from enum import Enum

from .messages import Answer, Request


class Kind(Enum):
    """What goes wrong."""

    SLOW = "the answer comes late"
    CUT = "half of the answer comes, then the connection ends; all was carried out"
    SILENT = "the connection ends without an answer; all was carried out"
    REFUSED = "the connection ends without an answer; nothing was carried out"
    FAILED = "500; nothing was carried out"
    FAILED_AFTER = "500; all was carried out"
    OTHER = "another answer; nothing was carried out"
    RESTART = "the server is killed and starts again; nothing was carried out, no answer"
    RESTART_AFTER = "the same, but all was carried out"


BEFORE = (Kind.REFUSED, Kind.FAILED, Kind.OTHER, Kind.RESTART)
"""Faults where nothing is carried out."""
DROPPED = (Kind.SILENT, Kind.REFUSED, Kind.RESTART, Kind.RESTART_AFTER)
"""Faults where the connection ends without an answer."""


@dataclass(slots=True)
class Fault:
    """One fault.

    Attributes:
        kind: What goes wrong.
        path: The path of the requests begins so.
        method: Their method; empty: any.
        skip: So many of them pass first.
        times: So many are hit then; -1: all.
        seconds: How late a slow answer is.
        answer: The other answer.
    """

    kind: Kind
    path: str = "/cmd/prune"
    method: str = ""
    skip: int = 0
    times: int = 1
    seconds: float = 0.2
    answer: Answer = field(default_factory=lambda: Answer(200))


class Faults:
    """The faults that are switched on; the first one that fits counts."""

    def __init__(self) -> None:
        self._faults: list[Fault] = []
        self._lock = threading.Lock()

    def add(self, fault: Fault) -> None:
        """Switches one on."""
        with self._lock:
            self._faults.append(fault)

    def clear(self) -> None:
        """Switches all off."""
        with self._lock:
            self._faults.clear()

    def for_request(self, request: Request) -> Fault | None:
        """The fault that hits this request, which is counted."""
        with self._lock:
            for fault in self._faults:
                fits = request.path.startswith(fault.path)
                if not fits or fault.method not in ("", request.method) or not fault.times:
                    continue
                if fault.skip:
                    fault.skip -= 1
                    continue
                fault.times -= 1
                return fault
        return None


def waited(fault: Fault) -> None:
    """Waits as long as a slow answer takes."""
    time.sleep(fault.seconds)
