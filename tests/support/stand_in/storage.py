"""The server's files: written in place, removed by digest.

I/O: the three folders of one cache.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from .holders import BadFileError, Holder, read_holder
from .hooks import Hooks, Point
from .references import BadReferenceError, folder_of_url

FOLDERS = ("lts", "img", "blobs")


class Storage:
    """The folders of one cache."""

    def __init__(self, root: Path, hooks: Hooks) -> None:
        """Makes the folders that are missing."""
        self.root = root
        self._hooks = hooks
        for folder in FOLDERS:
            (root / folder).mkdir(parents=True, exist_ok=True)

    def manifests(self) -> Iterator[Holder]:
        """What the files of lts/ and then img/ say, in the order of their names.

        The first one that is no manifest ends this, for its folder and for those that follow.
        """
        for folder in FOLDERS[:2]:
            for directory, folders, names in os.walk(self.root / folder):
                folders.sort()
                for name in sorted(names):
                    try:
                        yield read_holder(Path(directory, name).read_bytes())
                    except (OSError, BadFileError):
                        return

    def write_manifest(self, holder: Holder) -> None:
        """Writes a manifest in place: cuts the file to nothing, then writes it at once.

        Raises:
            BadReferenceError: The URL has no folder.
            OSError: It can't be written.
        """
        path = self.root / folder_of_url(holder.url) / holder.digest
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o755), "wb", 0) as file:
            self._hooks.at(Point.REWRITE, holder.url)
            file.write(holder.content)

    def remove_manifest(self, holder: Holder) -> None:
        """Unlinks by digest, in the folder of the URL, whatever URL the file shows."""
        try:
            (self.root / folder_of_url(holder.url) / holder.digest).unlink(missing_ok=True)
        except (BadReferenceError, OSError):
            return  # The server logs it.

    def blob(self, digest: str) -> Path:
        """Where a blob is."""
        return self.root / "blobs" / digest

    def has_blob(self, digest: str) -> bool:
        """Whether there is anything of this name; an empty name is the folder itself."""
        return self.blob(digest).exists()

    def write_blob(self, digest: str, content: bytes) -> None:
        """Writes a blob at its final name, in two pieces."""
        middle = len(content) // 2
        with open(self.blob(digest), "wb", 0) as file:
            file.write(content[:middle])
            self._hooks.at(Point.HALF_A_BLOB, digest)
            file.write(content[middle:])

    def remove_blob(self, digest: str) -> bool:
        """Unlinks a blob; whether it is gone now."""
        try:
            self.blob(digest).unlink(missing_ok=True)
        except OSError:
            return False
        return True
