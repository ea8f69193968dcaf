"""A registry that the server pulls from: in memory, or kept in a folder for another process.

I/O: only `save` and `load`.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from ..cachebuilder import digest_of
from ..documents import Descriptor, Document, Media, Platform, image_document, list_document
from .holders import MEDIA_TYPES


class Content(NamedTuple):
    """A manifest of an upstream."""

    media_type: str
    document: bytes


class Upstream:
    """Manifests and blobs by digest, and the tags of repositories. Tags may be moved any time.

    Attributes:
        manifests: By digest.
        blobs: By digest.
        tags: The digest that a tag URL leads to.
        before_blob: Is called with the digest of each blob that is fetched, before it is sent.
    """

    def __init__(self) -> None:
        self.before_blob: Callable[[str], None] = lambda digest: None
        self.manifests: dict[str, Content] = {}
        self.blobs: dict[str, bytes] = {}
        self.tags: dict[str, str] = {}
        self._lock = threading.Lock()

    def blob(self, content: bytes) -> str:
        """Adds a blob and returns its digest."""
        digest = digest_of(content)
        self.blobs[digest] = content
        return digest

    def image(
        self,
        *urls: str,
        layers: Sequence[bytes] = (),
        config: bytes | None = None,
        media: Media = "docker",
    ) -> str:
        """Adds an image, with these tags, and returns its digest.

        Args:
            urls: Tag URLs.
            layers: The contents of its layers.
            config: That of the config; by default one that no other such image has.
            media: Docker manifest or OCI manifest.
        """
        contents = list(layers)
        if config is None:
            config = json.dumps([digest_of(one) for one in contents] + [media]).encode()
        document = image_document(media, self._described(config), map(self._described, contents))
        return self._add(document, urls)

    def index(self, *urls: str, children: Sequence[str], media: Media = "docker") -> str:
        """Adds a list of these images, with these tags, and returns its digest."""
        described = [
            Descriptor(child, len(self.manifests[child].document), Platform()) for child in children
        ]
        return self._add(list_document(media, described), urls)

    def tag(self, url: str, digest: str) -> None:
        """Lets a tag lead to a manifest."""
        with self._lock:
            self.tags[url] = digest

    def find(self, url: str) -> Content | None:
        """What a URL with a tag or a digest leads to."""
        with self._lock:
            _, at, digest = url.partition("@sha256:")
            return self.manifests.get(digest if at else self.tags.get(url, ""))

    def fetch(self, digest: str) -> bytes | None:
        """The content of a blob."""
        self.before_blob(digest)
        return self.blobs.get(digest)

    def save(self, folder: Path) -> Path:
        """Writes it to a folder and returns the folder."""
        folder.mkdir(parents=True, exist_ok=True)
        for digest, manifest in self.manifests.items():
            (folder / digest).write_bytes(manifest.document)
        for digest, content in self.blobs.items():
            (folder / digest).write_bytes(content)
        kinds = {digest: one.media_type for digest, one in self.manifests.items()}
        described = {"manifests": kinds, "tags": self.tags, "blobs": list(self.blobs)}
        (folder / "upstream.json").write_text(json.dumps(described))
        return folder

    @classmethod
    def load(cls, folder: Path) -> Upstream:
        """Reads what `save` wrote."""
        found = cls()
        described = json.loads((folder / "upstream.json").read_text())
        for digest, media_type in described["manifests"].items():
            found.manifests[digest] = Content(media_type, (folder / digest).read_bytes())
        for digest in described["blobs"]:
            found.blobs[digest] = (folder / digest).read_bytes()
        found.tags = described["tags"]
        return found

    def _described(self, content: bytes) -> Descriptor:
        return Descriptor(self.blob(content), len(content))

    def _add(self, document: Document, urls: Sequence[str]) -> str:
        content = Content(MEDIA_TYPES[document.kind], document.upstream)
        self.manifests[document.digest] = content
        for url in urls:
            self.tag(url, document.digest)
        return document.digest
