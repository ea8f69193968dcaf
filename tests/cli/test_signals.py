"""SIGINT, SIGTERM and SIGHUP: it stops between two deletions and reports what it did."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.cli.program import environment, finish, holds_open, run, started, wait_until
from tests.support.cachebuilder import CacheBuilder, Corruption, digest_of, files, snapshot

ORPHANS = 2_000

every_signal = pytest.mark.parametrize(
    ("number", "code"),
    [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)],
    ids=["SIGINT", "SIGTERM", "SIGHUP"],
)


@every_signal
def test_during_the_scan_it_ends_and_nothing_is_removed(
    number: signal.Signals, code: int, tmp_path: Path
) -> None:
    builder = CacheBuilder(tmp_path / "cache")
    builder.image("a:1")
    builder.corrupt(Corruption.EMPTY)  # Read again and again, for almost half a second.
    before = snapshot(builder.root)
    with started("prune", "--pattern", "a", "--skip-corrupt", cache=builder.root) as process:
        # The lock is taken just before; a moment later the scan is under way.
        wait_until(lambda: holds_open(process, builder.root))
        time.sleep(0.15)
        process.send_signal(number)
        result = finish(process)
    assert result.code == code
    assert "Traceback" not in result.err
    assert snapshot(builder.root) == before


@every_signal
def test_a_signal_whose_exception_python_dropped_ends_it_all_the_same(
    number: signal.Signals, code: int, tmp_path: Path
) -> None:
    builder = CacheBuilder(tmp_path / "cache")
    builder.image("a:1")
    builder.image("b:1")
    before = snapshot(builder.root)
    program = (
        "import os, signal, sys\n"
        "from fastprune import pipeline\n"
        "from fastprune.cli.main import main\n"
        "class Dropping:\n"
        f"    def __del__(self): os.kill(os.getpid(), {number:d})\n"
        "real = pipeline.work_out\n"
        "def late(*args, **options):\n"
        "    plan = real(*args, **options)\n"
        "    Dropping()\n"
        "    return plan\n"
        "pipeline.work_out = late\n"
        f"sys.argv[1:] = ['prune', '--pattern', 'a', '--image-path', {str(builder.root)!r}]\n"
        "main()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment(), capture_output=True, check=False
    )
    assert (done.returncode, done.stdout) == (code, b"")
    assert snapshot(builder.root) == before


STARTING = {
    "an import": "sys.modules['typer'] = Telling('typer')",
    "the making of the commands": "importlib.import_module('typer.main').get_group = tell",
    "a fork": "os.register_at_fork(after_in_parent=tell)",
    "the end": "import fastprune.cli.app as app; app.leave = tell",
}


@every_signal
@pytest.mark.parametrize("moment", STARTING)
def test_nothing_is_said_of_where_it_was(
    moment: str, number: signal.Signals, code: int, tmp_path: Path
) -> None:
    builder = CacheBuilder(tmp_path / "cache")
    builder.image("a:1")
    program = (
        "import importlib, os, signal, sys, types\n"
        "from fastprune.cli.main import main\n"
        f"def tell(*args, **options): os.kill(os.getpid(), {number:d})\n"
        "class Telling(types.ModuleType):\n"
        "    __getattr__ = tell\n"
        f"{STARTING[moment]}\n"
        f"sys.argv[1:] = ['list', '--jobs', '2', '--image-path', {str(builder.root)!r}]\n"
        "main()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment(), capture_output=True, check=False
    )
    assert done.returncode == code
    assert b"Traceback" not in done.stderr


@every_signal
def test_after_a_signal_python_takes_nothing_apart(
    number: signal.Signals, code: int, tmp_path: Path
) -> None:
    """Meanwhile, another signal would end the process without an exit code."""
    builder = CacheBuilder(tmp_path / "cache")
    builder.image("a:1")
    program = (
        "import atexit, os, signal, sys\n"
        "from fastprune import pipeline\n"
        "from fastprune.cli.main import main\n"
        "atexit.register(os.write, 1, b'taken apart')\n"
        f"pipeline.work_out = lambda *_, **__: os.kill(os.getpid(), {number:d})\n"
        f"sys.argv[1:] = ['prune', '--pattern', 'a', '--image-path', {str(builder.root)!r}]\n"
        "main()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment(), capture_output=True, check=False
    )
    assert (done.returncode, done.stdout) == (code, b"")


@every_signal
def test_during_the_deletion_it_stops_and_the_report_tells_the_truth(
    number: signal.Signals, code: int, tmp_path: Path
) -> None:
    builder = CacheBuilder(tmp_path / "cache")
    blobs = builder.root / "blobs"
    for orphan in range(ORPHANS):
        (blobs / digest_of(str(orphan))).touch()
    # Slow enough to be caught in the middle of it.
    pace = ("--max-deletes-per-second", str(ORPHANS))
    modified = blobs.stat().st_mtime_ns
    options = ("--orphans-only", "--allow-remove-all", *pace, "--format", "json")
    with started("prune", *options, cache=builder.root) as process:
        wait_until(lambda: blobs.stat().st_mtime_ns != modified)
        process.send_signal(number)
        result = finish(process)
    assert result.code == code
    report = json.loads(result.out)
    assert report["stopped"] == number.name
    assert report["totals"]["blobs"] + report["totals"]["left"] == ORPHANS
    removed = {"blobs/" + item["digest"].removeprefix("sha256:") for item in report["blobs"]}
    left = files(builder.root)
    assert len(left) == report["totals"]["left"] > 0
    assert not removed & left
    # Nothing is lost: the next run does the rest.
    assert run("prune", *options[:2], "--summary", cache=builder.root).code == 0
    assert files(builder.root) == set()
