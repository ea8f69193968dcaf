"""A /proc with simulated processes: real ones like these would disturb other users."""

from __future__ import annotations

import os
import sys
from ipaddress import ip_address
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
        self._listeners = 0
        for table in ("tcp", "tcp6"):
            (path / "self" / "net").mkdir(exist_ok=True)
            (path / "self" / "net" / table).write_text("  sl  local_address ...\n")
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
        network: int = 1,
        parent: int = 1,
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
            network: Its network; 1 is ours.
            parent: The id of the process that has started it.
        """
        folder = Path(self.path, pid)
        folder.mkdir()
        (folder / "cmdline").write_bytes(b"".join(os.fsencode(one) + b"\0" for one in arguments))
        (folder / "root").symlink_to(root or "/")
        (folder / "cwd").symlink_to(cwd or "/")
        if exe is not None:
            (folder / "exe").symlink_to(exe)
        ticks = int(((started or 9e9) - _BOOTED) * os.sysconf("SC_CLK_TCK"))
        (folder / "stat").write_text(f"{pid} (a ) name) S {parent} {'0 ' * 17}{ticks} 0\n")
        (folder / "mountinfo").write_text(self._mounts if mounts is None else mounts)
        (folder / "ns").mkdir()
        (folder / "ns" / "net").symlink_to(f"net:[{network}]")
        (folder / "fd").mkdir()
        (folder / "fd" / "3").symlink_to("/dev/null")

    def listen(self, pid: str, address: str, port: int, state: str = "0A") -> None:
        """Gives a process a TCP socket.

        Args:
            pid: Its id.
            address: What it is bound to.
            port: The same.
            state: As the kernel writes it: 0A listens.
        """
        self._listeners += 1
        inode = 1000 + self._listeners
        Path(self.path, pid, "fd", str(inode)).symlink_to(f"socket:[{inode}]")
        raw = ip_address(address).packed
        words = (int.from_bytes(raw[at : at + 4], sys.byteorder) for at in range(0, len(raw), 4))
        local = f"{''.join(f'{word:08X}' for word in words)}:{port:04X}"
        table = Path(self.path, "self", "net", "tcp" if len(raw) == 4 else "tcp6")
        with table.open("a") as file:
            file.write(f" 0: {local} 0:0 {state} 0:0 00:0 0 0 0 {inode} 1 0 100 0 0 10 0\n")
