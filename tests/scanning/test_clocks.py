"""Clocks that are set, and the racy rule as it is: nothing stale is ever believed."""

from __future__ import annotations

import itertools
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.property.decoding import decoded
from tests.support.cachebuilder import CacheBuilder
from tests.support.clock import wait_for_the_clock
from tests.support.remembered import Remembering, warnings_of
from tests.support.scanning import scanned

from fastprune.executors.executor import Executor
from fastprune.index.remembered import RememberedScan
from fastprune.index.remembered import decoded as scan_in
from fastprune.reading import identities
from fastprune.reading.identities import RACY_NANOSECONDS
from fastprune.scanning.scanner import _Run

HOUR = 60 * 60


@pytest.fixture(autouse=True)
def _the_rule_of_real_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two seconds; other tests do with less."""
    monkeypatch.setattr(identities, "RACY_NANOSECONDS", RACY_NANOSECONDS)


@pytest.fixture
def just_written(builder: CacheBuilder) -> Remembering:
    """A cache whose files and folders have changed just now."""
    builder.image("a:1", layers=[builder.blob(10)])
    builder.image("a:latest")
    return Remembering(builder.root)


@contextmanager
def clock_off_by(seconds: float) -> Iterator[None]:
    """A scan begins by a clock that differs from that of the kernel, which gives ctimes."""
    real = time.time
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(time, "time", lambda: real() + seconds)
        yield


def remembered(cache: Remembering) -> RememberedScan:
    return scan_in(memoryview(cache.file.read_bytes()))


def test_what_has_just_changed_is_not_believed(just_written: Remembering) -> None:
    for _ in range(3):
        index, read = just_written.scan()
        assert read == 2
        assert not index.identities.any()
        scan = remembered(just_written)
        assert not scan.column("identities").any()
        assert [folder.identity for folder in scan.header.folders] == ["", "", ""]


@pytest.mark.parametrize("seconds", [0.0, 1.0, 1.9])
def test_nor_what_changed_less_than_two_seconds_before_the_scan(
    seconds: float, just_written: Remembering
) -> None:
    changed = max(path.stat().st_ctime for path in just_written.root.rglob("*"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(time, "time", lambda: changed + seconds)
        assert not just_written.scan()[0].identities.any()
        patch.setattr(time, "time", lambda: changed + 2.1)
        assert just_written.scan()[0].identities.any(axis=1).all()
        # Only now do they have identities.
        assert just_written.scan()[1] == 0


def test_a_time_that_is_set_back_does_not_make_it_older(just_written: Remembering) -> None:
    for path in (just_written.root / "img").iterdir():
        os.utime(path, (1, 1))
    os.utime(just_written.root / "img", (1, 1))
    assert not just_written.scan()[0].identities.any()
    assert remembered(just_written).header.folders[0].identity == ""


@pytest.mark.parametrize("back", [3.0, HOUR, 365 * 24 * HOUR])
def test_after_the_clock_was_set_back_nothing_is_believed(
    back: float, just_written: Remembering, caplog: pytest.LogCaptureFixture
) -> None:
    with clock_off_by(10):
        just_written.scan()
        assert just_written.scan()[1] == 0
    with clock_off_by(10 - back), warnings_of(caplog) as warnings:
        # It was written in the future; and the files have a ctime in the future, or in the
        # racy time before the scan, unless the clock was set back by little.
        index, read = just_written.scan()
        assert read == 2
    assert [line.rpartition(": ")[2] for line in warnings] == [
        "it says that it was written in the future"
    ]
    assert index.identities.any() == (back < 8)
    with clock_off_by(20):
        just_written.scan()
        assert just_written.scan()[1] == 0


def test_files_with_a_ctime_in_the_future_have_no_identity(just_written: Remembering) -> None:
    with clock_off_by(-HOUR):
        for _ in range(2):
            index, read = just_written.scan()
            assert (read, bool(index.identities.any())) == (2, False)


def test_after_the_clock_was_set_forward_what_changed_is_read(just_written: Remembering) -> None:
    with clock_off_by(10):
        just_written.scan()
    path = next((just_written.root / "img").iterdir())
    path.write_bytes(path.read_bytes().replace(b'"a:1"', b'"b:1"'))
    with clock_off_by(365 * 24 * HOUR):
        index, read = just_written.scan()
        assert read == 1
    assert decoded(index) == decoded(scanned(just_written.root))


def text_of(number: int) -> str:
    """A time that sorts as the number does."""
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(10**9 + number))


def pulled(path: Path, number: int) -> None:
    """Rewrites a manifest in place, as a pull of it does: as many bytes, at any moment."""
    content = path.read_bytes()
    at = content.rindex(b'"pulled":"') + len(b'"pulled":"')
    descriptor = os.open(path, os.O_WRONLY)
    os.write(descriptor, content[:at] + text_of(number).encode() + content[at + 19 :])
    os.close(descriptor)


def test_scans_beside_a_server_that_rewrites_manifests_are_never_stale(
    builder: CacheBuilder,
) -> None:
    """A scan shows nothing older than what was written before it; the rule is the real one."""
    names = [builder.image(f"a:{number}", pulled=text_of(0)) for number in range(8)]
    paths = [builder.root / "img" / name for name in names]
    stop, written = threading.Event(), dict.fromkeys(paths, 0)

    def serve() -> None:
        for number in itertools.count(1):
            path = paths[number % len(paths)]
            pulled(path, number)
            written[path] = number
            if stop.is_set():
                return

    server = threading.Thread(target=serve)
    server.start()
    cache = Remembering(builder.root)
    try:
        for _ in range(12):
            before = dict(written)
            index, read = cache.scan()
            # All have just changed.
            assert read >= len(paths)
            for row, text in enumerate(index.pulled_texts(np.arange(len(index)))):
                assert text >= text_of(before[builder.root / index.path(row)])
    finally:
        stop.set()
        server.join()
    index, _ = cache.scan()
    assert decoded(index) == decoded(scanned(builder.root))


def test_a_change_between_the_look_and_the_reading_is_read_again(
    just_written: Remembering, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The identity is asked for first: so it is that of what was there before."""
    path = next((just_written.root / "img").iterdir())

    def late(call: Callable[..., Any]) -> Callable[..., Any]:
        def read(descriptor: int, *others: Any) -> Any:
            if os.path.samestat(os.fstat(descriptor), path.stat()):
                pulled(path, 7)
            return call(descriptor, *others)

        return read

    wait_for_the_clock(just_written.root)
    with clock_off_by(10):
        with monkeypatch.context() as patch:
            # A file is read by either: where the first is not supported, by the second.
            patch.setattr(os, "preadv", late(os.preadv))
            patch.setattr(os, "read", late(os.read))
            just_written.scan()
        index, read = just_written.scan()
        assert read == 1
        assert decoded(index) == decoded(scanned(just_written.root))
        assert just_written.scan()[1] == 0


def test_a_folder_that_changes_while_it_is_listed_is_listed_again(
    just_written: Remembering, monkeypatch: pytest.MonkeyPatch, builder: CacheBuilder
) -> None:
    real = _Run._list_manifests

    def listed_too_early(
        run: _Run, open_executor: Callable[[int], Executor]
    ) -> list[bytes | memoryview]:
        listed = real(run, open_executor)
        builder.image("b:1", layers=[builder.blob(10)])
        return listed

    with clock_off_by(10):
        with monkeypatch.context() as patch:
            patch.setattr(_Run, "_list_manifests", listed_too_early)
            assert just_written.scan()[1] == 2
        index, read = just_written.scan()
        assert read == 1
        assert decoded(index) == decoded(scanned(just_written.root))
