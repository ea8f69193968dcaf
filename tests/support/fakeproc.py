"""A /proc with simulated processes: real ones like these would disturb other users."""

from __future__ import annotations

import os
from pathlib import Path

_BOOTED = 1_000_000_000
_OURS = "20 1 8:1 / / rw,relatime - ext4 /dev/sda rw"


class FakeProc:
    """A folder in the form of /proc, with process 1 and our own process in it.

    Attributes:
        path: The folder.
    """

    def __init__(self, path: Path, options: str = "rw", status: str = "CapEff:\t0000000000000000"):
        """Makes the folder.

        Args:
            path: Where it is made.
            options: The mount options.
            status: The status of our own process.
        """
        self.path = str(path)
        path.mkdir()
        self._mounts = f"{_OURS}\n22 20 0:21 / {path} rw,nosuid - proc proc {options}\n"
        (path / "stat").write_text(f"cpu 1 2 3\nbtime {_BOOTED}\n")
        self.add("self", "fastprune", "prune")
        (path / "self" / "status").write_text(f"Name:\tx\n{status}\n")
        self.add("1", "/sbin/init")

    def add(
        self,
        pid: str,
        *arguments: str,
        exe: Path | None = None,
        cwd: Path | None = None,
        root: Path | None = None,
        started: float | None = None,
        mounts: str | None = None,
    ) -> None:
        """Adds a process.

        Args:
            pid: Its id.
            arguments: Its command line.
            exe: Its executable; None for one that can't be read.
            cwd: Its working directory.
            root: Its root; by default ours.
            started: When it started; by default far in the future, so that none of its
                files is younger.
            mounts: The mounts that it sees; by default ours.
        """
        folder = Path(self.path, pid)
        folder.mkdir()
        (folder / "cmdline").write_bytes(b"".join(os.fsencode(one) + b"\0" for one in arguments))
        (folder / "root").symlink_to(root or "/")
        (folder / "cwd").symlink_to(cwd or "/")
        if exe is not None:
            (folder / "exe").symlink_to(exe)
        ticks = int(((started or 9e9) - _BOOTED) * os.sysconf("SC_CLK_TCK"))
        (folder / "stat").write_text(f"{pid} (a ) name) S {'0 ' * 18}{ticks} 0\n")
        (folder / "mountinfo").write_text(self._mounts if mounts is None else mounts)
