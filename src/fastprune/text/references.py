"""Image references as people and Kubernetes write them, completed as Docker does it.

Stage: rim. Input: text. Output: references in full. Pure, no I/O, and no numpy.

The grammar and the rules are those of the distribution project's reference package
(https://pkg.go.dev/github.com/distribution/reference, `ParseDockerRef` and
`splitDockerDomain`): no registry means docker.io, a single name on docker.io is in library/,
no tag means latest. A reference may begin with `docker-pullable://` or `docker://`, as
`imageID` of a Kubernetes pod does.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from fastprune.errors import UsageError
from fastprune.model import DIGEST_PREFIX, is_hex_name

DEFAULT_REGISTRY = "docker.io"
LONG_DEFAULT_REGISTRY = "index.docker.io"
OFFICIAL = "library/"
DEFAULT_TAG = "latest"

_SCHEMES = ("docker-pullable://", "docker://")
_LABEL = r"[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?"
_REGISTRY = re.compile(rf"(?:{_LABEL}(?:\.{_LABEL})*|\[[a-fA-F0-9:]+\])(?::[0-9]+)?")
_PART = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_NAME = re.compile(rf"{_PART}(?:/{_PART})*")
_TAG = re.compile(r"[a-zA-Z0-9_][a-zA-Z0-9_.-]{0,127}")
_MOST_NAME_CHARS = 255


def parse_references(text: str, source: str) -> Iterator[str]:
    """Parses a list of references, separated by blanks or line ends; `#` begins a comment.

    Args:
        text: The list.
        source: Where it is from, for the message.

    Yields:
        `registry/repository:tag`, `registry/repository@sha256:<hex>` or `sha256:<hex>`. One
        with a tag and a digest gives both; one through a mirror
        (`host:5000/docker.io/library/nginx`) gives the upstream name, too.

    Raises:
        UsageError: One is malformed; the message names the line.
    """
    for number, line in enumerate(text.split("\n"), 1):
        for word in line.partition("#")[0].split():
            found = parse_reference(word)
            if not found:
                raise UsageError(
                    f"{source}, line {number}: not an image reference: {word!r}; write one as "
                    "nginx, quay.io/org/app:1.2 or name@sha256:<64 hex digits>"
                )
            yield from found


def parse_reference(text: str) -> tuple[str, ...]:
    """Completes one reference; gives none if it is malformed. See `parse_references`."""
    for scheme in _SCHEMES:
        text = text.removeprefix(scheme)
    if is_hex_name(text.removeprefix(DIGEST_PREFIX)):
        return (DIGEST_PREFIX + text.removeprefix(DIGEST_PREFIX),)
    name, at, digest = text.partition("@")
    name, tag = _split_tag(name)
    if tag is not None and not _TAG.fullmatch(tag):
        return ()
    if at and not (digest.startswith(DIGEST_PREFIX) and is_hex_name(digest[len(DIGEST_PREFIX) :])):
        return ()
    names = _complete(name)
    if at:
        tags = [f"{name}:{tag}" for name in names if tag is not None]
        return (*tags, *(f"{name}@{digest}" for name in names))
    return tuple(f"{name}:{DEFAULT_TAG if tag is None else tag}" for name in names)


def familiar_repository(repository: str) -> str:
    """A repository completed as Docker does it: `docker.io/` and `library/` may be left out."""
    first, slash, rest = repository.partition("/")
    if slash and first in (DEFAULT_REGISTRY, LONG_DEFAULT_REGISTRY):
        return f"{DEFAULT_REGISTRY}/{rest if '/' in rest else OFFICIAL + rest}"
    return repository


def _split_tag(name: str) -> tuple[str, str | None]:
    slash, colon = name.rfind("/"), name.rfind(":")
    # A colon before the last slash belongs to a port.
    return (name[:colon], name[colon + 1 :]) if colon > slash else (name, None)


def _complete(name: str) -> list[str]:
    """The name with its registry; and the rest of the name, if that has a registry, too."""
    registry, repository = _split_registry(name)
    if registry is None:
        registry, repository = DEFAULT_REGISTRY, name
    if not _REGISTRY.fullmatch(registry) or not _NAME.fullmatch(repository):
        return []
    if registry == LONG_DEFAULT_REGISTRY:
        registry = DEFAULT_REGISTRY
    if registry == DEFAULT_REGISTRY and "/" not in repository:
        repository = OFFICIAL + repository
    full = f"{registry}/{repository}"
    if len(full) > _MOST_NAME_CHARS:
        return []
    behind, _ = _split_registry(repository)
    return [full] if behind is None else [full, *_complete(repository)]


def _split_registry(name: str) -> tuple[str | None, str]:
    """The registry that a name begins with; None if that is only a part of the repository."""
    first, slash, rest = name.partition("/")
    is_host = first == "localhost" or not {".", ":"}.isdisjoint(first) or first != first.lower()
    return (first, rest) if slash and is_host else (None, name)
