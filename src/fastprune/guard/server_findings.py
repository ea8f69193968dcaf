"""ServerFinding: a process that serves a cache, or may do so; and its text.

Stage: all. Values and text. Pure, no I/O.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import Enum
from typing import Any

from fastprune.text.escaping import printable

_LONGEST_COMMAND = 500


class Verdict(Enum):
    """What is known of a process."""

    SERVES_THIS_CACHE = "serves this cache"
    CANT_TELL = "can't tell"


@dataclass(frozen=True, slots=True)
class ServerFinding:
    """A process that serves a cache, or may do so.

    Attributes:
        pid: Its process id; None if processes are hidden, so that there may be any.
        command: Its arguments, with blanks between them.
        verdict: What is known of it.
        unknown: Why it is not sure that it serves the cache; empty if it surely does.
    """

    pid: int | None
    command: str
    verdict: Verdict
    unknown: str = ""

    @property
    def text(self) -> str:
        """The finding in words, safe to print."""
        if self.pid is None:
            return printable(self.unknown)
        process = f"process {self.pid}: {self.command[:_LONGEST_COMMAND]}"
        return printable(f"{process} ({self.unknown})" if self.unknown else process)

    @property
    def document(self) -> dict[str, Any]:
        """The finding as a JSON object."""
        return {
            "pid": self.pid,
            "command": self.command,
            "verdict": self.verdict.value,
            "unknown": self.unknown or None,
        }


LookForServers = Callable[[], "tuple[ServerFinding, ...]"]
"""Looks for servers that run on a cache. Blocking."""


def in_words(findings: Iterable[ServerFinding], cache: str) -> str:
    """Says what was found.

    Args:
        findings: What was found, at least one.
        cache: What to call the cache.
    """
    serving, doubtful = list[str](), list[str]()
    for finding in findings:
        serves = finding.verdict is Verdict.SERVES_THIS_CACHE
        (serving if serves else doubtful).append(finding.text)
    sentences = []
    if serving:
        sentences.append(f"a server seems to run on {cache}: {'; '.join(serving)}")
    if doubtful:
        doubts = "; ".join(doubtful)
        sentences.append(f"it can't be told whether a server runs on {cache}: {doubts}")
    return "; ".join(sentences)
