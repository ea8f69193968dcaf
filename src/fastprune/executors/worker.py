"""The program of a worker that was not forked: `python -m fastprune.executors.worker FD`."""

from __future__ import annotations

import socket
import sys

from fastprune.executors import wire

if __name__ == "__main__":
    wire.serve(socket.socket(fileno=int(sys.argv[1])))
