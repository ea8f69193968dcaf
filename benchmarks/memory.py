"""Peak memory of a program and all its children, without counting shared pages twice.

Resident set sizes can't be added up: forked workers share most of their pages. The proportional
set size can, since it splits every page among the processes that map it. Shared memory (memfd,
`/dev/shm`) is counted whole: some of it may be mapped by no process at the moment.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from pathlib import Path

SHARED_FOLDER = Path("/dev/shm")
SHARED_LINKS = ("/memfd:", f"{SHARED_FOLDER}/")
BLOCK = 512  # unit of st_blocks

ObjectKey = tuple[int, int]  # device and inode


@dataclasses.dataclass(frozen=True, slots=True)
class TreeMemory:
    """Memory of a tree of processes, in bytes.

    Attributes:
        private: Anonymous and file pages, each divided by the number of processes that map it.
        shared: Shared memory, counted once.
    """

    private: int
    shared: int

    @property
    def total(self) -> int:
        """Private and shared memory."""
        return self.private + self.shared

    @property
    def megabytes(self) -> float:
        """The total in millions of bytes."""
        return self.total / 1e6


def tree_memory(pid: int, ignored: AbstractSet[ObjectKey] = frozenset()) -> TreeMemory:
    """The memory of a process and all its descendants at this moment.

    Args:
        pid: The process at the top.
        ignored: Files of the folder of shared memory that others made.
    """
    private = mapped = 0
    objects = {key: size for key, size in shared_files().items() if key not in ignored}
    for member in process_tree(pid):
        with contextlib.suppress(OSError):  # it may end while we look at it
            sizes = _proportional_sizes(member)
            private += sizes["Pss_Anon"] + sizes["Pss_File"]
            mapped += sizes["Pss_Shmem"]
        objects.update(_open_shared(member))
    # Mapped shared memory is most often one of the open objects: the larger of the two sums
    # counts it once.
    return TreeMemory(private, max(mapped, sum(objects.values())))


def process_tree(pid: int) -> Iterator[int]:
    """The process and all its living descendants."""
    yield pid
    with contextlib.suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in (task / "children").read_text().split():
                yield from process_tree(int(child))


def _proportional_sizes(pid: int) -> dict[str, int]:
    sizes = {"Pss_Anon": 0, "Pss_File": 0, "Pss_Shmem": 0}
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        name, _, value = line.partition(":")
        if name in sizes:
            sizes[name] = int(value.split()[0]) * 1024
    return sizes


def _open_shared(pid: int) -> Iterator[tuple[ObjectKey, int]]:
    """The shared memory objects that a process holds open: identity and bytes in use."""
    with contextlib.suppress(OSError):
        for entry in os.scandir(f"/proc/{pid}/fd"):
            with contextlib.suppress(OSError):
                if os.readlink(entry.path).startswith(SHARED_LINKS):
                    found = os.stat(entry.path)
                    yield (found.st_dev, found.st_ino), found.st_blocks * BLOCK


def shared_files() -> dict[ObjectKey, int]:
    """The files in the folder of shared memory: identity and bytes in use."""
    sizes = {}
    with contextlib.suppress(OSError):
        for path in SHARED_FOLDER.iterdir():
            with contextlib.suppress(OSError):
                found = path.stat()
                sizes[found.st_dev, found.st_ino] = found.st_blocks * BLOCK
    return sizes
