"""NamedServer: the server of `--server`, and which of the processes that were found it is.

Stage: rim. Input: `ServerFinding`s. Output: those that refuse all the same. I/O: reads /proc.

One process may be the server that is named: it serves the cache for sure, and listens at the
port. Where a process listens can't always be known. Then the only process that serves the cache
passes here, and the server's list and its answer to a HEAD request decide
(`fastprune.guard.agreement`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from enum import Enum

from fastprune.guard.listening import addresses_here, listeners
from fastprune.guard.process_table import PROC, parent_of
from fastprune.guard.server_findings import ServerFinding
from fastprune.server.address import ServerAddress

NamedServer = ServerAddress
"""The server of `--server`: where it listens."""


class _Fit(Enum):
    """Whether a process is the server that is named."""

    LISTENS = "it listens there"
    UNKNOWN = "where it listens can't be known"


def other_servers(
    findings: Sequence[ServerFinding], named: NamedServer, proc: str = PROC
) -> tuple[ServerFinding, ...]:
    """What refuses although a server is named: all findings but that server.

    Each that serves the cache for sure says why it is not the one.
    """
    serving = {one.pid: one for one in findings if one.pid and one.is_sure and one.serves}
    starters = dict(_starters(serving, proc))
    verdicts = {pid: _verdict(pid, named, proc) for pid in serving if pid not in starters.values()}
    alike = [pid for pid, verdict in verdicts.items() if verdict is _Fit.LISTENS]
    alike = alike or [pid for pid, verdict in verdicts.items() if verdict is _Fit.UNKNOWN]
    left = list(findings)
    if len(alike) == 1:
        (pid,) = alike
        while pid:
            left.remove(serving[pid])
            pid = starters.get(pid, 0)
    return tuple(_explained(one, verdicts, alike, named) for one in left)


def _starters(serving: dict[int, ServerFinding], proc: str) -> Iterator[tuple[int, int]]:
    """Pairs of processes: a server, and what has started it with its command line, as tini does."""
    for pid, finding in serving.items():
        parent = serving.get(parent_of(pid, proc))
        if parent and parent.pid and f" {parent.command}".endswith(f" {finding.command}"):
            yield pid, parent.pid


def _verdict(pid: int, named: NamedServer, proc: str) -> _Fit | str:
    """Whether a process is the server that is named; a text says why it is surely not."""
    found = listeners(pid, proc)
    if found is None:
        return _Fit.UNKNOWN
    at_port = [one for one in found if one.port == named.port]
    if not at_port:
        ports = sorted({one.port for one in found})
        instead = f", but at {', '.join(map(str, ports))}" if ports else ""
        return f"does not listen at port {named.port}{instead}"
    here = addresses_here(named.host)
    if not here:
        return f"listens at port {named.port}, but {named.host} is not this machine"
    if not any(one.takes(here) for one in at_port):
        return f"listens at port {named.port} of {at_port[0].address}, not of {named.host}"
    return _Fit.LISTENS


def _explained(
    finding: ServerFinding, verdicts: dict[int, _Fit | str], alike: list[int], named: NamedServer
) -> ServerFinding:
    verdict = verdicts.get(finding.pid or 0)
    if verdict is None:
        return finding
    if isinstance(verdict, _Fit):
        verdict = f"may be {named} or not"
        if len(alike) == 1:
            verdict = f"is not {named}, which is process {alike[0]}"
    return replace(finding, misfit=verdict)
