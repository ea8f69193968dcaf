"""On which file systems ctime can be trusted.

Stage: rim. Input: the path of a folder. Output: a reason, or none. I/O: reads /proc.

ctime tells every change only if the kernel that runs us sets it itself, with its own clock, at the
moment of the change. A network file system has the clock of its server, and answers from a cache
that may be a minute old; FAT and its like keep no ctime; of what runs in user space nobody knows.
"""

from __future__ import annotations

import os
import re

TRUSTED = frozenset(
    ("bcachefs", "btrfs", "ext2", "ext3", "ext4", "f2fs", "jfs", "overlay", "tmpfs", "xfs", "zfs")
)
"""The file systems of Linux whose ctime can be trusted."""

_MOUNT_ID = re.compile(rb"^mnt_id:\t(\d+)$", re.MULTILINE)


def why_not_trusted(path: str, proc: str = "/proc") -> str:
    """Says why the ctime of files in a folder can't be trusted; empty if it can.

    Args:
        path: The folder; one that is not there has no files to distrust.
        proc: Where the kernel shows what is mounted.
    """
    try:
        folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        return ""
    except OSError as error:
        return f"{path} can't be opened: {error.strerror}"
    try:
        with open(f"{proc}/self/fdinfo/{folder}", "rb") as file:
            found = _MOUNT_ID.search(file.read())
        with open(f"{proc}/self/mountinfo", "rb") as file:
            kinds = {
                line.split(b" ", 1)[0]: line.partition(b" - ")[2].split(b" ", 1)[0] for line in file
            }
    except OSError:
        found, kinds = None, {}
    finally:
        os.close(folder)
    kind = kinds.get(found[1], b"").decode("ascii", "replace") if found else ""
    if kind in TRUSTED:
        return ""
    if not kind:
        return f"the system does not say which file system {path} is on"
    return f"{path} is on {kind}, whose times can't be trusted to tell every change"
