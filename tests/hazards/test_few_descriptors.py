"""A low limit on open files does not make a scan fail, however many files must be waited for."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.cli.program import through_shell
from tests.support.cachebuilder import CacheBuilder, files

IMAGES = 150
# Larger than what is read at once: all these files are opened and kept open, then read.
BYTES = 270_000


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    builder = CacheBuilder(tmp_path_factory.mktemp("limits") / "cache")
    for number in range(IMAGES):
        path = builder.root / "img" / builder.image(f"a:{number}", config=f"{number:064}")
        path.write_bytes(path.read_bytes().ljust(BYTES))
    return builder.root


@pytest.mark.parametrize(("limit", "jobs"), [(64, "1"), (64, "2"), (256, "1")])
def test_a_scan_gets_by_with_few_open_files(limit: int, jobs: str, large: Path) -> None:
    script = f'ulimit -Sn {limit}; exec "$@"'
    result = through_shell(script, "list", "--format", "url", "--jobs", jobs, cache=large)
    assert (result.code, result.err) == (0, "")
    assert sorted(result.out.splitlines()) == sorted(f"a:{number}" for number in range(IMAGES))


@pytest.mark.parametrize("limit", [64, 256])
def test_a_prune_gets_by_with_few_open_files(limit: int, tmp_path: Path) -> None:
    builder = CacheBuilder(tmp_path / "cache")
    for number in range(300):
        builder.image(f"a:{number}")
    script = f'ulimit -Sn {limit}; exec "$@"'
    options = ("--pattern", "a", "--allow-remove-all", "--concurrency", "64", "--jobs", "8")
    result = through_shell(script, "prune", *options, cache=builder.root)
    assert (result.code, result.err) == (0, "")
    assert files(builder.root) == set()
