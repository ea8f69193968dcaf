"""Which modules are imported when: the program must start fast, and workers need no numpy."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from tests.conformance.source import ROOT
from tests.support.cachebuilder import CacheBuilder

HEAVY = {
    "dask",
    "distributed",
    "tornado",
    "numpy",
    "typer",
    "click",
    "asyncio",
    "anyio",
    "uvloop",
    "rich",
    "re2",
    "yaml",
    "psutil",
}


def imported_by(statement: str) -> set[str]:
    """The modules that a fresh interpreter has imported after a statement."""
    program = (
        f"import json, sys; sys.path.insert(0, {str(ROOT.parent)!r})\n"
        f"{statement}\n"
        "print(json.dumps(sorted(sys.modules)))"
    )
    # Isolated, so that no environment variable or start-up file imports anything.
    answer = subprocess.run(
        [sys.executable, "-I", "-c", program],
        capture_output=True,
        check=True,
        text=True,
        timeout=60,
    )
    return set(json.loads(answer.stdout))


@pytest.mark.parametrize(
    ("statement", "absent"),
    [
        ("import fastprune", HEAVY),
        ("import fastprune.cli", HEAVY),
        ("from fastprune import Policy, ScanOptions, UsageError, Digest", HEAVY),
        ("import fastprune.reading.chunks", HEAVY),
        ("import fastprune.executors.worker", HEAVY),
        ("import fastprune.executors.processes", HEAVY),
        # What a command imports to read an address; and what is unpacked on a worker.
        ("import fastprune.executors.dask_address", HEAVY),
        ("import fastprune.executors.dask_worker", HEAVY),
        ("import fastprune.scanning.scanner", HEAVY),
        ("import fastprune.patterns", HEAVY - {"re2"}),
        ("import fastprune.api", {"numpy", "typer", "click", "rich", "re2", "yaml"}),
        ("import fastprune.plan.prune_plan", HEAVY - {"numpy"}),
        # Workers are forked while a cache is held, and before numpy is there.
        ("import fastprune.deletion.held_cache", HEAVY - {"psutil"}),
        ("import fastprune.audit.audit_file", HEAVY),
    ],
)
def test_an_import_brings_in_no_more_than_it_needs(statement: str, absent: set[str]) -> None:
    assert not imported_by(statement) & absent


def test_a_worker_that_reads_manifests_never_imports_numpy(tmp_path: Path) -> None:
    builder = CacheBuilder(tmp_path)
    name = builder.image("docker.io/library/a:1", layers=[builder.blob(1)])
    task = (str(tmp_path / "img"), 0, bytes.fromhex(name), 10_000, True, (("docker",),))
    statement = (
        "from fastprune.reading.chunks import ReadTask, read_chunk; "
        "from fastprune.reading.folders import list_folder; "
        "from fastprune.layouts.default import DEFAULT_LAYOUT; "
        f"(shard,) = read_chunk(ReadTask(*{task!r}, DEFAULT_LAYOUT)); "
        f"parts = list(list_folder({task[0]!r})); "
        "assert not shard.faults and shard.kinds and parts"
    )
    assert not imported_by(statement) & (HEAVY - {"re2"})
