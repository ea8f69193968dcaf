"""ServerFinding: a process that serves a cache, or may do so; and its text.

Stage: all. Values and text. Pure, no I/O.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from fastprune.text.escaping import printable

_LONGEST_COMMAND = 500


@dataclass(frozen=True, slots=True)
class ServerFinding:
    """A process that serves a cache, or may do so.

    Attributes:
        pid: Its process id; None if processes are hidden, so that there may be any.
        command: Its arguments, with blanks between them.
        unknown: Why it is not sure that it serves the cache; empty if it surely does.
        serves: Whether its command is `serve`, so that it answers requests; `load` does not.
        misfit: Why it is not the server that `--server` names; empty if none is named, or if
            that does not matter.
    """

    pid: int | None
    command: str
    unknown: str = ""
    serves: bool = False
    misfit: str = ""

    @property
    def is_sure(self) -> bool:
        """Whether the process surely serves the cache."""
        return not self.unknown

    @property
    def text(self) -> str:
        """The finding in words, safe to print."""
        if self.pid is None:
            return printable(self.unknown)
        misfit = f" serves this cache and {self.misfit}" if self.misfit else ""
        process = f"process {self.pid}{misfit}: {self.command[:_LONGEST_COMMAND]}"
        return printable(f"{process} ({self.unknown})" if self.unknown else process)

    @property
    def document(self) -> dict[str, Any]:
        """The finding as a JSON object."""
        return {
            "pid": self.pid,
            "command": self.command,
            "verdict": "serves this cache" if self.is_sure else "can't tell",
            "unknown": self.unknown or None,
        }


LookForServers = Callable[[], "tuple[ServerFinding, ...]"]
"""Looks for servers that run on a cache. Blocking."""


def in_words(findings: Sequence[ServerFinding], cache: str) -> str:
    """The findings, at least one, as one text; `cache` is what to call the cache."""
    sentences = {
        f"a server seems to run on {cache}": [one.text for one in findings if one.is_sure],
        f"it can't be told whether a server runs on {cache}": [
            one.text for one in findings if not one.is_sure
        ],
    }
    return "; ".join(f"{said}: {'; '.join(texts)}" for said, texts in sentences.items() if texts)
