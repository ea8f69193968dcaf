"""Regular expressions that match exactly one image URL each, for requests to a server.

Stage: all that concerns a running server. Input: image URLs. Output: expressions in the syntax of
Go, which is that of RE2. Pure, no I/O.

The server splits what it is sent at commas and takes an empty expression for one that matches
everything: so no expression is empty, and none holds a comma.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from urllib.parse import quote

MOST_BYTES = 48 * 1024
"""How many bytes the expressions of one request have in its URL at most: some hundred image URLs.

The server takes 1 MiB. httpx, and what may stand in front of the server, take less."""

_SPECIAL = re.compile(r"[\\.+*?()|\[\]{}^$]")


def expression(url: str) -> str:
    """The expression that matches this image URL and no other.

    Raises:
        ValueError: The URL is empty.
    """
    if not url:
        raise ValueError("no expression for an empty image URL: it would match everything")
    # `$` is the end of the text in Go, not of a line. A comma would end the expression.
    quoted = _SPECIAL.sub(r"\\\g<0>", url).replace(",", r"\x2C")
    return f"^{quoted}$"


def expressions(urls: Sequence[str]) -> str:
    """The expressions of image URLs, joined as a request has them; not yet percent-encoded.

    Raises:
        ValueError: There are none, one is empty, or they don't fit a request.
    """
    if not urls:
        raise ValueError("no image URLs: an empty expression would match everything")
    joined = ",".join(map(expression, urls))
    # One that is longer by itself has to go alone.
    if len(urls) > 1 and len(encoded(joined)) > MOST_BYTES:
        raise ValueError(f"{len(urls)} image URLs do not fit a request")
    return joined


def encoded(joined: str) -> str:
    """Expressions, percent-encoded for the URL of a request."""
    return quote(joined, safe="")


def in_requests(urls: Sequence[str], most: int | None = None) -> Iterator[Sequence[str]]:
    """Cuts image URLs into as many as fit a request, in order.

    Args:
        urls: The image URLs.
        most: At most so many in one, 1 or more; None for as many as fit.

    Yields:
        At least one image URL each.
    """
    start = size = 0
    for at, url in enumerate(urls):
        # With the comma, which is encoded as well.
        added = len(encoded(expression(url))) + 3
        if at > start and (size + added > MOST_BYTES or at - start == most):
            yield urls[start:at]
            start, size = at, 0
        size += added
    if start < len(urls):
        yield urls[start:]
