"""Addresses of Dask clusters, as `--dask` takes them.

Stage: rim. Input: a text. Output: `ClusterAddress`. I/O: reads the file of a scheduler.

The file is the one that `dask scheduler --scheduler-file` writes: JSON, with the key `address`
(docs.dask.org, "Deploy Dask Clusters", command line: "using a shared network file system").
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from urllib.parse import urlsplit

from fastprune.errors import UsageError

_LOCAL = "local"
_SCHEMES = ("tcp", "tls")
_MOST_PROCESSES = 1_024
_MOST_BYTES = 1 << 20
_FORMS = "give tcp://HOST:PORT, tls://HOST:PORT, the file of a scheduler, or local:N"


@dataclass(frozen=True, slots=True)
class ClusterAddress:
    """Where a cluster is.

    Attributes:
        text: As it was given, for messages.
        scheduler: `tcp://` or `tls://` with host and port; empty if the cluster is to be started.
        processes: How many workers to start on this machine; 0 if the cluster runs already.
    """

    text: str
    scheduler: str = ""
    processes: int = 0


def parse_address(text: str) -> ClusterAddress:
    """Reads `tcp://HOST:PORT`, `tls://HOST:PORT`, `local:N`, or the path of a scheduler's file.

    Raises:
        UsageError: It is none of these, or there is no such file.
    """
    kind, _, number = text.partition(":")
    if kind == _LOCAL and not number.startswith("//"):
        return ClusterAddress(text, processes=_processes(text, number))
    if "://" in text:
        return ClusterAddress(text, scheduler=_checked(text, text))
    return ClusterAddress(text, scheduler=_checked(_address_in(text), text))


def _processes(text: str, number: str) -> int:
    count = int(number) if number.isascii() and number.isdecimal() else 0
    if not 1 <= count <= _MOST_PROCESSES:
        raise UsageError(
            f"{text!r} is no cluster on this machine: give local:N, with N from 1 to "
            f"{_MOST_PROCESSES} processes"
        )
    return count


def _checked(address: str, given: str) -> str:
    """The address, if it has a scheme, a host and a port that Dask can connect to."""
    where = f"{given!r}" if address == given else f"{given}: {address!r}"
    try:
        parts = urlsplit(address)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise UsageError(f"{where} is no address of a Dask scheduler: {error}") from None
    if parts.scheme not in _SCHEMES:
        raise UsageError(
            f"{where} is no address of a Dask scheduler that can be used: {parts.scheme}:// is "
            f"not supported; {_FORMS}"
        )
    if not host or not port or parts.path.strip("/") or parts.query or parts.username:
        raise UsageError(f"{where} is no address of a Dask scheduler: host and port; {_FORMS}")
    return address


def _address_in(path: str) -> str:
    """The address in the file of a scheduler."""
    try:
        with open(path, "rb") as file:
            content = file.read(_MOST_BYTES)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise UsageError(
            f"{path!r} can't be read as a Dask scheduler's file: {reason}; {_FORMS}"
        ) from None
    try:
        address = json.loads(content)["address"]
    except (ValueError, TypeError, KeyError):
        address = None
    if not isinstance(address, str):
        raise UsageError(
            f"{path} is no file of a Dask scheduler: it has no address; write one with "
            "'dask scheduler --scheduler-file FILE'"
        )
    return address
