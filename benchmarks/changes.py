"""Changes a generated cache as a server and a prune do, and puts it back as it was.

The caches are kept for later benchmarks. So whatever is to change is laid aside first, in a folder
beside the cache, and moved back at the end; or at the next start, if a benchmark was killed.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path

from measure import MeasureError

MANIFEST_FOLDERS = ("img", "lts")
FOLDERS = (*MANIFEST_FOLDERS, "blobs")
UNFINISHED = ".unfinished"
PULLED = re.compile(rb'"pulled":"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)"\}$')


def every(root: Path, step: int, first: int) -> list[str]:
    """Paths of one manifest in so many, such as `img/<digest>`, beginning with number `first`.

    Their names are digests, so they are a sample of everything, and the same each time.
    """
    names = (f"{folder}/{name}" for folder in MANIFEST_FOLDERS for name in names_in(root / folder))
    return list(names)[first::step]


def names_in(folder: Path) -> list[str]:
    """The names in a folder, in order."""
    return sorted(os.listdir(folder))


def pulled_again(content: bytes) -> bytes | None:
    """A manifest file of the same size with another time of the last pull; None if it has none."""
    found = PULLED.search(content)
    if not found:
        return None
    end = found.end(1)
    seconds = (int(content[end - 2 : end]) + 1) % 60
    return b"%b%02d%b" % (content[: end - 2], seconds, content[end:])


class Changes:
    """Changes the files of one cache."""

    def __init__(self, root: Path) -> None:
        """Puts back what a benchmark that was killed has left aside."""
        self._root = root
        self._aside = root.with_name(f"{root.name}.aside")
        self.put_back()
        self._names = self._counts()

    def pull_again(self, paths: Iterable[str]) -> int:
        """Rewrites manifests in place, as the server does when they are pulled.

        Returns:
            How many; those without a time of the last pull stay.
        """
        count = 0
        for path in paths:
            file = self._root / path
            content = pulled_again(file.read_bytes())
            if content is not None:
                self.copy_aside((path,))
                # Not replaced: the file keeps its inode.
                file.write_bytes(content)
                count += 1
        return count

    def take_out(self, paths: Iterable[str]) -> None:
        """Moves files out of the cache."""
        for path in paths:
            self._make_folder(path)
            os.rename(self._root / path, self._aside / path)

    def put_in(self, paths: Iterable[str]) -> None:
        """Moves files back that were taken out."""
        for path in paths:
            os.rename(self._aside / path, self._root / path)

    def copy_aside(self, paths: Iterable[str]) -> None:
        """Copies files that will be changed or removed, unless they were copied before."""
        for path in paths:
            if not (self._aside / path).exists():
                self._make_folder(path)
                copy_file(self._root / path, self._aside / UNFINISHED)
                os.rename(self._aside / UNFINISHED, self._aside / path)

    def put_back(self) -> None:
        """Makes the cache what it was: all that lies aside is moved there."""
        if not self._aside.exists():
            return
        for folder in FOLDERS:
            if (self._aside / folder).exists():
                for name in names_in(self._aside / folder):
                    os.replace(self._aside / folder / name, self._root / folder / name)
        shutil.rmtree(self._aside)

    def check_put_back(self) -> None:
        """Makes sure that each folder has as many names as at the start.

        Raises:
            MeasureError: One has not.
        """
        if self._counts() != self._names:
            raise MeasureError(f"{self._root} is not as it was: delete it and {self._root}.json")

    def _make_folder(self, path: str) -> None:
        (self._aside / path).parent.mkdir(parents=True, exist_ok=True)

    def _counts(self) -> Sequence[int]:
        return [len(os.listdir(self._root / folder)) for folder in FOLDERS]


def copy_file(source: Path, target: Path) -> None:
    """Copies a file with its mode; one without any content on the disk stays so."""
    status = source.stat()
    if status.st_blocks:
        shutil.copyfile(source, target)
    else:
        with target.open("wb") as file:
            file.truncate(status.st_size)
    shutil.copymode(source, target)
