"""A server on loopback that answers with canned bytes, whatever they are."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import NamedTuple

import trustme

TO_TLS_PORT = b"HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n"
"""What a server in Go answers if it speaks TLS and the client does not."""

_TLS_HANDSHAKE = 0x16


class Request(NamedTuple):
    """What the server was sent: the headers have lower-case names."""

    method: str
    target: str
    headers: dict[str, str]


Answer = Callable[[Request], bytes]


def answer(
    body: bytes | str = b"",
    status: str = "200 OK",
    kind: str = "text/plain",
    length: int | None = None,
    headers: Mapping[str, str] | None = None,
) -> bytes:
    """An answer in HTTP.

    Args:
        body: Its body.
        status: Its status.
        kind: Its content type.
        length: What it says about the length of the body, if that is not true.
        headers: More headers.
    """
    body = body.encode() if isinstance(body, str) else body
    lines = [
        f"HTTP/1.1 {status}",
        f"Content-Type: {kind}",
        f"Content-Length: {len(body) if length is None else length}",
        *(f"{name}: {value}" for name, value in (headers or {}).items()),
    ]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


@dataclass
class CannedServer:
    """A server at work.

    Attributes:
        url: Where it listens.
        requests: What it was sent so far.
        release: An answer that waits for it is slow; it is set when the server ends.
    """

    url: str
    requests: list[Request] = field(default_factory=list)
    release: threading.Event = field(default_factory=threading.Event)


@contextmanager
def canned_server(
    *answers: bytes | Answer, tls: ssl.SSLContext | None = None
) -> Iterator[CannedServer]:
    """Runs a server until the context ends.

    Args:
        answers: Those to the first requests, in order; the last one is that to all others.
        tls: With it the server speaks TLS.
    """
    with socket.create_server(("127.0.0.1", 0)) as listening:
        scheme = "http" if tls is None else "https"
        server = CannedServer(f"{scheme}://127.0.0.1:{listening.getsockname()[1]}")
        thread = threading.Thread(target=_serve, args=(listening, server, answers, tls))
        thread.start()
        try:
            yield server
        finally:
            server.release.set()
            # Wakes `accept`.
            with suppress(OSError):
                listening.shutdown(socket.SHUT_RDWR)
            thread.join()


def _serve(
    listening: socket.socket,
    server: CannedServer,
    answers: Sequence[bytes | Answer],
    tls: ssl.SSLContext | None,
) -> None:
    while True:
        try:
            connection, _ = listening.accept()
        except OSError:
            return
        with connection, suppress(OSError):
            # A client that goes away is not waited for.
            connection.settimeout(60)
            _answer_one(connection, server, answers, tls)


def _answer_one(
    connection: socket.socket,
    server: CannedServer,
    answers: Sequence[bytes | Answer],
    tls: ssl.SSLContext | None,
) -> None:
    first = connection.recv(1, socket.MSG_PEEK)
    if tls is not None:
        if first != bytes([_TLS_HANDSHAKE]):
            connection.recv(65536)
            connection.sendall(TO_TLS_PORT)
            return
        connection = tls.wrap_socket(connection, server_side=True)
    with connection:
        request = _read(connection, is_http=tls is not None or first != bytes([_TLS_HANDSHAKE]))
        at = min(len(server.requests), len(answers) - 1)
        server.requests.append(request)
        chosen = answers[at]
        connection.sendall(chosen if isinstance(chosen, bytes) else chosen(request))


def _read(connection: socket.socket, *, is_http: bool) -> Request:
    if not is_http:
        connection.recv(65536)
        return Request("", "", {})
    head = b""
    while b"\r\n\r\n" not in head:
        piece = connection.recv(65536)
        if not piece:
            raise OSError("the client went away")
        head += piece
    line, *fields = head.decode("latin-1").split("\r\n\r\n")[0].split("\r\n")
    method, target, _ = line.split(" ")
    pairs = (one.partition(": ") for one in fields)
    return Request(method, target, {name.lower(): value for name, _, value in pairs})


class Authority:
    """A CA of our own, and what a server needs that has a certificate of it."""

    def __init__(self) -> None:
        self._ca = trustme.CA()

    @property
    def pem(self) -> bytes:
        """The certificate of the CA, as `--server-ca` takes it."""
        return self._ca.cert_pem.bytes()

    def server(self, name: str = "127.0.0.1") -> ssl.SSLContext:
        """TLS of a server with this name."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._ca.issue_cert(name).configure_cert(context)
        return context
