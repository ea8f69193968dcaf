"""The limits of this process's control group (Linux, versions 1 and 2): processors and memory.

Source: Documentation/admin-guide/cgroup-v2.rst (cpu.max, memory.max),
Documentation/scheduler/sched-bwc.rst (cpu.cfs_quota_us) and
Documentation/admin-guide/cgroup-v1/memory.rst (memory.limit_in_bytes) of the Linux kernel.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

_PROC = Path("/proc/self/cgroup")
_ROOT = Path("/sys/fs/cgroup")

_CPU = {"v2": ("cpu.max",), "v1": ("cpu.cfs_quota_us", "cpu.cfs_period_us")}
_MEMORY = {"v2": ("memory.max",), "v1": ("memory.limit_in_bytes",)}


def cpu_quota(proc: Path = _PROC, root: Path = _ROOT) -> float | None:
    """The smallest CPU limit from this group up to the root, in CPUs; None if unlimited.

    Args:
        proc: The file that names this process's groups.
        root: Where the control groups are mounted.
    """
    return min(filter(None, map(_ratio, _settings("cpu", _CPU, proc, root))), default=None)


def memory_limit(proc: Path = _PROC, root: Path = _ROOT) -> int | None:
    """The smallest memory limit from this group up to the root, in bytes; None if unlimited.

    The arguments are those of `cpu_quota`.
    """
    # It is `max` if there is none; version 1 says 2**63 less a page.
    said = (" ".join(words) for words in _settings("memory", _MEMORY, proc, root))
    return min(filter(None, (int(text) for text in said if text.isdecimal())), default=None)


def _settings(
    controller: str, files: Mapping[str, tuple[str, ...]], proc: Path, root: Path
) -> Iterator[list[str]]:
    """The words in the files of a controller, for each group that has this process."""
    for line in _read(proc).splitlines():
        _, controllers, path = [*line.split(":", 2), "", ""][:3]
        if not controllers:
            mount, names = root, files["v2"]
        elif controller in controllers.split(","):
            mount, names = root / controller, files["v1"]
        else:
            continue
        for folder in _up(mount, path):
            yield " ".join(_read(folder / name) for name in names).split()


def _up(mount: Path, path: str) -> list[Path]:
    folder = mount / path.lstrip("/")
    return [folder, *(parent for parent in folder.parents if parent.is_relative_to(mount))]


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
