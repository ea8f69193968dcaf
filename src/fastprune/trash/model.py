"""What a run in the trash consists of, as values.

Stage: index. Input and output: arrays. Pure, no I/O.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import groupby
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastprune.index.digests import Digests
from fastprune.layouts.layout import Layout

KINDS = ("blob", "image", "list", "unreadable")
"""The kinds of files in a run, in the order in which they are put back: each file comes after
those that it needs. What an unreadable manifest needs is unknown."""


class FileGroup(NamedTuple):
    """Files of one kind in one folder of a run.

    Attributes:
        kind: One of `KINDS`.
        folder: The folder of the run.
        digests: uint8 (n, 32): their names.
        sizes: int64 (n,): bytes of each.
        level: Of lists: 0 if they hold no list of this run, else one more than those.
    """

    kind: str
    folder: str
    digests: Digests
    sizes: NDArray[np.int64]
    level: int = 0


@dataclass(frozen=True, slots=True)
class RunContents:
    """What a run holds.

    Attributes:
        run: Its id.
        layout: What kind of cache it is a part of.
        groups: Its files, in the order of `KINDS`, and lists by level; no group is empty.
        needs: uint8 (n, 32): the blobs that its images need and that are not in it.
        foreign: Paths, relative to the run, that are no cached files.
    """

    run: str
    layout: Layout
    groups: tuple[FileGroup, ...]
    needs: Digests
    foreign: tuple[str, ...]

    def count(self, kind: str) -> int:
        """How many files of a kind there are."""
        return sum(len(group.digests) for group in self.groups if group.kind == kind)

    @property
    def phases(self) -> list[list[FileGroup]]:
        """The groups by phase: the files of a phase need only those of the phases before it."""
        grouped = groupby(self.groups, lambda group: (group.kind, group.level))
        return [list(groups) for _, groups in grouped]

    @property
    def files(self) -> int:
        """How many files there are."""
        return sum(len(group.digests) for group in self.groups)

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(int(group.sizes.sum()) for group in self.groups)


def foreign_paths(runs: Iterable[RunContents]) -> tuple[str, ...]:
    """Paths, relative to the trash, of what is in runs and no cached file."""
    return tuple(f"{contents.run}/{path}" for contents in runs for path in contents.foreign)


class TrashContents(NamedTuple):
    """What the trash holds, or some runs of it.

    Attributes:
        runs: The runs, oldest first.
        foreign: Paths, relative to the cache, of what is in the trash and is no run.
    """

    runs: tuple[RunContents, ...]
    foreign: tuple[str, ...]

    @property
    def all_foreign(self) -> list[str]:
        """What is no run, and what is in a run and no cached file, as paths to show."""
        return [*self.foreign, *foreign_paths(self.runs)]
