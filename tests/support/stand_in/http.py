"""HTTP/1.1 on loopback: a thread for each connection, which stays open.

I/O: sockets. No request waits for another one here; locks are those of the server.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
import threading
from collections.abc import Callable
from http import HTTPStatus
from urllib.parse import unquote

from .messages import Answer, Request

MOST_HEADER_BYTES = (1 << 20) + (4 << 10)
"""Bytes of a request line and headers that Go reads at most: its limit, and what it adds."""

_MOST_SECONDS = 60
_LARGEST_BUFFERED = 2 << 10  # Go knows the size of what it has not begun to send
_CUT_AT_ONCE = struct.pack("ii", 1, 0)  # SO_LINGER: a close sends a reset


class CutError(Exception):
    """The connection is to end now.

    Attributes:
        sent: The part of an answer that goes out before.
    """

    def __init__(self, sent: Answer | None = None) -> None:
        super().__init__("cut")
        self.sent = sent


Answers = Callable[[Request], Answer]


def held_port(port: int = 0) -> socket.socket:
    """Holds a port of loopback, so that nobody gets it while a server on it starts again.

    Without this, the system may give it to a client's connection. A server that reuses addresses,
    as they do, can listen there all the same.

    Args:
        port: 0 for any that is free.

    Returns:
        What holds it until it is closed.
    """
    held = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    held.bind(("127.0.0.1", port))
    return held


class HttpServer:
    """Listens on a port of 127.0.0.1.

    Attributes:
        port: The port.
    """

    def __init__(
        self,
        answers: Answers,
        *,
        port: int = 0,
        tls: ssl.SSLContext | None = None,
        silent: tuple[type[BaseException], ...] = (),
    ) -> None:
        """Starts to listen.

        Args:
            answers: Answers a request, or raises `CutError`.
            port: 0 for any that is free.
            tls: For HTTPS.
            silent: What ends a connection without a word if `answers` raises it.
        """
        self._answers = answers
        self._tls = tls
        self._silent: tuple[type[BaseException], ...] = (OSError, ValueError, CutError, *silent)
        self._connections: dict[socket.socket, threading.Thread] = {}
        self._threads: list[threading.Thread] = []
        self._lock = threading.Lock()
        self._closed = False
        self._listener = socket.create_server(("127.0.0.1", port), backlog=128)
        self.port: int = self._listener.getsockname()[1]
        self._start(self._accept)

    def close(self, end: Callable[[socket.socket], None]) -> None:
        """Listens no more, ends connections, and waits for their threads.

        If a thread of the server calls this, its own connection is left to it.

        Args:
            end: How a connection ends: `after_its_answer` or `at_once`.
        """
        with self._lock:
            self._closed = True
            others = [
                connection
                for connection, thread in self._connections.items()
                if thread is not threading.current_thread()
            ]
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in others:
            end(connection)
        for thread in self._threads:
            if thread is not threading.current_thread():
                thread.join(_MOST_SECONDS)

    def _start(self, work: Callable[..., None], *given: socket.socket) -> None:
        name = f"stand-in {self.port}"
        thread = threading.Thread(target=work, args=given, daemon=True, name=name)
        self._connections |= dict.fromkeys(given, thread)
        self._threads = [*(one for one in self._threads if one.is_alive()), thread]
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self._lock:
                if self._closed:
                    connection.close()
                    return
                self._start(self._serve, connection)

    def _serve(self, plain: socket.socket) -> None:
        connection = plain
        try:
            if self._tls is not None:
                connection = self._tls.wrap_socket(plain, server_side=True)
                with self._lock:
                    self._connections[connection] = threading.current_thread()
            with connection.makefile("rb") as stream:
                while self._one(connection, _Reader(stream.readline, stream.read)):
                    pass
        except self._silent:
            at_once(connection)
        finally:
            with self._lock:
                for one in {plain, connection}:
                    self._connections.pop(one, None)
            connection.close()
            plain.close()

    def _one(self, connection: socket.socket, reader: _Reader) -> bool:
        """Answers one request; whether the connection stays open."""
        try:
            request = reader.request()
        except _TooLargeError:
            connection.sendall(_encoded(Answer(431), "GET", "close"))
            # What the client has not sent yet is read, so that it sees the answer.
            connection.shutdown(socket.SHUT_WR)
            while connection.recv(1 << 16):
                pass
            return False
        if request is None:
            return False
        try:
            answer = self._answers(request)
        except CutError as cut:
            if cut.sent is not None:
                whole = _encoded(cut.sent, request.method, "keep-alive")
                # In the middle of the body; if there is none, in the middle of the first line.
                middle = len(whole) - len(cut.sent.body) // 2 - 1 if cut.sent.body else 8
                connection.sendall(whole[:middle])
                connection.shutdown(socket.SHUT_WR)
                return False
            raise
        last = request.headers.get("connection", "").lower() == "close"
        connection.sendall(_encoded(answer, request.method, "close" if last else "keep-alive"))
        return not last


class _TooLargeError(Exception):
    """Request line and headers are too large."""


class _Reader:
    """Reads requests from a connection."""

    def __init__(self, line: Callable[[int], bytes], read: Callable[[int], bytes]) -> None:
        self._line = line
        self._read = read

    def request(self) -> Request | None:
        """The next request; None at the end."""
        left = MOST_HEADER_BYTES
        lines: list[str] = []
        while True:
            line = self._line(left + 1)
            if not line.endswith(b"\n"):
                if len(line) > left:
                    raise _TooLargeError
                return None
            left -= len(line)
            if left < 0:
                raise _TooLargeError
            if not line.strip():
                break
            lines.append(line.decode("latin-1").rstrip("\r\n"))
        method, target, _ = lines[0].split(" ", 2)
        headers = {}
        for one in lines[1:]:
            name, _, value = one.partition(":")
            headers[name.strip().lower()] = value.strip()
        self._read(int(headers.get("content-length", "0")))
        path, _, query = target.partition("?")
        return Request(method, unquote(path), query, headers)


def _encoded(answer: Answer, method: str, connection: str) -> bytes:
    phrase = HTTPStatus(answer.status).phrase
    body = answer.body
    headers = {**answer.headers, "Connection": connection}
    if answer.streamed and len(body) > _LARGEST_BUFFERED:
        headers["Transfer-Encoding"] = "chunked"
        body = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
    else:
        headers["Content-Length"] = str(len(body))
    lines = [f"HTTP/1.1 {answer.status} {phrase}", *(f"{k}: {v}" for k, v in headers.items())]
    head = "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n"
    return head if method == "HEAD" else head + body


def after_its_answer(connection: socket.socket) -> None:
    """Ends a connection when the request that it works on is answered."""
    with contextlib.suppress(OSError):
        socket.socket.shutdown(connection, socket.SHUT_RD)  # not that of TLS, which ends both


def at_once(connection: socket.socket) -> None:
    """Ends a connection with a reset."""
    with contextlib.suppress(OSError):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _CUT_AT_ONCE)
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
