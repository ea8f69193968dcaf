"""Which cache a path leads to: what a saved plan is tied to.

Stage: rim. Input: a path. Output: `CacheIdentity`. I/O: stat and statvfs, of the folder.
"""

from __future__ import annotations

import os

from fastprune.errors import NoCacheError, OtherCacheError
from fastprune.plan.saved_plan import CacheIdentity
from fastprune.text.escaping import in_utf8, printable


def identify(root: str) -> CacheIdentity:
    """Identifies the cache at a path.

    Raises:
        NoCacheError: There is nothing at this path.
    """
    try:
        inode, file_system = os.stat(root).st_ino, os.statvfs(root).f_fsid
    except OSError as error:
        raise NoCacheError(f"no cache at {root}: {error.strerror}") from None
    # Plans are JSON, which is UTF-8, and a path need not be.
    return CacheIdentity(in_utf8(os.path.realpath(root)), inode, f"{file_system:016x}")


def check_same_cache(identity: CacheIdentity, root: str) -> None:
    """Checks that a path leads to the cache that was identified before.

    The path may be another one now: a container sees the folder elsewhere than its host.

    Raises:
        NoCacheError: There is nothing at this path.
        OtherCacheError: It is another cache.
    """
    here = identify(root)
    if (here.inode, here.file_system) != (identity.inode, identity.file_system):
        raise OtherCacheError(
            f"the plan was made for the cache at {printable(identity.path)}, "
            f"and {root} is another one"
        )
