"""Describes the machine that is measured.

Stage: tune. Input: a path. Output: `Machine`. I/O: asks the system, changes nothing.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable
from contextlib import suppress

from fastprune.executors.processes import available_jobs
from fastprune.tuning.figures import Machine, Mount

_UNKNOWN = Mount("", "unknown", "")


def describe(path: str, auto_jobs: int | None = None) -> Machine:
    """Describes this machine, and the file system that a cache is on.

    If `auto_jobs` is not given, it is what `--jobs auto` means on local file systems.
    """
    import psutil

    mounts = list[Mount]()
    # It is only shown: without /proc all else is measured as well.
    with suppress(OSError):
        found = psutil.disk_partitions(all=True)
        mounts += [Mount(one.mountpoint, one.fstype, one.opts) for one in found]
    return Machine(
        cpus=os.cpu_count() or 1,
        auto_jobs=auto_jobs or available_jobs(),
        system=f"{platform.system()} {platform.release()} {platform.machine()}",
        python=platform.python_version(),
        mount=mount_of(os.path.realpath(path), mounts),
    )


def mount_of(path: str, mounts: Iterable[Mount]) -> Mount:
    """The file system that a path is on, which is absolute and has no symbolic links.

    The mounts are in the order in which they were mounted: of two at one folder, the later one
    hides the other.
    """
    around = [mount for mount in mounts if f"{path}/".startswith(f"{mount.point.rstrip('/')}/")]
    # max takes the first of equals.
    return max(reversed(around), key=lambda mount: len(mount.point), default=_UNKNOWN)
