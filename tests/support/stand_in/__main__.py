"""The stand-in as a process: `python -m tests.support.stand_in --image-path DIR serve`.

It says `listening on URL` when it is ready, and ends on SIGTERM and SIGINT or by `/cmd/stop`.
"""

from __future__ import annotations

import argparse
import signal
import ssl
import sys
from pathlib import Path

from .server import Settings, StandIn
from .upstream import Upstream


def main(arguments: list[str]) -> int:
    """Serves until it is told to stop."""
    parser = argparse.ArgumentParser(prog="ociregistry", description=__doc__)
    parser.add_argument("--image-path", type=Path, required=True)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--air-gapped", action="store_true")
    parser.add_argument("--upstream", type=Path, help="a folder that Upstream.save wrote")
    parser.add_argument("--tls-cert", type=Path)
    parser.add_argument("--tls-key", type=Path)
    parser.add_argument("command", choices=["serve"])
    given = parser.parse_args(arguments)
    tls = None
    if given.tls_cert is not None:
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(given.tls_cert, given.tls_key)
    upstream = Upstream.load(given.upstream) if given.upstream is not None else None
    server = StandIn(
        Settings(
            given.image_path,
            upstream=upstream,
            air_gapped=given.air_gapped,
            port=given.port,
            tls=tls,
        )
    )
    server.start()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: server.stop())
    sys.stdout.write(f"listening on {server.url}\n")
    sys.stdout.flush()
    server.stopped.wait()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
