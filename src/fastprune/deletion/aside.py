"""Files that are set aside in a live run of the trash, and put back if something needs them.

Stage: apply. Input: names of files. Output: what became of them. Blocking; I/O: opens the folders
of a cache and of a run; what changes, changes by `fastprune.deletion.deleter`.

A blob is set aside by a second name (a hard link) before the server is asked for something that
may remove the first one. What the server can't remove is set aside by moving it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from fastprune.deletion.deleter import (
    NO_HARD_LINKS,
    Batch,
    BatchResult,
    Outcome,
    Restorer,
    Unlinker,
    all_of,
    set_aside,
)
from fastprune.errors import TrashError
from fastprune.index.cache_index import CacheIndex
from fastprune.reading.folders import status_of
from fastprune.reading.trash_folders import opened_cache, opened_run
from fastprune.whole_files import sync_if_offered


class Aside:
    """The open folders of a cache, and those of a run in its trash: descriptors by name."""

    def __init__(self, cache: dict[str, int], trash: dict[str, int], blob_folder: str) -> None:
        """Sets nothing aside yet."""
        self.cache, self.trash = cache, trash
        self._blobs = blob_folder

    def check_links(self, names: Sequence[str]) -> None:
        """Makes sure that blobs can have a second name, with the first one that is there.

        Raises:
            TrashError: They can't; nothing was changed.
        """
        for name in names:
            result = self.keep([name])
            if result.outcomes[0] == Outcome.REMOVED:
                self.discard([name])
                return
            if result.outcomes[0] == Outcome.FAILED:
                raise TrashError(
                    "blobs can't be set aside before the server is asked, as the file system "
                    f"makes no hard link to {self._blobs}/{name}: {result.message(0)}; nothing "
                    "was deleted. Run fastprune as the owner of the files, or stop the server and "
                    "prune without --server"
                    if result.errors[0] in NO_HARD_LINKS
                    else f"{self._blobs}/{name} can't be set aside: {result.message(0)}; nothing "
                    "was deleted"
                )

    def keep(self, names: list[str]) -> BatchResult:
        """Sets blobs aside by a second name, durably; see `set_aside`."""
        if self._blobs not in self.cache:
            return all_of(len(names), Outcome.GONE)
        batch = Batch(names, [0] * len(names))
        result = set_aside(self.cache[self._blobs], self.trash[self._blobs], batch)
        sync_if_offered(self.trash[self._blobs])
        return result

    def missing(self, names: Sequence[str], folder: str | None = None) -> list[bool]:
        """Which names a folder of the cache has no file of; by default that of the blobs."""
        opened = self.cache.get(folder or self._blobs)
        return [opened is None or status_of(name, within=opened) is None for name in names]

    def put_back(self, names: list[str], folder: str | None = None) -> list[str]:
        """Puts files back durably, never over what is there; they stay in the trash as well.

        By default, they are blobs.

        Returns:
            What could not be put back, and why.
        """
        if not names:
            return []
        folder = folder or self._blobs
        if folder not in self.cache:
            return [f"{folder}/{name}: the cache has no folder {folder}/" for name in names]
        batch = Batch(names, [0] * len(names))
        result = Restorer().put_back(self.trash[folder], self.cache[folder], batch)
        sync_if_offered(self.cache[folder])
        # One that is not in the trash may be in the cache: it was put back before.
        gone = result.where(Outcome.GONE)
        lost = [at for at in gone if status_of(names[at], within=self.cache[folder]) is None]
        why = {at: result.message(at) for at in result.where(Outcome.FAILED)}
        why |= dict.fromkeys(lost, "it is not in the trash any more")
        return [f"{folder}/{names[at]}: {said}" for at, said in why.items()]

    def discard(self, names: list[str], folder: str | None = None) -> None:
        """Removes files from the run; what can't be removed is left for the next run."""
        if not names:
            return
        Unlinker().remove(self.trash[folder or self._blobs], Batch(names, [0] * len(names)))


@contextmanager
def opened_aside(index: CacheIndex, run: str) -> Iterator[Aside]:
    """Opens the folders of a cache and of a run in its trash.

    Raises:
        OSError: One can't be opened.
        TrashError: Something on the way is no folder.
    """
    root, layout = index.root, index.layout
    with opened_cache(root, layout) as cache, opened_run(root, run, layout) as trash:
        yield Aside(cache, trash, layout.blob_folder)
