"""--min-free-space on file systems that are really there, and with what it can't go together."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from tests.cli.inside import run_inside
from tests.cli.program import Result
from tests.support.cachebuilder import CacheBuilder, files

DAYS = ("2024-01-01T00:00:00", "2024-01-02T00:00:00", "2024-01-03T00:00:00")
MOUNT = ("unshare", "--mount", "sh", "-e", "-c")


def run_on(mounts: dict[str, str], cache: Path, *options: str) -> Result:
    """Prunes a cache, of which some folders are mounts, in a namespace of its own."""
    away = cache.parent / "away"
    steps = [f"mkdir -p {away}"]
    for folder, kind in mounts.items():
        at = shlex.quote(str(cache / folder))
        steps.append(f"cp -a {at} {away}; mount {kind} {at}; cp -a {away}/{folder}/. {at}")
    words = [sys.executable, "-m", "fastprune", "--image-path", str(cache), "prune", *options]
    steps.append(shlex.join(words))
    try:
        done = subprocess.run(
            [*MOUNT, "; ".join(steps)], capture_output=True, text=True, check=False
        )
    except FileNotFoundError:
        pytest.skip("there is no unshare")
    return Result(done.returncode, done.stdout, done.stderr)


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """Three images with 100 kB each, pulled one after the other."""
    if subprocess.run(
        [*MOUNT, "mount -t tmpfs x /tmp"], capture_output=True, check=False
    ).returncode:
        pytest.skip("nothing can be mounted here")
    builder = CacheBuilder(tmp_path / "cache")
    for number, day in enumerate(DAYS):
        builder.image(f"r/a:{number}", layers=[builder.blob(100_000)], pulled=day)
    return builder.root


def test_a_mount_of_the_blobs_alone_is_what_is_asked(cache: Path) -> None:
    options = ("--min-free-space", "70%", "--dry-run", "--format", "json")
    found = run_on({"blobs": "-t tmpfs -o size=512k x"}, cache, *options)
    assert found.code == 0, found.err
    # 300 kB of 524 kB are taken: one image makes it 60 %, the second one 80 %.
    document = json.loads(found.out)
    assert [one["url"] for one in document["manifests"]] == ["r/a:0", "r/a:1"]
    assert f"the file system of {cache}/blobs was asked; img/ and lts/ are on another" in found.err


@pytest.mark.parametrize("kind", ["-t ramfs x", "-t tmpfs -o size=0 x"])
@pytest.mark.parametrize("text", ["10%", "1kB"])
def test_on_a_file_system_without_a_size_nothing_goes(kind: str, text: str, cache: Path) -> None:
    found = run_on({"blobs": kind}, cache, "--min-free-space", text, "--yes", "--allow-remove-all")
    assert (found.code, found.out) == (2, "")
    assert f"the file system of {cache}/blobs reports no size" in found.err
    assert len(files(cache)) == 9


def test_the_trash_frees_nothing_so_it_can_not_serve_for_space(tmp_path: Path) -> None:
    cache = CacheBuilder(tmp_path / "cache")
    cache.image("r/a:1", layers=[cache.blob(1000)])
    policy = tmp_path / "policy.toml"
    policy.write_text('[policy]\nmin-free-space = "99.9%"\n')
    before = files(cache.root)
    for options, where in (
        (("--min-free-space", "99.9%"), "--min-free-space: "),
        (("--policy", str(policy)), f"{policy}: policy.min-free-space: "),
    ):
        found = run_inside("prune", "--trash", "--yes", *options, cache=cache.root)
        assert (found.code, found.out) == (2, "")
        assert where + "can't be combined with --trash" in found.err
    assert files(cache.root) == before
    found = run_inside("prune", "--trash", "--free", "1B", "--allow-remove-all", cache=cache.root)
    assert found.code == 0
