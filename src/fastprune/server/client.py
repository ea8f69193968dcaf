"""ServerClient: a running server, asked by HTTP.

Stage: all that concerns a running server. Input: image URLs. Output: what the server lists.
I/O: requests to the one server that is named. The only module that imports httpx.

No redirect is followed, no proxy of the environment is used, and no answer is believed beyond
what it says: an answer that is not as it should be is an error. Each request has a connection of
its own: a server that was restarted is asked anew.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable, Iterator, Sequence
from typing import Self, TypeVar
from urllib.parse import quote

import anyio
import httpx
import numpy as np

from fastprune.errors import ServerError, UsageError
from fastprune.model import DIGEST_BYTES, split_url
from fastprune.server import answers
from fastprune.server.address import ServerAddress
from fastprune.server.expressions import encoded, expressions, in_requests
from fastprune.server.listing import (
    BlobCounts,
    ServerListing,
    parse_blob_list,
    parse_listing,
    shown,
)

T = TypeVar("T")

DEFAULT_TIMEOUT = 300.0
"""Seconds that an answer may take: a prune is answered when it is done."""

_CONNECT_SECONDS = 10
_MOST_BYTES = 4 << 30
_MOST_SHOWN = 100
_OTHER_NAME = (62, 64)
"""X509_V_ERR_HOSTNAME_MISMATCH and X509_V_ERR_IP_ADDRESS_MISMATCH of OpenSSL."""
_NO_TLS = ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "HTTP_REQUEST")
"""What OpenSSL calls an answer that is not TLS."""


class ServerClient:
    """A running server; see `fastprune.server.asked.Server`.

    It is used while it is open, in one event loop at a time:

        async with ServerClient(parse_address("http://127.0.0.1:8080")) as server:
            known = await server.listing()

    Attributes:
        address: Where the server listens.
    """

    def __init__(
        self,
        address: ServerAddress,
        *,
        ca_file: str | None = None,
        timeout: float = DEFAULT_TIMEOUT,
        most_bytes: int = _MOST_BYTES,
    ) -> None:
        """Describes the server; nothing is connected yet.

        Args:
            address: Where it listens.
            ca_file: A PEM file with the certificates that are trusted, for https; None for those
                of the system.
            timeout: Seconds that an answer may take, from the connection to its end.
            most_bytes: Longer answers are errors.

        Raises:
            UsageError: The file can't be read, holds no certificate, or there is no TLS.
        """
        self.address = address
        self._timeout = timeout
        self._most_bytes = most_bytes
        self._tls = _tls_of(address, ca_file)
        self._http: httpx.AsyncClient | None = None

    async def __aenter__(self) -> Self:
        self._http = httpx.AsyncClient(
            verify=False if self._tls is None else self._tls,
            follow_redirects=False,
            trust_env=False,
            # The time of the whole answer is bounded in `_ask`.
            timeout=httpx.Timeout(None, connect=_CONNECT_SECONDS),
            limits=httpx.Limits(max_keepalive_connections=0),
            headers={"Accept-Encoding": "identity"},
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        http, self._http = self._http, None
        if http is not None:
            await http.aclose()

    async def listing(self, urls: Sequence[str] | None = None) -> ServerListing:
        """See `Server.listing`; many URLs are asked for in several requests."""
        target = "/cmd/manifest/list?count=-1"
        if urls is None:
            return await self._parsed(target, parse_listing)
        found: list[str] = []
        digests = [np.empty((0, DIGEST_BYTES), np.uint8)]
        for some in in_requests(urls):
            asked = f"{target}&pattern={encoded(expressions(some))}"
            listing = await self._parsed(asked, parse_listing)
            for url in set(listing.urls).difference(some):
                raise ServerError(
                    f"{self._shown('GET', target)}: the answer names {shown(url)}, which was not "
                    "asked for",
                    hint=answers.GIVE_ADDRESS,
                )
            found += listing.urls
            digests.append(listing.digests)
        return ServerListing(found, np.concatenate(digests))

    async def counted_blobs(self) -> BlobCounts:
        """See `Server.counted_blobs`."""
        return await self._parsed("/cmd/blob/list?count=-1", parse_blob_list)

    async def _parsed(self, target: str, parse: Callable[[bytes], T]) -> T:
        body = await self._ask("GET", target)
        try:
            return parse(body)
        except ServerError as error:
            raise ServerError(f"{self._shown('GET', target)}: {error}", hint=error.hint) from None

    async def prune(self, urls: Sequence[str]) -> None:
        """See `Server.prune`.

        Raises:
            ValueError: There are no URLs, one is empty, or they don't fit a request.
        """
        asked = encoded(expressions(urls))
        await self._ask(
            "DELETE", f"/cmd/prune?type=pattern&count=-1&dryRun=false&expr={asked}", kept=False
        )

    async def head(self, url: str) -> None:
        """See `Server.head`."""
        repository, tag, digest = split_url(url)
        registry, _, path = repository.partition("/")
        named = f"{quote(path)}/manifests/{quote(tag or digest, safe=':')}"
        await self._ask("HEAD", f"/v2/{named}?ns={quote(registry, safe='')}")

    async def check(self) -> None:
        """See `Server.check`."""
        for target, expected in (("/", b"null"), ("/v2/", b'"true"')):
            body = await self._ask("GET", target)
            if body.strip() != expected:
                begin = body[: answers.MOST_SHOWN_BYTES]
                raise answers.not_ociregistry(self._shown("GET", target), expected, begin)

    async def _ask(self, method: str, target: str, *, kept: bool = True) -> bytes:
        """Sends a request and gives the body of its answer, or nothing if it is not kept.

        The target is path and query, percent-encoded. The body is read to its end in any case.
        """
        if self._http is None:
            raise RuntimeError("the client is not open: use `async with`")
        request, url = self._shown(method, target), f"{self.address}{target}"
        try:
            with anyio.fail_after(self._timeout):
                async with self._http.stream(method, url) as response:
                    return await self._body(request, response, kept=kept)
        except TimeoutError:
            raise ServerError(
                f"{request}: no whole answer within {self._timeout:g} seconds",
                hint="see whether the server is overloaded, or give it more time with "
                "--server-timeout",
            ) from None
        except httpx.InvalidURL:
            raise ServerError(f"{request}: the image URL is too long for a request") from None
        except httpx.HTTPError as error:
            raise self._no_answer(request, error) from None

    async def _body(self, request: str, response: httpx.Response, *, kept: bool) -> bytes:
        pieces: list[bytes] = []
        size, begin, status = 0, b"", response.status_code
        is_error = status != httpx.codes.OK
        async for piece in response.aiter_bytes():
            size += len(piece)
            begin += piece[: answers.MOST_SHOWN_BYTES - len(begin)]
            if is_error and len(begin) == answers.MOST_SHOWN_BYTES:
                break
            if size > self._most_bytes:
                raise ServerError(
                    f"{request}: the answer is longer than {self._most_bytes} bytes",
                    hint=answers.GIVE_ADDRESS,
                )
            if kept:
                pieces.append(piece)
        if is_error:
            location = response.headers.get("location", "")
            raise answers.unexpected_status(request, status, begin, location)
        if answers.is_page(response.headers.get("content-type", ""), begin):
            raise answers.a_page(request, begin)
        return b"".join(pieces)

    def _no_answer(self, request: str, error: httpx.HTTPError) -> ServerError:
        """The error about a connection that was not made, or that broke."""
        if isinstance(error, httpx.ConnectTimeout):
            why = f"no connection within {_CONNECT_SECONDS} seconds"
            return ServerError(f"{request}: {why}", hint=answers.GIVE_ADDRESS)
        if isinstance(error, httpx.ConnectError):
            why, hint = _why_unconnected(error)
            return ServerError(f"{request}: {why}", hint=hint or answers.GIVE_ADDRESS)
        hint = "see whether the server still runs; what is left to do is done by the next run"
        if isinstance(error, httpx.RemoteProtocolError):
            why = f"the answer is cut off, or is not HTTP: {shown(str(error))}"
            if self.address.scheme == "http":
                hint += "; if it speaks TLS, give https:// in --server"
        elif isinstance(error, httpx.DecodingError):
            why, hint = f"the answer can't be decoded: {shown(str(error))}", answers.GIVE_ADDRESS
        else:
            why = "the connection broke before the answer was whole"
        return ServerError(f"{request}: {why}", hint=hint)

    def _shown(self, method: str, target: str) -> str:
        """A request, for messages."""
        cut = target if len(target) <= _MOST_SHOWN else f"{target[:_MOST_SHOWN]}..."
        return f"{method} {self.address}{cut}"


def _tls_of(address: ServerAddress, ca_file: str | None) -> ssl.SSLContext | None:
    """What is trusted; None without TLS."""
    if address.scheme != "https":
        if ca_file is not None:
            raise UsageError(f"--server-ca: has no effect with {address}; give https:// instead")
        return None
    try:
        return ssl.create_default_context(cafile=ca_file)
    except ssl.SSLError:
        raise UsageError(f"--server-ca {ca_file}: no certificates in PEM format") from None
    except OSError as error:
        raise UsageError(f"--server-ca {ca_file}: {error.strerror}") from None


def _why_unconnected(error: httpx.ConnectError) -> tuple[str, str]:
    """Why there is no connection, and what to do; the latter is empty if it is the usual."""
    reason = str(error)
    for cause in _causes(error):
        if isinstance(cause, ssl.SSLError):
            return _why_no_tls(cause)
        if isinstance(cause, socket.gaierror):
            return f"the name of its host is not known: {cause.strerror}", ""
        if isinstance(cause, ConnectionRefusedError):
            hint = f"nothing listens there: start the server, or {answers.GIVE_ADDRESS}"
            return "connection refused", hint
        if isinstance(cause, OSError) and cause.strerror:
            reason = cause.strerror
    return f"no connection: {reason}", ""


def _causes(error: BaseException) -> Iterator[BaseException]:
    """What an error comes from, the nearest first; of several addresses the first counts."""
    cause = error.__cause__ or error.__context__
    while cause is not None:
        if isinstance(cause, BaseExceptionGroup):
            cause = cause.exceptions[0]
        yield cause
        cause = cause.__cause__ or cause.__context__


def _why_no_tls(error: ssl.SSLError) -> tuple[str, str]:
    if isinstance(error, ssl.SSLCertVerificationError):
        why = f"its certificate is not trusted: {error.verify_message}"
        if error.verify_code in _OTHER_NAME:
            return why, "give the name that the certificate is for in --server"
        return why, "give the certificate of the CA that signed it with --server-ca"
    reason = error.reason or str(error)
    if reason in _NO_TLS:
        return f"it does not speak TLS ({reason})", "give http:// in --server"
    hint = "see which versions of TLS the server and this machine allow"
    return f"no TLS connection: {reason.replace('_', ' ').lower()}", hint
