"""The content of a generated cache, as the server would have written it for one repository.

The unit of work is one repository. Its content depends only on the seed and on its number.
Repositories share nothing but base layers, which are named by small integers. Nothing here
touches the disk.
"""

from __future__ import annotations

import base64
import dataclasses
import functools
import hashlib
import math
import random
from datetime import datetime, timedelta
from typing import Any

import orjson

FIRST_DAY = datetime(2023, 7, 1)
SECONDS_COVERED = 3 * 365 * 86_400
TINY = 4096  # bytes of every blob of a cache with tiny blobs

PLATFORMS = (
    {"architecture": "amd64", "os": "linux"},
    {"architecture": "arm64", "os": "linux", "variant": "v8"},
    {"architecture": "arm", "os": "linux", "variant": "v7"},
    {"architecture": "s390x", "os": "linux"},
    {"architecture": "ppc64le", "os": "linux"},
    {"architecture": "386", "os": "linux"},
    {"architecture": "riscv64", "os": "linux"},
    {"architecture": "mips64le", "os": "linux"},
)

# The four parts of a manifest file in the server's order, each with its zero value; the position
# of a part in `PART_OF_TYPE` is the `type` that fills it.
EMPTY_PARTS = {
    "v1.oci.index": b'{"schemaVersion":0,"manifests":null}',
    "v1.oci.manifest": (
        b'{"schemaVersion":0,"config":{"mediaType":"","digest":"","size":0},"layers":null}'
    ),
    "v2.docker.manifestList": b'{"schemaVersion":0,"mediaType":"","manifests":null}',
    "v2.docker.manifest": b'{"schemaVersion":0,"config":{},"layers":null}',
}
PART_OF_TYPE = ("v2.docker.manifestList", "v2.docker.manifest", "v1.oci.index", "v1.oci.manifest")
DOCKER_LIST, DOCKER_IMAGE, OCI_LIST, OCI_IMAGE = range(4)
DOCKER = "application/vnd.docker"
OCI = "application/vnd.oci.image"
MEDIA_TYPES = (
    f"{DOCKER}.distribution.manifest.list.v2+json",
    f"{DOCKER}.distribution.manifest.v2+json",
    f"{OCI}.index.v1+json",
    f"{OCI}.manifest.v1+json",
)
LAYER_TYPES = {True: f"{OCI}.layer.v1.tar+gzip", False: f"{DOCKER}.image.rootfs.diff.tar.gzip"}
CONFIG_TYPES = {True: f"{OCI}.config.v1+json", False: f"{DOCKER}.container.image.v1+json"}


