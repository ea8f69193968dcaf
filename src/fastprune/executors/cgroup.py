"""The limits of this process's control group (Linux, versions 1 and 2): processors and memory.

Source: Documentation/admin-guide/cgroup-v2.rst (cpu.max, memory.max),
Documentation/scheduler/sched-bwc.rst (cpu.cfs_quota_us) and
Documentation/admin-guide/cgroup-v1/memory.rst (memory.limit_in_bytes) of the Linux kernel.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

_PROC = Path("/proc/self/cgroup")
_ROOT = Path("/sys/fs/cgroup")

Limit = Callable[[Path], float | None]
"""Reads the limit of one group from its folder; None if there is none."""


def cpu_quota(proc: Path = _PROC, root: Path = _ROOT) -> float | None:
    """The smallest CPU limit from this group up to the root, in CPUs; None if unlimited.

    Args:
        proc: The file that names this process's groups.
        root: Where the control groups are mounted.
    """
    return _smallest("cpu", _cpu_v2, _cpu_v1, proc, root)


def memory_limit(proc: Path = _PROC, root: Path = _ROOT) -> int | None:
    """The smallest memory limit from this group up to the root, in bytes; None if unlimited.

    Args:
        proc: The file that names this process's groups.
        root: Where the control groups are mounted.
    """
    limit = _smallest("memory", _memory_v2, _memory_v1, proc, root)
    return None if limit is None else int(limit)


def _smallest(controller: str, v2: Limit, v1: Limit, proc: Path, root: Path) -> float | None:
    limits = []
    for line in _read(proc).splitlines():
        _, controllers, path = [*line.split(":", 2), "", ""][:3]
        if not controllers:
            limits += [v2(folder) for folder in _up(root, path)]
        elif controller in controllers.split(","):
            limits += [v1(folder) for folder in _up(root / controller, path)]
    return min((limit for limit in limits if limit), default=None)


def _up(mount: Path, path: str) -> list[Path]:
    folder = mount / path.lstrip("/")
    return [folder, *(parent for parent in folder.parents if parent.is_relative_to(mount))]


def _cpu_v2(folder: Path) -> float | None:
    fields = _read(folder / "cpu.max").split()
    return _ratio(fields) if len(fields) == 2 else None


def _cpu_v1(folder: Path) -> float | None:
    return _ratio([_read(folder / "cpu.cfs_quota_us"), _read(folder / "cpu.cfs_period_us")])


def _memory_v2(folder: Path) -> float | None:
    return _bytes(_read(folder / "memory.max"))


def _memory_v1(folder: Path) -> float | None:
    return _bytes(_read(folder / "memory.limit_in_bytes"))


def _bytes(text: str) -> int | None:
    """A number of bytes; None for `max`. Version 1 says 2**63 less a page for no limit."""
    return int(text) if text.strip().isdecimal() else None


def _ratio(fields: list[str]) -> float | None:
    try:
        quota, period = (int(field) for field in fields)
    except ValueError:
        return None
    return quota / period if quota > 0 and period > 0 else None


def _read(path: Path) -> str:
    try:
        return path.read_text("ascii")
    except (OSError, UnicodeDecodeError):
        return ""
