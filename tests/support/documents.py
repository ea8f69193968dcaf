"""The JSON that the server writes: upstream documents and the ManifestHolder around them.

A file that is built here equals, byte for byte, the file that the server would write. So the
order of keys, the zero values of unfilled parts, and the keys that are left out when zero are
those of the server's own structures. A test rebuilds every real manifest to show this.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

Json = dict[str, Any]
Media = Literal["docker", "oci"]
Folder = Literal["img", "lts"]

DIGEST_PREFIX = "sha256:"

_DOCKER = "application/vnd.docker."
_OCI = "application/vnd.oci.image."
_LIST_TYPE: dict[Media, str] = {
    "docker": _DOCKER + "distribution.manifest.list.v2+json",
    "oci": _OCI + "index.v1+json",
}
_IMAGE_TYPE: dict[Media, str] = {
    "docker": _DOCKER + "distribution.manifest.v2+json",
    "oci": _OCI + "manifest.v1+json",
}
_CONFIG_TYPE: dict[Media, str] = {
    "docker": _DOCKER + "container.image.v1+json",
    "oci": _OCI + "config.v1+json",
}
_LAYER_TYPE: dict[Media, str] = {
    "docker": _DOCKER + "image.rootfs.diff.tar.gzip",
    "oci": _OCI + "layer.v1.tar+gzip",
}

# The value of the holder's `type`, and the name of the part that this type fills.
_LIST_KIND: dict[Media, int] = {"docker": 0, "oci": 2}
_IMAGE_KIND: dict[Media, int] = {"docker": 1, "oci": 3}
PART_NAMES = ("v2.docker.manifestList", "v2.docker.manifest", "v1.oci.index", "v1.oci.manifest")


@dataclass(frozen=True, slots=True)
class Platform:
    """The platform of a child of a list; an empty variant is left out."""

    architecture: str = "amd64"
    os: str = "linux"
    variant: str = ""


@dataclass(frozen=True, slots=True)
class Descriptor:
    """A reference to a blob or a manifest.

    Attributes:
        digest: 64 hex digits, without a prefix.
        size: Bytes, as the referring document states them.
        platform: Only for the children of a list.
    """

    digest: str
    size: int
    platform: Platform | None = None


@dataclass(frozen=True, slots=True)
class Document:
    """An upstream document, and the part of the holder that the server fills from it."""

    kind: int
    upstream: bytes
    part: Json

    @property
    def digest(self) -> str:
        """The hex sha256 of the upstream bytes: the name of the file in the cache."""
        return hashlib.sha256(self.upstream).hexdigest()


def image_document(
    media: Media,
    config: Descriptor,
    layers: Iterable[Descriptor],
    annotations: Mapping[str, str] | None = None,
) -> Document:
    """An image manifest of either media type."""
    upstream: Json = {
        "schemaVersion": 2,
        "mediaType": _IMAGE_TYPE[media],
        "config": _descriptor(config, _CONFIG_TYPE[media]),
        "layers": [_descriptor(layer, _LAYER_TYPE[media]) for layer in layers],
    }
    if annotations:
        upstream["annotations"] = dict(sorted(annotations.items()))
    return _document(_IMAGE_KIND[media], media, upstream, indent=2)


def list_document(media: Media, children: Iterable[Descriptor]) -> Document:
    """A Docker manifest list or an OCI index."""
    upstream: Json = {
        "schemaVersion": 2,
        "mediaType": _LIST_TYPE[media],
        "manifests": [_descriptor(child, _IMAGE_TYPE[media]) for child in children],
    }
    return _document(_LIST_KIND[media], media, upstream, indent=1)


def holder_json(document: Document, name: str, url: str, created: str, pulled: str) -> Json:
    """The ManifestHolder around a document, as an object with the server's key order."""
    holder: Json = {"type": document.kind, "digest": name, "imageUrl": url}
    if document.upstream:
        holder["bytes"] = base64.b64encode(document.upstream).decode("ascii")
    holder |= _empty_parts()
    holder[PART_NAMES[document.kind]] = document.part
    return holder | {"created": created, "pulled": pulled}


def encode(value: object) -> bytes:
    """Compact JSON as Go writes it: UTF-8, and HTML's own characters escaped."""
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text.encode()


def _document(kind: int, media: Media, upstream: Json, *, indent: int) -> Document:
    part = upstream
    if media == "docker":
        part = {key: without_zero_sizes(value) for key, value in upstream.items()}
    return Document(kind, json.dumps(upstream, indent=indent).encode(), part)


def _descriptor(descriptor: Descriptor, media_type: str) -> Json:
    found: Json = {
        "mediaType": media_type,
        "digest": DIGEST_PREFIX + descriptor.digest,
        "size": descriptor.size,
    }
    if descriptor.platform is not None:
        platform = descriptor.platform
        found["platform"] = {"architecture": platform.architecture, "os": platform.os}
        if platform.variant:
            found["platform"]["variant"] = platform.variant
    return found


def without_zero_sizes(value: object) -> object:
    """The server's Docker descriptors leave out a size of zero; its OCI descriptors don't."""
    if isinstance(value, dict):
        return {
            key: without_zero_sizes(inner)
            for key, inner in value.items()
            if not (key == "size" and inner == 0)
        }
    if isinstance(value, list):
        return [without_zero_sizes(inner) for inner in value]
    return value


def _empty_parts() -> Json:
    return {
        "v1.oci.index": {"schemaVersion": 0, "manifests": None},
        "v1.oci.manifest": {
            "schemaVersion": 0,
            "config": {"mediaType": "", "digest": "", "size": 0},
            "layers": None,
        },
        "v2.docker.manifestList": {"schemaVersion": 0, "mediaType": "", "manifests": None},
        "v2.docker.manifest": {"schemaVersion": 0, "config": {}, "layers": None},
    }
