"""The address of a running server, as `--server` gives it.

Stage: rim. Input: text. Output: a `ServerAddress`. Pure, no I/O.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from fastprune.errors import UsageError

_PORTS = {"http": 80, "https": 443}
_NAME = re.compile(r"[a-z0-9_]([a-z0-9_.-]*[a-z0-9_.])?", re.ASCII)


@dataclass(frozen=True, slots=True)
class ServerAddress:
    """Where a server listens.

    Attributes:
        scheme: http or https.
        host: Its name or address, without brackets.
        port: Its port.
    """

    scheme: str
    host: str
    port: int

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}"


def parse_address(text: str, option: str = "--server") -> ServerAddress:
    """Parses `http://host:port` or `https://host:port`; without a port, that of the scheme.

    Args:
        text: The value.
        option: What gives it, for messages.

    Raises:
        UsageError: It is anything else: the message says what to give.
    """
    scheme, separator, rest = text.partition("://")
    scheme = scheme.lower()
    if not separator:
        raise _unusable(text, option, "http:// or https:// is missing", f"http://{text}")
    if scheme not in _PORTS:
        raise _unusable(text, option, f"{scheme!r} is neither http nor https")
    if "@" in rest:
        # Not shown: a password may be in it.
        raise UsageError(
            f"{option}: a user or a password can't be given, as the server knows none; give {_FORM}"
        )
    try:
        parts = urlsplit(f"{scheme}://{rest}")
        host, port = parts.hostname or "", parts.port
    except ValueError as error:
        raise _unusable(text, option, str(error)) from None
    whole = ServerAddress(scheme, host, _PORTS[scheme] if port is None else port)
    if rest.rstrip("/") != parts.netloc or "?" in rest or "#" in rest:
        raise _unusable(text, option, "it has more than a host and a port", str(whole))
    if not (_NAME.fullmatch(host) or _is_ip(host)) or port == 0 or parts.netloc.endswith(":"):
        raise _unusable(text, option, "no host and port that can be used")
    return whole


_FORM = "http://host:port or https://host:port"


def _is_ip(host: str) -> bool:
    try:
        return "%" not in host and bool(ipaddress.ip_address(host))
    except ValueError:
        return False


def _unusable(text: str, option: str, why: str, instead: str = _FORM) -> UsageError:
    return UsageError(f"{option}: {text!r}: {why}; give {instead}")
