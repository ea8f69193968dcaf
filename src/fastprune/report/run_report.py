"""RunReport: what a run that changes a cache reports, whatever it did.

Stage: report. A value, its lines and its part of a document. Pure, no I/O.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

from fastprune.guard.server_findings import ServerFinding, in_words


class Failure(NamedTuple):
    """A file that could not be removed.

    Attributes:
        path: Relative to the cache.
    """

    path: str
    errno: int
    message: str


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class RunReport:
    """What the reports of a prune, of a repair and of the trash have in common.

    Attributes:
        dry_run: Whether nothing was touched.
        left: Files that were not tried, because the run was stopped.
        stopped: Why the run was stopped; empty if it wasn't.
        servers: Servers that were found during the run and stopped it.
        overridden: Servers that were found before, and that --force has overridden.
        not_durable: Folders whose file system can't make anything durable.
        no_lock: Why the cache was not locked; empty if it was, and in a dry run.
    """

    dry_run: bool
    failures: tuple[Failure, ...] = ()
    left: int = 0
    stopped: str = ""
    servers: tuple[ServerFinding, ...] = ()
    overridden: tuple[ServerFinding, ...] = ()
    not_durable: tuple[str, ...] = ()
    no_lock: str = ""

    @property
    def overridden_lines(self) -> Iterator[str]:
        """A line about servers that --force has overridden, if there were any."""
        if self.overridden:
            yield f"Overridden by --force: {in_words(self.overridden, 'this cache')}"

    @property
    def guard_lines(self) -> Iterator[str]:
        """Lines about guards that the system did not offer."""
        if self.not_durable:
            folders = ", ".join(self.not_durable)
            yield f"Not durable, as the file system can't make it so: {folders}"
        if self.no_lock:
            yield f"Not locked: {self.no_lock}"

    @property
    def common_document(self) -> dict[str, Any]:
        """What all reports have in common, as a part of a JSON document."""
        return {
            "stopped": self.stopped or None,
            "servers": [server.document for server in self.servers],
            "overridden": [server.document for server in self.overridden],
            "failed": [failure._asdict() for failure in self.failures],
            "not_durable": list(self.not_durable),
            "no_lock": self.no_lock or None,
        }
