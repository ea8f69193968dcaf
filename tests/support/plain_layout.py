"""A second kind of cache: folders of other names, manifest files of another format.

A manifest file is text. Above the empty line is what the server notes, below it what the image
or list consists of; the name of the file is the sha256 of what is below::

    docker.io/library/a:1
    2026-01-01T00:00:00
    2026-02-01T00:00:00

    image
    5 2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824
    end

A list has a line with a digest for each child.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from fastprune.errors import ManifestError
from fastprune.layouts.layout import Content, Layout, ManifestRecord
from fastprune.model import ManifestKind

_KINDS = {"image": ManifestKind.OCI_IMAGE, "list": ManifestKind.OCI_INDEX}


@dataclass(frozen=True)
class PlainLayout(Layout):
    """The layout; unlike that of ociregistry it has a state, which workers get with each task."""

    manifest_folders: tuple[str, ...]
    blob_folder: str

    def manifest_folder_of(self, url: str, /) -> str:
        """The last folder, where there are two, for what people call `edge`."""
        return self.manifest_folders[-1 if url.endswith(":edge") else 0]

    def parse(self, content: Content, /) -> ManifestRecord:
        try:
            (url, created, pulled), (kind, *lines) = _halves(bytes(content).decode())
            if lines.pop() != "end":
                raise ManifestError("cut off")
            words = [line.split(" ") for line in lines]
            digests = "\n".join(f"sha256:{line[-1]}" for line in words)
            sizes = [int(size) for size, _ in words] if kind == "image" else []
            return ManifestRecord(_KINDS[kind], url, created, pulled, digests, sizes)
        except (ValueError, LookupError) as error:
            raise ManifestError(f"no manifest: {error}") from None

    def parse_with_upstream(self, content: Content, /) -> tuple[ManifestRecord, bytes | None]:
        return self.parse(content), bytes(content).partition(b"\n\n")[2]

    def disagreement(self, record: ManifestRecord, upstream: bytes | None, name: bytes, /) -> str:
        assert upstream is not None
        return "" if sha256(upstream).digest() == name else "its lines have another sha256"

    def digests_in(self, content: bytes, /) -> set[bytes]:
        return {bytes.fromhex(found.decode()) for found in re.findall(rb"[0-9a-f]{64}", content)}


def _halves(text: str) -> tuple[list[str], list[str]]:
    noted, _, upstream = text.partition("\n\n")
    return noted.split("\n"), upstream.removesuffix("\n").split("\n")


class PlainBuilder:
    """Writes a cache of this kind.

    Attributes:
        root: Its path.
        layout: Its layout.
    """

    def __init__(self, root: Path, layout: PlainLayout) -> None:
        self.root, self.layout = root, layout
        for folder in layout.folders:
            (root / folder).mkdir(parents=True)

    def blob(self, content: str) -> str:
        """Writes a blob; gives its path."""
        return self._write(self.layout.blob_folder, content, sha256(content.encode()).hexdigest())

    def image(self, url: str, *blobs: str, pulled: str = "2026-02-01", folder: int = 0) -> str:
        """Writes an image that needs some blobs; gives its path."""
        lines = [f"{(self.root / path).stat().st_size} {path[-64:]}" for path in blobs]
        return self._manifest(url, "image", lines, pulled, folder)

    def image_list(
        self, url: str, *children: str, pulled: str = "2026-02-01", folder: int = 0
    ) -> str:
        """Writes a list of some images; gives its path."""
        return self._manifest(url, "list", [path[-64:] for path in children], pulled, folder)

    def _manifest(self, url: str, kind: str, lines: list[str], pulled: str, folder: int) -> str:
        upstream = "\n".join([kind, *lines, "end"]) + "\n"
        content = f"{url}\n2026-01-01T00:00:00\n{pulled}T00:00:00\n\n{upstream}"
        folder_name = self.layout.manifest_folders[folder]
        return self._write(folder_name, content, sha256(upstream.encode()).hexdigest())

    def _write(self, folder: str, content: str, name: str) -> str:
        (self.root / folder / name).write_text(content, "utf-8")
        return f"{folder}/{name}"
