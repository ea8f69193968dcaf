"""What is wrong with an answer of a server, in words.

Stage: all that concerns a running server. Input: a status and the beginning of a body. Output:
errors that say which request it was, what came, and what to do. Pure, no I/O.
"""

from __future__ import annotations

from fastprune.errors import ServerError
from fastprune.server.listing import shown

MOST_SHOWN_BYTES = 4096
"""How much of the body of an answer is enough to tell what it is."""

GIVE_ADDRESS = "give the address at which the server itself listens with --server: http://host:port"
_LOOK = "see the server's log; what is left to do is done by the next run"
_NO_OCIREGISTRY = f"this is no server of ociregistry, or an older version: {GIVE_ADDRESS}"
_IN_BETWEEN = f"something in front of the server answers, as it knows no logins: {GIVE_ADDRESS}"

_MEANINGS = {
    400: ("refuses the request", _NO_OCIREGISTRY),
    401: ("asks for a login", _IN_BETWEEN),
    403: ("forbids it", _IN_BETWEEN),
    404: ("does not know the request", _NO_OCIREGISTRY),
    405: ("does not allow the request", _NO_OCIREGISTRY),
    407: ("asks for a login", _IN_BETWEEN),
    414: ("finds the request too long", _IN_BETWEEN.replace(", as it knows no logins", "")),
    431: ("finds the request too long", _IN_BETWEEN.replace(", as it knows no logins", "")),
}


def unexpected_status(request: str, status: int, body: bytes, location: str) -> ServerError:
    """The error about an answer whose status is not 200, by the beginning of its body.

    Of a redirect, `location` says where it leads to.
    """
    if b"HTTP request to an HTTPS server" in body:
        hint = "give https:// in --server"
        return ServerError(f"{request}: the server speaks TLS there", hint=hint)
    if 300 <= status < 400:
        target = f" to {shown(location)}" if location else ""
        return ServerError(
            f"{request}: the answer is a redirect{target} (status {status}), which is not followed",
            hint=GIVE_ADDRESS,
        )
    what, hint = _MEANINGS.get(status, ("gives an unexpected answer", _NO_OCIREGISTRY))
    if status >= 500:
        what, hint = "fails", _LOOK
    return ServerError(f"{request}: the server {what} (status {status}{said(body)})", hint=hint)


def is_page(content_type: str, body: bytes) -> bool:
    """Whether an answer is a page for a browser."""
    return content_type.lower().startswith("text/html") or body.lstrip()[:1] == b"<"


def a_page(request: str, body: bytes) -> ServerError:
    """The error about a page for a browser in place of an answer."""
    return ServerError(
        f"{request}: the answer is a page for a browser{said(body)}",
        hint=f"something else listens there: {GIVE_ADDRESS}",
    )


def not_ociregistry(request: str, expected: bytes, body: bytes) -> ServerError:
    """The error about an answer by which a server of ociregistry can't be told."""
    return ServerError(
        f"{request}: the answer is not {expected.decode()}{said(body) or ': it is empty'}",
        hint=f"another program listens there: {GIVE_ADDRESS}",
    )


def said(body: bytes) -> str:
    """The beginning of a body, for the end of a message; nothing if it is empty."""
    text = shown(body.decode("utf-8", "replace").strip())
    return f": {text}" if text else ""
