"""All requests: which answer belongs to which path.

I/O: reads blobs; the rest through `Puller` and `Commands`.
"""

from __future__ import annotations

from .commands import Commands
from .holders import digest_in
from .memory import Memory
from .messages import Answer, Request, json
from .pulling import Puller, PullError
from .references import BadReferenceError, of_request
from .storage import Storage

_API = {"Docker-Distribution-Api-Version": "registry/2.0"}
_MOST_SEGMENTS = 4
_ONLY_GET = {"/": "null", "/v2/": '"true"'}


class Answering:
    """Answers the requests of one server."""

    def __init__(
        self,
        commands: Commands,
        memory: Memory,
        puller: Puller,
        storage: Storage,
        *,
        air_gapped: bool,
        default_registry: str,
    ) -> None:
        self._commands = commands
        self._memory = memory
        self._puller = puller
        self._storage = storage
        self._air_gapped = air_gapped
        self._default = default_registry

    def answer(self, request: Request) -> Answer:
        """Answers one request."""
        if request.path in _ONLY_GET:
            allowed = ("GET", "HEAD") if request.path == "/v2/" else ("GET",)
            if request.method not in allowed:
                return json('{"message":"Method Not Allowed"}', 405)
            return json(_ONLY_GET[request.path])
        if (answer := self._commands.answer(request)) is not None:
            return answer
        parts = request.path.split("/")
        if parts[:2] == ["", "v2"] and 1 <= len(parts) - 4 <= _MOST_SEGMENTS:
            segments, kind, reference = parts[2:-2], parts[-2], parts[-1]
            if kind == "manifests":
                return self._manifest(request, segments, reference)
            if kind == "blobs":
                return self._blob(request, reference)
        return json('{"message":"no matching operation was found"}', 404)

    def _manifest(self, request: Request, segments: list[str], reference: str) -> Answer:
        if request.method not in ("GET", "HEAD"):
            return Answer(405)
        namespace = request.headers.get("x-registry") or request.value("ns") or ""
        try:
            wanted = of_request(segments, reference, namespace=namespace, default=self._default)
        except BadReferenceError:
            return json("{}", 400)
        if self._air_gapped and not self._memory.has(wanted):
            return json('""', 404)
        try:
            holder = self._puller.get(wanted)
        except PullError:
            return Answer(500)
        headers = {
            "Docker-Content-Digest": f"sha256:{holder.digest}",
            "Content-Type": holder.media_type,
        }
        return Answer(200, holder.document, _API | headers)

    def _blob(self, request: Request, reference: str) -> Answer:
        if request.method != "GET":
            return Answer(405)
        digest = digest_in(reference)
        if self._memory.references_to(digest) <= 0:
            return json('""', 404)
        try:
            content = self._storage.blob(digest).read_bytes()
        except OSError:
            return json('""', 500)
        return Answer(200, content, _API | {"Content-Type": "binary/octet-stream"})
