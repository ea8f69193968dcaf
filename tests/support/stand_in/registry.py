"""An upstream over HTTP, by the pull part of the registry API: for servers that are no stand-in.

I/O: a port of loopback.
"""

from __future__ import annotations

from types import TracebackType
from typing import Self

from .http import HttpServer, at_once
from .messages import Answer, Request, json
from .upstream import Upstream


class Registry:
    """Serves an upstream. It is a context that stops it at the end.

    Attributes:
        upstream: What it serves; the URLs in it begin with `host`.
        host: Address and port.
    """

    def __init__(self) -> None:
        """Starts to listen, with an empty upstream."""
        self.upstream = Upstream()
        self._http = HttpServer(self._answer)
        self.host = f"127.0.0.1:{self._http.port}"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._http.close(at_once)

    def _answer(self, request: Request) -> Answer:
        parts = request.path.split("/")
        if request.path == "/v2/":
            return json("{}")
        if parts[:2] == ["", "v2"] and len(parts) > 4:
            repository, kind, reference = "/".join(parts[2:-2]), parts[-2], parts[-1]
            if kind == "manifests":
                return self._manifest(repository, reference)
            content = self.upstream.fetch(reference.removeprefix("sha256:"))
            if kind == "blobs" and content is not None:
                return Answer(200, content, {"Content-Type": "application/octet-stream"})
        return json('{"errors":[{"code":"NOT_FOUND"}]}', 404)

    def _manifest(self, repository: str, reference: str) -> Answer:
        separator = "@" if reference.startswith("sha256:") else ":"
        content = self.upstream.find(f"{self.host}/{repository}{separator}{reference}")
        if content is None:
            return json('{"errors":[{"code":"MANIFEST_UNKNOWN"}]}', 404)
        return Answer(200, content.document, {"Content-Type": content.media_type})
