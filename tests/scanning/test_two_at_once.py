"""Several runs at once, and one after the other, with one folder for state."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from tests.property.decoding import decoded
from tests.support.cachebuilder import CacheBuilder
from tests.support.clock import wait_for_the_clock
from tests.support.remembered import Remembering, warnings_of
from tests.support.scanning import scanned

from fastprune.scanning import kept_file, memory, store
from fastprune.whole_files import write_whole

ALL = 7

SCANS = """
import sys
from pathlib import Path
from tests.support.clock import nothing_is_racy
from tests.support.remembered import Remembering
cache = Remembering(Path(sys.argv[1]))
with nothing_is_racy():
    for number in range(20):
        index, _ = cache.scan(rescan=number % 2 == 1)
        print(len(index), flush=True)
"""


def test_processes_that_write_and_read_at_once_never_see_half_a_file(
    cache: Remembering, caplog: pytest.LogCaptureFixture
) -> None:
    whole = decoded(scanned(cache.root))
    cache.read_by_scan()
    with subprocess.Popen(
        [sys.executable, "-c", SCANS, cache.root],
        cwd=Path(__file__).parents[2],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as other:
        with warnings_of(caplog) as warnings:
            while other.poll() is None:
                index, read = cache.scan()
                # What was mapped may have been replaced since: then the new one is used.
                assert (read, decoded(index)) == (0, whole)
        out, err = other.communicate()
    assert (warnings, err, out) == ([], "", f"{ALL}\n" * 20)
    assert [path.suffix for path in cache.folder.iterdir()] == [".scan"]


def test_two_that_write_at_the_same_moment_leave_one_whole_file(
    cache: Remembering, monkeypatch: pytest.MonkeyPatch
) -> None:
    both = threading.Barrier(2)
    real = write_whole

    def at_once(path: str, content: Iterable[bytes], **options: Any) -> None:
        both.wait(10)
        real(path, content, **options)

    with monkeypatch.context() as patch, ThreadPoolExecutor(2) as pool:
        patch.setattr(store, "write_whole", at_once)
        for _ in range(5):
            results = list(pool.map(lambda _: cache.scan(rescan=True), range(2)))
            assert [read for _, read in results] == [ALL, ALL]
    assert len(list(cache.folder.iterdir())) == 1
    assert cache.read_by_scan() == 0


def test_what_is_replaced_again_and_again_is_read_in_the_end(
    cache: Remembering, builder: CacheBuilder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Others finish their scans while this one begins: it uses the last."""
    cache.read_by_scan()
    real, turns = store.mapped_file, list[int]()

    def mapped(path: str) -> store.MappedFile:
        found = real(path)
        if len(turns) < 3:
            turns.append(found.inode)
            builder.image(f"new:{len(turns)}")
            wait_for_the_clock(cache.root)
            with monkeypatch.context() as patch:
                patch.setattr(kept_file, "mapped_file", real)
                cache.scan()
        return found

    monkeypatch.setattr(kept_file, "mapped_file", mapped)
    index, read = cache.scan()
    assert (len(index), read, len(set(turns))) == (ALL + 3, 0, 3)
    assert decoded(index) == decoded(scanned(cache.root))


def test_a_scan_that_ends_late_writes_what_is_older_and_still_true(
    cache: Remembering, builder: CacheBuilder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A dry run that began first may write last. The next scan compares with what is there."""
    real = memory.ScanMemory.keep
    changed = cache.root / "img" / builder.image("c:1")

    def keep(self: memory.ScanMemory, *given: Any, **named: Any) -> None:
        monkeypatch.setattr(memory.ScanMemory, "keep", real)
        wait_for_the_clock(cache.root)
        changed.write_bytes(changed.read_bytes().replace(b'"c:1"', b'"d:1"'))
        builder.image("e:1")
        wait_for_the_clock(cache.root)
        assert cache.read_by_scan() == ALL + 2
        real(self, *given, **named)

    monkeypatch.setattr(memory.ScanMemory, "keep", keep)
    cache.scan()
    assert cache.read_by_scan() == 2
    assert cache.read_by_scan() == 0
