"""The CPU limit of this process's control group (Linux, versions 1 and 2).

Source: Documentation/admin-guide/cgroup-v2.rst (cpu.max) and
Documentation/scheduler/sched-bwc.rst (cpu.cfs_quota_us) of the Linux kernel.
"""

from __future__ import annotations

from pathlib import Path


def cpu_quota(
    proc: Path = Path("/proc/self/cgroup"), root: Path = Path("/sys/fs/cgroup")
) -> float | None:
    """The smallest CPU limit from this group up to the root, in CPUs; None if unlimited.

    Args:
        proc: The file that names this process's groups.
        root: Where the control groups are mounted.
    """
    limits = []
    for line in _read(proc).splitlines():
        _, controllers, path = [*line.split(":", 2), "", ""][:3]
        if not controllers:
            limits += [_limit_v2(folder) for folder in _up(root, path)]
        elif "cpu" in controllers.split(","):
            limits += [_limit_v1(folder) for folder in _up(root / "cpu", path)]
    return min((limit for limit in limits if limit), default=None)


def _up(mount: Path, path: str) -> list[Path]:
    folder = mount / path.lstrip("/")
    return [folder, *(parent for parent in folder.parents if parent.is_relative_to(mount))]


def _limit_v2(folder: Path) -> float | None:
    fields = _read(folder / "cpu.max").split()
    return _ratio(fields) if len(fields) == 2 else None


def _limit_v1(folder: Path) -> float | None:
    return _ratio([_read(folder / "cpu.cfs_quota_us"), _read(folder / "cpu.cfs_period_us")])


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
