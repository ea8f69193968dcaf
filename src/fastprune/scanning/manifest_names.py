"""The names of the manifests in a cache.

Stage: walk. Input: the path of a cache. Output: names, folder by folder. I/O: lists the folders of
manifests; asks what lies at names that are not listed as regular files.
"""

from __future__ import annotations

import os
from collections.abc import Callable

from fastprune.layouts.layout import Layout
from fastprune.model import DIGEST_BYTES
from fastprune.progress import Progress
from fastprune.reading.chunks import REGULAR, kind_of
from fastprune.reading.folders import list_if_there


class ManifestNames:
    """Lists the folders of manifests, and keeps what else lies there.

    Attributes:
        foreign: Paths that are no cached files.
        irregular: Files that are not read, but that the server may read as manifests: path ->
            reason.
    """

    def __init__(self, root: str, layout: Layout, checkpoint: Callable[[], None]) -> None:
        """Lists nothing yet.

        Args:
            root: Path of the cache.
            layout: What kind of cache it is.
            checkpoint: Called often; raises if the scan is to end.
        """
        self.foreign: list[str] = []
        self.irregular: dict[str, str] = {}
        self._root, self._layout, self._checkpoint = root, layout, checkpoint

    def listed(self, number: int, progress: Progress) -> bytes:
        """Lists a folder.

        Args:
            number: Which of the layout's folders of manifests.
            progress: Is told how many names were listed.

        Returns:
            The names of the manifests, 32 raw bytes each.
        """
        folder = self._layout.manifest_folders[number]
        digests = bytearray()
        for part in list_if_there(os.path.join(self._root, folder)):
            self._checkpoint()
            progress.advance(len(part.digests) // DIGEST_BYTES)
            digests += part.digests
            foreign = set(part.foreign)
            for name in part.irregular:
                digests += self._look_at(f"{folder}/{name}", name)
                if f"{folder}/{name}" not in self.irregular:
                    foreign.discard(name)
            self.foreign += [f"{folder}/{name}" for name in foreign]
        return bytes(digests)

    def _look_at(self, path: str, name: str) -> bytes:
        """Looks at a name that was not listed as a regular file.

        On file systems that don't list types, a file that was just being replaced is one, too.

        Returns:
            The raw digest if it is a regular file now, to be read; else nothing.
        """
        kind = kind_of(os.path.join(self._root, path))
        if kind == REGULAR:
            return bytes.fromhex(name)
        if kind is not None:
            self.irregular[path] = f"{kind}, and the server may read it as a manifest"
        return b""
