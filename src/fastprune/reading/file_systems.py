"""What is known of the file systems of Linux: whether ctime can be trusted, and who waits.

Stage: rim. Input: the path of a folder. Output: its kind, what follows from it. I/O: reads /proc.

ctime tells every change only if the kernel that runs us sets it itself, with its own clock, at the
moment of the change. A network file system has the clock of its server, and answers from a cache
that may be a minute old; FAT and its like keep no ctime; of what runs in user space nobody knows.

On a network file system, each open and each stat asks a server, and waits for the answer. A cluster
file system asks the other machines for a lock. A file system in user space asks a program, which
mostly asks a server (s3fs, sshfs, GlusterFS). Meanwhile the processor is free.

Source: Python has no statfs, whose `f_type` tells kinds apart by numbers (linux/magic.h). So the
names in /proc/self/mountinfo are used: proc_pid_mountinfo(5). They are those that the kernel's
modules register, in the tree (fs/*/super.c) and outside of it (Lustre, GPFS, BeeGFS, GlusterFS).
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from typing import NamedTuple


class FileSystem(NamedTuple):
    """What is known of a kind of file system.

    ctime tells every change if it is `trusted`. A call `waits` for another machine, or for a
    program in user space.
    """

    trusted: bool
    waits: bool


_LOCAL, _REMOTE = FileSystem(trusted=True, waits=False), FileSystem(trusted=False, waits=True)
_UNKNOWN = FileSystem(trusted=False, waits=False)

KNOWN = {
    **dict.fromkeys(
        (
            *("bcachefs", "btrfs", "ext2", "ext3", "ext4", "f2fs", "jfs", "overlay", "tmpfs"),
            *("xfs", "zfs"),
        ),
        _LOCAL,
    ),
    **dict.fromkeys(
        (
            *("nfs", "nfs4", "cifs", "smb3", "smbfs", "afs", "coda", "9p", "virtiofs"),
            *("ceph", "lustre", "gpfs", "beegfs", "glusterfs", "orangefs", "pvfs2", "panfs"),
            *("wekafs", "ocfs2", "gfs2", "vboxsf", "vmhgfs", "fuse"),
        ),
        _REMOTE,
    ),
}
"""The kinds that are known; of any other one, nothing is. `fuse` stands for all of its subtypes."""

_MOUNT_ID = re.compile(rb"^mnt_id:\t(\d+)$", re.MULTILINE)


def known_of(kind: str) -> FileSystem:
    """What is known of a kind of file system: `nfs4`, or `fuse.sshfs` with a subtype."""
    return KNOWN.get(kind.partition(".")[0] if kind.startswith("fuse.") else kind, _UNKNOWN)


def kind_of_folder(path: str, proc: str = "/proc") -> str:
    """The kind of file system that a folder is on; empty if the system does not say.

    Raises:
        OSError: The folder can't be opened.
    """
    folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with open(f"{proc}/self/fdinfo/{folder}", "rb") as file:
            found = _MOUNT_ID.search(file.read())
        with open(f"{proc}/self/mountinfo", "rb") as file:
            kinds = {
                line.split(b" ", 1)[0]: line.partition(b" - ")[2].split(b" ", 1)[0] for line in file
            }
    except OSError:
        return ""
    finally:
        os.close(folder)
    return kinds.get(found[1], b"").decode("ascii", "replace") if found else ""


def why_not_trusted(path: str, proc: str = "/proc") -> str:
    """Says why the ctime of files in a folder can't be trusted; empty if it can.

    A folder that is not there has no files to distrust.
    """
    try:
        kind = kind_of_folder(path, proc)
    except FileNotFoundError:
        return ""
    except OSError as error:
        return f"{path} can't be opened: {error.strerror}"
    if known_of(kind).trusted:
        return ""
    if not kind:
        return f"the system does not say which file system {path} is on"
    return f"{path} is on {kind}, whose times can't be trusted to tell every change"


def where_it_waits(folders: Iterable[str], proc: str = "/proc") -> str:
    """The kind of file system on which reading waits for others; empty if no folder is on one.

    Folders that are not there, or can't be opened, do not count.
    """
    for path in folders:
        try:
            kind = kind_of_folder(path, proc)
        except OSError:
            continue
        if known_of(kind).waits:
            return kind
    return ""