@dataclasses.dataclass(frozen=True, slots=True)
class Settings:
    """The settings that decide the content of a cache."""

    seed: int
    manifests: int
    tiny: bool

    @property
    def base_images(self) -> int:
        """Number of base images that repositories build upon."""
        return max(8, self.manifests // 400)


@dataclasses.dataclass(frozen=True, slots=True)
class Repository:
    """One repository of the plan.

    Attributes:
        number: Its place in the plan.
        name: Registry and repository.
        tags: How many versions it holds, `latest` apart.
        lists: Whether it publishes lists, or else single images.
    """

    number: int
    name: str
    tags: int
    lists: bool


@dataclasses.dataclass(frozen=True, slots=True)
class Document:
    """An upstream manifest document before it gets a folder and a URL.

    Attributes:
        digest: SHA-256 of the upstream bytes.
        size: Length of the upstream bytes.
        type: The server's `type` number.
        upstream: The pretty-printed document, base64.
        compact: The document as the server stores it in its part.
        children: Digests of the cached children of a list.
        own: Digests of the blobs that only this repository refers to.
        base: Numbers of the base layers.
    """

    digest: str
    size: int
    type: int
    upstream: bytes
    compact: bytes
    children: tuple[str, ...] = ()
    own: tuple[str, ...] = ()
    base: tuple[int, ...] = ()


@dataclasses.dataclass(frozen=True, slots=True)
class ManifestFile:
    """One manifest file of the cache."""

    folder: str
    url: str
    document: Document
    created: str
    pulled: str


def blob_digest(*parts: object) -> str:
    """A digest that looks random but depends only on the parts."""
    return hashlib.sha256("/".join(map(str, parts)).encode()).hexdigest()


def layer_size(digest: str) -> int:
    """Size of a layer, roughly log-normal: median 1 MB, from hundreds of bytes to 800 MB."""
    spread = (sum(bytes.fromhex(digest[:8])) - 510) / 148
    return min(800_000_000, max(180, int(math.exp(13.8 + 2.4 * spread)) + int(digest[8:10], 16)))


def config_size(digest: str) -> int:
    """Size of an image configuration: 1.5 to 18 KB."""
    return 1_500 + int(digest[:4], 16) // 4


@functools.lru_cache(maxsize=200_000)
def base_layer(seed: int, code: int) -> tuple[str, int]:
    """Digest and size of a base layer."""
    digest = blob_digest(seed, "base", code)
    return digest, layer_size(digest)


def base_chain(settings: Settings, image: int, arch: int) -> tuple[int, ...]:
    """The layers of a base image for one architecture: two to six of them."""
    length = 2 + int(blob_digest(settings.seed, "chain", image)[:8], 16) % 5
    first = (image * len(PLATFORMS) + arch) * 8
    return tuple(range(first, first + length))


class RepositoryBuilder:
    """Works out the content of one repository: its manifest files and the sizes of its blobs."""

    def __init__(self, settings: Settings, repository: Repository) -> None:
        self.settings = settings
        self.repository = repository
        self.random = random.Random(f"{settings.seed}/repository/{repository.number}")
        self.files: list[ManifestFile] = []
        self.blobs: dict[str, int] = {}
        self._serial = 0
        self._oci = self.random.random() < 0.6
        self._loaded = self.random.random() < 0.04  # by `ociregistry load` from a text list
        self._base = self._choose_base()
        self._slow: list[str] = []  # layers that outlive a version
        self._slow_count = self.random.randint(1, 3)

    def build(self) -> None:
        """Fills `files` and `blobs`."""
        rng = self.random
        prefix = "v" if rng.random() < 0.4 else ""
        documents: list[Document] = []
        for version in range(self.repository.tags):
            tag = f"{prefix}{version // 100 + 1}.{version // 10 % 10}.{version % 10}"
            documents = self._version("img", tag, documents)
            if rng.random() < 0.04:  # the tag moved on and left this image behind
                self._add("img", self._digest_url(image := self._image(0)), image)
        if rng.random() < 0.36:
            same = documents if rng.random() < 0.4 and not self._loaded else None
            if same:  # `latest` is the newest version: one more file, in lts/, of the same digest
                self._add("lts", f"{self.repository.name}:latest", same[0])
            else:
                self._version("lts", "latest", [])
        for _ in range(round(len(self.blobs) * 0.02 + rng.random() - 0.5)):
            self._layer()

    def _version(self, folder: str, tag: str, previous: list[Document]) -> list[Document]:
        """Adds the files of one tag; returns the tagged document and then its cached children."""
        rng = self.random
        url = f"{self.repository.name}:{tag}"
        if rng.random() < 0.15:
            self._base = self._choose_base()
        if not self.repository.lists:
            self._renew_layers()
            image = self._image(0)
            self._add(folder, url, image)
            return [image]
        if len(previous) > 1 and not self._loaded and rng.random() < 0.03:
            children = previous[1:]  # a new list around the images of the version before
            fresh = []
        else:
            self._renew_layers()
            cached = rng.choices((1, 2, 3), (88, 9, 3))[0]
            children = fresh = [self._image(arch) for arch in range(cached)]
        index = self._list(children)
        self._add(folder, url, index)
        for child in fresh:
            if self._loaded:
                self._add(folder, url, child)
            elif rng.random() < 0.01:  # pulled once more, by a tag of its own
                self._add("img", f"{url}-{child.digest[:6]}", child)
            else:
                self._add("img", self._digest_url(child), child)
        return [index, *children]

    def _renew_layers(self) -> None:
        kept = [layer for layer in self._slow if self.random.random() >= 0.35]
        fresh = range(self._slow_count - len(kept))
        self._slow = [*kept, *(self._layer() for _ in fresh)]

    def _image(self, arch: int) -> Document:
        config = self._new_digest("config")
        self.blobs[config] = TINY if self.settings.tiny else config_size(config)
        own = [*self._slow, *(self._layer() for _ in range(self.random.choice((1, 1, 2, 3))))]
        base = base_chain(self.settings, self._base, arch)
        layers = [base_layer(self.settings.seed, code) for code in base]
        if self.settings.tiny:
            layers = [(digest, TINY) for digest, _ in layers]
        layers += [(digest, self.blobs[digest]) for digest in own]
        kind = LAYER_TYPES[self._oci]
        content: dict[str, Any] = {
            "schemaVersion": 2,
            "mediaType": MEDIA_TYPES[OCI_IMAGE if self._oci else DOCKER_IMAGE],
            "config": descriptor(CONFIG_TYPES[self._oci], config, self.blobs[config]),
            "layers": [descriptor(kind, digest, size) for digest, size in layers],
        }
        if self._oci and self.random.random() < 0.5:
            name = self.repository.name.rpartition("/")[2].partition(":")[0]
            content["annotations"] = {
                "org.opencontainers.image.created": f"{self._date()}Z",
                "org.opencontainers.image.revision": config[:40],
                "org.opencontainers.image.source": f"https://git.example.org/{name}",
            }
        number = OCI_IMAGE if self._oci else DOCKER_IMAGE
        return make_document(content, number, own=(config, *own), base=base)

    def _list(self, children: list[Document]) -> Document:
        rng = self.random
        # At least one platform is not cached: its new digest makes every list a new document.
        platforms = PLATFORMS[: max(len(children) + 1, rng.choice((2, 2, 3, 4, 5, 6, 8)))]
        kind = MEDIA_TYPES[OCI_IMAGE if self._oci else DOCKER_IMAGE]
        manifests = []
        for position, platform in enumerate(platforms):
            if position < len(children):
                digest, size = children[position].digest, children[position].size
            else:
                digest, size = self._new_digest("elsewhere"), rng.randint(500, 3_000)
            manifests.append({**descriptor(kind, digest, size), "platform": platform})
        if self._oci and rng.random() < 0.5:
            for described in manifests[: 12 - len(manifests)]:
                attestation = descriptor(kind, self._new_digest("attestation"), 840)
                attestation["annotations"] = {
                    "vnd.docker.reference.digest": described["digest"],
                    "vnd.docker.reference.type": "attestation-manifest",
                }
                attestation["platform"] = {"architecture": "unknown", "os": "unknown"}
                manifests.append(attestation)
        number = OCI_LIST if self._oci else DOCKER_LIST
        content = {"schemaVersion": 2, "mediaType": MEDIA_TYPES[number], "manifests": manifests}
        return make_document(content, number, children=tuple(child.digest for child in children))

    def _add(self, folder: str, url: str, document: Document) -> None:
        created = pulled = ""
        if not self._loaded:
            created = self._date()
            if self.random.random() > 0.02:
                pulled = max(created, self._date())
        self.files.append(ManifestFile(folder, url, document, created, pulled))

    def _choose_base(self) -> int:
        # `n ** u` for a uniform u is at most k with probability log k / log n: Zipf's law.
        return int(self.settings.base_images ** self.random.random())

    def _layer(self) -> str:
        digest = self._new_digest("layer")
        self.blobs[digest] = TINY if self.settings.tiny else layer_size(digest)
        return digest

    def _new_digest(self, what: str) -> str:
        self._serial += 1
        return blob_digest(self.settings.seed, what, self.repository.number, self._serial)

    def _digest_url(self, document: Document) -> str:
        return f"{self.repository.name}@sha256:{document.digest}"

    def _date(self) -> str:
        moment = timedelta(seconds=int(self.random.random() * SECONDS_COVERED))
        return (FIRST_DAY + moment).isoformat()


def descriptor(media_type: str, digest: str, size: int) -> dict[str, Any]:
    """The descriptor of a blob or of a child."""
    return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": size}


def make_document(
    content: dict[str, Any],
    number: int,
    *,
    children: tuple[str, ...] = (),
    own: tuple[str, ...] = (),
    base: tuple[int, ...] = (),
) -> Document:
    """Serialises a manifest document as a registry would, and hashes it."""
    upstream = orjson.dumps(content, option=orjson.OPT_INDENT_2)
    digest = hashlib.sha256(upstream).hexdigest()
    encoded = base64.b64encode(upstream)
    compact = orjson.dumps(content)
    return Document(digest, len(upstream), number, encoded, compact, children, own, base)


def manifest_bytes(file: ManifestFile) -> bytes:
    """The content of a manifest file, byte for byte as the server writes it."""
    document = file.document
    filled = PART_OF_TYPE[document.type]
    parts = b",".join(
        b'"%b":%b' % (name.encode(), document.compact if name == filled else empty)
        for name, empty in EMPTY_PARTS.items()
    )
    head = (
        f'{{"type":{document.type},"digest":"{document.digest}","imageUrl":"{file.url}","bytes":"'
    )
    tail = f',"created":"{file.created}","pulled":"{file.pulled}"}}'
    return b"".join((head.encode(), document.upstream, b'",', parts, tail.encode()))
