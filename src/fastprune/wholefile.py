"""Files that fastprune writes beside a cache: there whole, or as they were before.

Stage: rim. Input: paths, bytes. Output: a file. I/O: never in a folder of the cache.
"""

from __future__ import annotations

import contextlib
import os
import stat
import tempfile

from fastprune.errors import UsageError
from fastprune.layouts import ociregistry


def checked_target(path: str, root: str) -> str:
    """Checks that a file may be written to a path.

    Args:
        path: The path.
        root: Path of the cache.

    Returns:
        The path with all links followed.

    Raises:
        UsageError: It leads into the cache, or to something that is no regular file.
    """
    target = os.path.realpath(path)
    folder = os.path.dirname(target)
    for name in (*ociregistry.manifest_folders, ociregistry.blob_folder):
        if _is_in(folder, os.path.join(root, name)):
            raise UsageError(f"{path} is in the cache's folder {name}/: write it elsewhere")
    try:
        if not stat.S_ISREG(os.stat(target).st_mode):
            raise UsageError(f"{path} is no regular file")
    except FileNotFoundError:
        if not os.path.isdir(folder):
            raise UsageError(f"{path}: there is no folder {folder}") from None
    except OSError as error:
        raise UsageError(f"{path} can't be written: {error.strerror}") from None
    return target


def _is_in(folder: str, other: str) -> bool:
    """Whether a folder is another one or below it, by whatever path and mount."""
    while True:
        try:
            if os.path.samefile(folder, other):
                return True
        except OSError:
            pass
        above = os.path.dirname(folder)
        if above == folder:
            return False
        folder = above


def write_whole(path: str, content: bytes, *, mode: int = 0o600) -> None:
    """Writes a file that is there whole and on disk, or as it was before.

    Args:
        path: Where to; its folder must be there.
        content: All of it.
        mode: Its permissions, whatever the umask.

    Raises:
        OSError: It can't be written.
    """
    folder, name = os.path.split(path)
    # The dot and the missing suffix: nobody takes it for the file itself.
    descriptor, temporary = tempfile.mkstemp(prefix=f".{name}-", dir=folder)
    try:
        with open(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fchmod(file.fileno(), mode)
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise


def check_writable(path: str) -> None:
    """Checks that `write_whole` can make a file beside the path.

    Raises:
        OSError: It can't.
    """
    folder, name = os.path.split(path)
    descriptor, temporary = tempfile.mkstemp(prefix=f".{name}-", dir=folder)
    os.close(descriptor)
    os.unlink(temporary)
