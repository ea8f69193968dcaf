"""A client that pulls images as docker and containerd do, and checks every digest.

I/O: HTTP. It keeps its connection; one client belongs to one thread.
"""

from __future__ import annotations

import hashlib
import http.client
import json
import ssl
from collections.abc import Callable
from types import TracebackType
from typing import Any, NamedTuple, Self
from urllib.parse import urlsplit

from ..documents import DIGEST_PREFIX
from .holders import MEDIA_TYPES

BROKEN = -1
"""The status of an answer whose content is not what its digest says."""
NO_ANSWER = 0
"""The status of a request whose connection ended."""

_ACCEPT = ", ".join(MEDIA_TYPES)
_LISTS = (MEDIA_TYPES[0], MEDIA_TYPES[2])


class Step(NamedTuple):
    """One request of a pull.

    Attributes:
        path: What was asked for.
        status: That of the answer, `BROKEN` or `NO_ANSWER`.
    """

    path: str
    status: int


class Pulled(NamedTuple):
    """What became of a pull.

    Attributes:
        url: The image.
        steps: Its requests in order; none follows one that failed.
    """

    url: str
    steps: tuple[Step, ...]

    @property
    def status(self) -> int:
        """The status of the last request: 200 if the image came whole."""
        return self.steps[-1].status

    @property
    def is_whole(self) -> bool:
        return self.status == 200


class _FailedError(Exception):
    """A request of a pull failed."""


class Client:
    """Pulls from one server. It is a context that closes the connection at the end."""

    def __init__(self, url: str, tls: ssl.SSLContext | None = None) -> None:
        """Describes the server.

        Args:
            url: Of the server.
            tls: What an HTTPS server is checked with.
        """
        place = urlsplit(url)
        assert place.hostname is not None
        self._connect: Callable[[], http.client.HTTPConnection]
        host, port = place.hostname, place.port
        if place.scheme == "https":
            self._connect = lambda: http.client.HTTPSConnection(host, port, timeout=60, context=tls)
        else:
            self._connect = lambda: http.client.HTTPConnection(host, port, timeout=60)
        self._connection: http.client.HTTPConnection | None = None
        self._steps: list[Step] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Ends the connection."""
        if self._connection is not None:
            self._connection.close()
        self._connection = None

    def request(
        self, method: str, path: str, *, accept: str = "*/*"
    ) -> tuple[int, bytes, dict[str, str]]:
        """One request. A GET on a connection that ended while it was idle is sent once more.

        Returns:
            The status, or `NO_ANSWER`; the body; the headers by their names in small letters.
        """
        again = self._connection is not None and method in ("GET", "HEAD")
        try:
            return self._sent(method, path, accept)
        except (ConnectionError, http.client.RemoteDisconnected):
            self.close()
            return self.request(method, path, accept=accept) if again else (NO_ANSWER, b"", {})
        except (OSError, http.client.HTTPException):
            self.close()
            return NO_ANSWER, b"", {}

    def get(self, path: str) -> tuple[int, str]:
        """The status of a GET, and the text of the answer."""
        status, body, _ = self.request("GET", path)
        return status, body.decode()

    def pull(self, url: str, *, children: Callable[[str], bool] = lambda digest: True) -> Pulled:
        """Pulls an image.

        Args:
            url: With a tag or a digest.
            children: Of a list: which of those that it refers to are pulled, by digest. None
                of them need be.

        Returns:
            What came of it: whole means that each byte has come and has its digest.
        """
        self._steps = []
        repository, reference = _parted(url)
        try:
            kind, document = self._manifest(repository, reference)
            if kind in _LISTS:
                for child in document.get("manifests") or ():
                    if children(child["digest"].removeprefix(DIGEST_PREFIX)):
                        self._image(repository, self._manifest(repository, child["digest"])[1])
            else:
                self._image(repository, document)
        except _FailedError:
            pass
        return Pulled(url, tuple(self._steps))

    def _sent(self, method: str, path: str, accept: str) -> tuple[int, bytes, dict[str, str]]:
        if self._connection is None:
            self._connection = self._connect()
        self._connection.request(method, path, headers={"Accept": accept})
        answer = self._connection.getresponse()
        body = answer.read()
        return answer.status, body, {name.lower(): value for name, value in answer.getheaders()}

    def _image(self, repository: str, document: dict[str, Any]) -> None:
        for part in (document["config"], *(document.get("layers") or ())):
            digest = str(part["digest"])
            _, body, _ = self._step(f"/v2/{repository}/blobs/{digest}", digest)
            if len(body) != part["size"]:
                self._fail(BROKEN)

    def _manifest(self, repository: str, reference: str) -> tuple[str, dict[str, Any]]:
        path = f"/v2/{repository}/manifests/{reference}"
        wanted = reference if reference.startswith(DIGEST_PREFIX) else ""
        _, body, headers = self._step(path, wanted)
        if headers.get("docker-content-digest") != DIGEST_PREFIX + _sha256(body):
            self._fail(BROKEN)
        return headers.get("content-type", ""), json.loads(body)

    def _step(self, path: str, digest: str) -> tuple[int, bytes, dict[str, str]]:
        status, body, headers = self.request("GET", path, accept=_ACCEPT)
        if status == 200 and digest and digest != DIGEST_PREFIX + _sha256(body):
            status = BROKEN
        self._steps.append(Step(path, status))
        if status != 200:
            raise _FailedError
        return status, body, headers

    def _fail(self, status: int) -> None:
        self._steps[-1] = self._steps[-1]._replace(status=status)
        raise _FailedError


def _parted(url: str) -> tuple[str, str]:
    """Repository and reference of an image URL."""
    if "@" in url:
        repository, _, digest = url.partition("@")
        return repository, digest
    repository, _, tag = url.rpartition(":")
    return repository, tag


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
