"""Image URLs as the server takes them apart: its keys in memory, its folders.

Stage: pure. What a request names and what a file says are read in two ways, which differ: see
`of_request` and `of_url`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..documents import DIGEST_PREFIX, Folder


class BadReferenceError(ValueError):
    """The server can't take this apart."""


@dataclass(frozen=True, slots=True)
class Reference:
    """An image that is asked for.

    Attributes:
        remote: The host of the registry.
        repository: The path below it.
        reference: A tag, or a digest with its prefix.
    """

    remote: str
    repository: str
    reference: str

    @property
    def by_digest(self) -> bool:
        return self.reference.startswith(DIGEST_PREFIX)

    @property
    def is_latest(self) -> bool:
        return self.reference.lower() == "latest"

    @property
    def url(self) -> str:
        """The key in memory."""
        return self._url(self.repository, self.reference)

    @property
    def other_docker_url(self) -> str:
        """The same image of docker.io with or without `library/`; empty for other registries."""
        if self.remote != "docker.io":
            return ""
        first, slash, rest = self.repository.partition("/")
        if slash and first == "library":
            return self._url(rest, self.reference)
        return self._url(f"library/{self.repository}", self.reference)

    def with_digest(self, digest: str) -> str:
        """The URL of the same repository with a digest (64 hex digits)."""
        return self._url(self.repository, DIGEST_PREFIX + digest)

    def _url(self, repository: str, reference: str) -> str:
        separator = "@" if reference.startswith(DIGEST_PREFIX) else ":"
        return f"{self.remote}/{repository}{separator}{reference}"


def of_request(
    segments: Sequence[str], reference: str, *, namespace: str = "", default: str = ""
) -> Reference:
    """The image that a request names: only the reference becomes lower-case.

    Args:
        segments: Of the path, between `/v2/` and `/manifests/`.
        reference: What follows.
        namespace: The header `X-Registry`, or the parameter `ns`.
        default: The registry if nothing names one.

    Raises:
        BadReferenceError: No registry is named, or two, or no repository.
    """
    rest = list(segments)
    if namespace:
        remote = namespace
    elif "." in rest[0]:
        remote = rest.pop(0)
    elif default:
        remote = default
    else:
        raise BadReferenceError(f"no registry in {segments}")
    if not rest:
        raise BadReferenceError(f"no image name after {remote}")
    if "." in rest[0]:
        raise BadReferenceError(f"two registries: {remote} and {rest[0]}")
    return Reference(remote, "/".join(rest), reference.lower())


def of_url(url: str) -> Reference:
    """The image that a manifest file names: all becomes lower-case.

    Raises:
        BadReferenceError: The host has no dot, or there is neither tag nor digest.
    """
    host, _, rest = url.partition("/")
    if not rest or "." not in host:
        raise BadReferenceError(f"unable to parse image url: {url}")
    for separator in "@:":
        if separator in rest:
            repository, reference = rest.split(separator)[:2]
            if repository:
                return Reference(host.lower(), repository.lower(), reference.lower())
            break
    raise BadReferenceError(f"unable to parse image url: {url}")


def folder_of_url(url: str) -> Folder:
    """The folder that the server writes this URL's manifest to, and removes it from.

    Raises:
        BadReferenceError: The server can't tell; then it writes and removes nothing.
    """
    rest = url.partition("/")[2]
    if not rest:
        raise BadReferenceError(f"unable to parse image url {url}")
    first, slash, inner = rest.partition("/")
    if slash and "." in first:
        rest = inner
    if "@" in rest:
        repository, reference = rest.split("@", 1)
    else:
        repository, colon, reference = rest.rpartition(":")
        if not colon:
            repository, reference = rest, "latest"
    if "." in repository:
        raise BadReferenceError(f"period in the repository of {url}")
    return "lts" if reference.lower() == "latest" else "img"
