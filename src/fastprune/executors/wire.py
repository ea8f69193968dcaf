"""The messages between us and a worker: length-prefixed pickles over a socket.

A request is `(function, item)`. The answers are `(result, None)` for everything that
the function yields, `(None, error)` if it raises, and `None` when it is done.

Our own, as a `multiprocessing.connection` can't send what a worker takes now and keep the rest,
and takes about 1.5 times as long for a shard of 2 MB.
"""

from __future__ import annotations

import contextlib
import gc
import pickle
import signal
import socket
import struct
from typing import Any

from fastprune.executors.ending_signals import ENDING

_HEADER = struct.Struct("<Q")


def frame(message: object) -> bytes:
    """The bytes of one message."""
    body = pickle.dumps(message, protocol=pickle.HIGHEST_PROTOCOL)
    return _HEADER.pack(len(body)) + body


def send(connection: socket.socket, message: object) -> None:
    """Sends one message."""
    connection.sendall(frame(message))


def receive(connection: socket.socket) -> Any:
    """Waits for one message.

    Raises:
        EOFError: The other side has ended.
    """
    (size,) = _HEADER.unpack(_receive_exactly(connection, _HEADER.size))
    # Our own process wrote it, on a socket that no other one has.
    return pickle.loads(_receive_exactly(connection, size))  # noqa: S301


def serve(connection: socket.socket) -> None:
    """The life of a worker: does what it is sent until the other side ends."""
    # Ctrl-C and a terminal that goes away reach the whole process group; when to stop is the
    # parent's decision.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    # Signals were blocked until their handlers were set.
    signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDING)
    # A worker makes no cycles, and looking for them costs a tenth of the time.
    gc.disable()
    with connection, contextlib.suppress(EOFError, ConnectionError):
        while True:
            function, item = receive(connection)
            try:
                for result in function(item):
                    send(connection, (result, None))
            except (EOFError, ConnectionError):
                raise
            except Exception as error:
                send(connection, (None, error))
            send(connection, None)


def _receive_exactly(connection: socket.socket, size: int) -> bytearray:
    body = bytearray(size)
    view = memoryview(body)
    while view:
        count = connection.recv_into(view)
        if not count:
            raise EOFError
        view = view[count:]
    return body
