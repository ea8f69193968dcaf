"""The names of the manifests in a cache.

Stage: walk. Input: the path of a cache. Output: names, folder by folder. I/O: lists the folders of
manifests, in workers if they are large; asks what lies at names that are not listed as regular
files.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import TypeAlias

from fastprune.executors.executor import Executor
from fastprune.executors.inline import here_if_remote
from fastprune.layouts.layout import Layout
from fastprune.model import DIGEST_BYTES
from fastprune.progress import Progress
from fastprune.reading.chunks import REGULAR, kind_of
from fastprune.reading.folders import ListingPart, list_if_there

NumberedPart: TypeAlias = tuple[int, ListingPart]
"""A part of the listing of a folder, behind the number of the folder."""


def list_numbered(task: tuple[int, str]) -> Iterator[NumberedPart]:
    """Lists a folder, given by its number and its path, as `list_if_there` does."""
    number, path = task
    for part in list_if_there(path):
        yield number, part


class ManifestNames:
    """Lists the folders of manifests, and keeps what else lies there.

    Attributes:
        foreign: Paths that are no cached files.
        irregular: Files that are not read, but that the server may read as manifests: path ->
            reason.
    """

    def __init__(self, root: str, layout: Layout, checkpoint: Callable[[], None]) -> None:
        """Lists nothing yet; `checkpoint` is called often, and raises if the scan is to end."""
        self.foreign: list[str] = []
        self.irregular: dict[str, str] = {}
        self._root, self._layout, self._checkpoint = root, layout, checkpoint

    def listed(
        self, numbers: Sequence[int], open_executor: Callable[[int], Executor], progress: Progress
    ) -> Iterator[bytes]:
        """Lists folders. Large ones are listed by workers: there is enough to do in this process.

        Workers elsewhere list none: theirs may be old, without a manifest that is there. The
        folders are given as positions in the layout's `manifest_folders`.

        Yields:
            For each folder, the names of the manifests, 32 raw bytes each.
        """
        folders = self._layout.manifest_folders
        tasks = [(number, os.path.join(self._root, folders[number])) for number in numbers]
        begun = [(number, list(islice(list_if_there(path), 2))) for number, path in tasks]
        results: Iterable[NumberedPart] = (
            (number, part) for number, parts in begun for part in parts
        )
        if not all(parts[-1].last for _, parts in begun):
            count = sum(len(part.digests) for _, part in results) // DIGEST_BYTES
            executor = here_if_remote(open_executor(count))
            results = executor.map_unordered(list_numbered, tasks)
        digests = {number: bytearray() for number in numbers}
        for number, part in results:
            self._checkpoint()
            progress.advance(len(part.digests) // DIGEST_BYTES)
            digests[number] += self._names_in(folders[number], part)
        for number in numbers:
            yield bytes(digests.pop(number))

    def _names_in(self, folder: str, part: ListingPart) -> bytes:
        """The names of manifests in a part of a listing; keeps the others."""
        digests, foreign = part.digests, set(part.foreign)
        for name in part.irregular:
            digests += self._look_at(f"{folder}/{name}", name)
            if f"{folder}/{name}" not in self.irregular:
                foreign.discard(name)
        self.foreign += [f"{folder}/{name}" for name in foreign]
        return digests

    def _look_at(self, path: str, name: str) -> bytes:
        """The raw digest of a name that was not listed as a regular file, if it is one now.

        On file systems that don't list types, a file that was just being replaced is one, too.
        """
        kind = kind_of(os.path.join(self._root, path))
        if kind == REGULAR:
            return bytes.fromhex(name)
        if kind is not None:
            self.irregular[path] = f"{kind}, and the server may read it as a manifest"
        return b""
