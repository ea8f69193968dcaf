"""The CPU limit of a control group, from made-up trees."""

from __future__ import annotations

from pathlib import Path

import pytest

from fastprune.executors.cgroup import cpu_quota
from fastprune.executors.processes import available_jobs


def tree(root: Path, files: dict[str, str]) -> Path:
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return root


def groups(folder: Path, lines: str) -> Path:
    path = folder / "cgroup"
    path.write_text(lines)
    return path


@pytest.mark.parametrize(
    ("files", "quota"),
    [
        ({}, None),
        ({"a/b/cpu.max": "max 100000\n"}, None),
        ({"a/b/cpu.max": "150000 100000\n"}, 1.5),
        ({"a/b/cpu.max": "max 100000\n", "a/cpu.max": "400000 100000\n"}, 4.0),
        ({"a/b/cpu.max": "800000 100000\n", "a/cpu.max": "200000 100000\n"}, 2.0),
        ({"cpu.max": "300000 100000\n"}, 3.0),
        ({"a/b/cpu.max": "nonsense\n"}, None),
        ({"a/b/cpu.max": "0 100000\n"}, None),
        ({"a/b/cpu.max": "100000 0\n"}, None),
        ({"a/b/cpu.max": ""}, None),
    ],
)
def test_version_2_takes_the_smallest_limit_up_to_the_root(
    files: dict[str, str], quota: float | None, tmp_path: Path
) -> None:
    mount = tree(tmp_path / "mount", files)
    assert cpu_quota(groups(tmp_path, "0::/a/b\n"), mount) == quota


@pytest.mark.parametrize(
    ("quota", "period", "limit"),
    [("-1", "100000", None), ("250000", "100000", 2.5), ("50000", "100000", 0.5)],
)
@pytest.mark.parametrize("controllers", ["cpu", "cpu,cpuacct", "cpuset,cpu"])
def test_version_1_reads_quota_and_period(
    quota: str, period: str, limit: float | None, controllers: str, tmp_path: Path
) -> None:
    files = {"cpu/a/cpu.cfs_quota_us": quota, "cpu/a/cpu.cfs_period_us": period}
    mount = tree(tmp_path / "mount", files)
    lines = f"12:memory:/x\n5:{controllers}:/a\n1:name=systemd:/a\n"
    assert cpu_quota(groups(tmp_path, lines), mount) == limit


def test_in_a_container_the_path_of_the_host_is_not_there_but_the_root_is(tmp_path: Path) -> None:
    files = {"cpu/cpu.cfs_quota_us": "200000", "cpu/cpu.cfs_period_us": "100000"}
    mount = tree(tmp_path / "mount", files)
    assert cpu_quota(groups(tmp_path, "4:cpu:/docker/0123\n"), mount) == 2.0


def test_both_versions_together_give_the_smaller_limit(tmp_path: Path) -> None:
    files = {
        "a/cpu.max": "300000 100000",
        "cpu/a/cpu.cfs_quota_us": "100000",
        "cpu/a/cpu.cfs_period_us": "100000",
    }
    mount = tree(tmp_path / "mount", files)
    assert cpu_quota(groups(tmp_path, "4:cpu:/a\n0::/a\n"), mount) == 1.0


@pytest.mark.parametrize("lines", ["", "nonsense\n", "\n", "4:cpu\n", "::\n", "é\n"])
def test_what_can_t_be_understood_is_no_limit(lines: str, tmp_path: Path) -> None:
    assert cpu_quota(groups(tmp_path, lines), tmp_path / "mount") is None
    assert cpu_quota(tmp_path / "missing", tmp_path / "mount") is None


def test_this_machine_gives_an_answer() -> None:
    quota = cpu_quota()
    assert quota is None or quota > 0
    assert 1 <= available_jobs() <= 16


@pytest.mark.parametrize(
    ("cores", "quota", "jobs"),
    [
        (1, None, 1),
        (2, None, 2),
        (8, None, 8),
        (16, None, 16),
        (64, None, 16),
        (1, 4.0, 1),
        (2, 0.1, 1),
        (8, 1.0, 1),
        (8, 1.5, 2),
        (64, 3.0, 3),
        (64, 100.0, 16),
    ],
)
def test_jobs_follow_cores_and_quota(
    cores: int, quota: float | None, jobs: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Without a quota the function asks this machine, which may have one.
    monkeypatch.setattr("fastprune.executors.cgroup.cpu_quota", lambda: None)
    assert available_jobs(cores, quota) == jobs
