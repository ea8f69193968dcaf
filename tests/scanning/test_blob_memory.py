"""`verify --content` with a memory: what it reads again, and what it must not believe."""

from __future__ import annotations

import errno
import itertools
import logging
import os
import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.support.cachebuilder import CacheBuilder
from tests.support.clock import wait_for_the_clock
from tests.support.elsewhere import Elsewhere
from tests.support.remembered import warnings_of
from tests.support.verifying import Verifying, findings_of

from fastprune import Findings
from fastprune.errors import UsageError
from fastprune.executors.processes import ProcessExecutor
from fastprune.index import column_files, verified_blobs
from fastprune.reading import file_systems, identities
from fastprune.reading.blob_contents import hash_files
from fastprune.scanning import blob_memory, kept_file
from fastprune.scanning.content_since import LAST
from fastprune.scanning.memory import StateFolder
from fastprune.scanning.scanner import ScanOptions
from fastprune.verification import blob_reading
from fastprune.verification.verifier import VerifyOptions, verify_cache

BLOBS = 9
HOUR = 60 * 60

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")


@pytest.fixture(autouse=True)
def _each_blob_is_a_piece(believing: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blob_reading, "FILES_IN_PIECE", 1)


@pytest.fixture
def verifying(builder: CacheBuilder) -> Verifying:
    """Two images, six layers, two configs, and an orphan."""
    builder.image("a:1", layers=[builder.blob(size) for size in (10, 20, 30)])
    builder.image("b:1", layers=[builder.blob(size) for size in (40, 50, 60)])
    builder.blob(70)
    return Verifying(builder.root)


def blobs(verifying: Verifying) -> dict[str, Path]:
    return {path.name: path for path in sorted((verifying.root / "blobs").iterdir())}


def changed(path: Path) -> None:
    """The same content, written again in place."""
    content = path.read_bytes()
    with path.open("r+b") as file:
        file.write(content)


def damaged(path: Path) -> None:
    """Other content of the same size, written in place."""
    content = path.read_bytes()
    with path.open("r+b") as file:
        file.write(bytes([content[0] ^ 1]))


def test_after_a_whole_run_only_what_is_new_or_changed_is_read(
    verifying: Verifying, builder: CacheBuilder
) -> None:
    there = blobs(verifying)
    assert verifying.run(None) == there.keys()
    assert verifying.run() == set()
    content = verifying.last.content
    assert (content.blobs, content.known_blobs) == (0, BLOBS)
    assert content.known_size == sum(path.stat().st_size for path in there.values())
    first, second, third, fourth, *_ = there
    wait_for_the_clock(verifying.root)
    changed(there[first])
    os.utime(there[second], (1, 1))
    there[third].rename(verifying.root / "aside")
    (verifying.root / "aside").rename(there[third])
    there[fourth].unlink()
    new = builder.blob(99)
    assert verifying.run() == {first, second, third, new}
    assert verifying.last.content.known_blobs == BLOBS - 4
    assert verifying.run() == set()
    # Without the option, all are read whatever is remembered.
    assert verifying.run(None) == blobs(verifying).keys()


def test_what_was_touched_back_is_read(verifying: Verifying) -> None:
    verifying.run(None)
    name, path = next(iter(blobs(verifying).items()))
    status = path.stat()
    wait_for_the_clock(verifying.root)
    damaged(path)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert verifying.run() == {name}
    assert not verifying.last.is_clean
    # It is damaged, so it is read each time.
    assert verifying.run() == {name}
    assert not verifying.last.is_clean


def elsewhere(verifying: Verifying, executor: Elsewhere) -> Findings:
    wait_for_the_clock(verifying.root)
    scan = ScanOptions(state=StateFolder(str(verifying.folder)))
    how = VerifyOptions(scan=scan, content=True)
    return verify_cache(str(verifying.root), lambda _: executor, how)


def test_of_what_is_read_elsewhere_the_identity_here_counts(
    verifying: Verifying, tmp_path: Path
) -> None:
    """The workers see files with other inodes and times, and one that is damaged there only."""
    seen = tmp_path / "seen"
    shutil.copytree(verifying.root, seen)
    first, *_ = blobs(verifying)
    damaged(seen / "blobs" / first)
    assert elsewhere(verifying, Elsewhere(verifying.root, seen)).is_clean
    # What was looked at here once more is not remembered, and is read.
    assert verifying.run() == {first}


def test_what_changes_here_while_it_is_read_elsewhere_is_read_again(
    verifying: Verifying, tmp_path: Path
) -> None:
    seen = tmp_path / "seen"
    shutil.copytree(verifying.root, seen)
    name, path = next(iter(blobs(verifying).items()))

    class Meanwhile(Elsewhere):
        def map_unordered(
            self, function: Callable[[Any], Any], items: Iterable[Any], *, ahead: int = 1
        ) -> Iterator[Any]:
            for result in super().map_unordered(function, items, ahead=ahead):
                if function is hash_files:
                    changed(path)
                yield result

    assert elsewhere(verifying, Meanwhile(verifying.root, seen)).is_clean
    assert verifying.run() == {name}


def test_interruptions_add_up(verifying: Verifying) -> None:
    seen = verifying.run(None, most=2)
    for _ in range(3):
        more = verifying.run(most=2)
        assert len(more) == 2
        assert not more & seen
        seen |= more
    rest = verifying.run()
    assert rest == blobs(verifying).keys() - seen
    assert findings_of(verifying.last) == findings_of(verifying.whole())
    assert verifying.run() == set()


def test_the_largest_go_first(verifying: Verifying) -> None:
    sizes = {name: path.stat().st_size for name, path in blobs(verifying).items()}
    read = [verifying.run(None if not turn else LAST, most=1) for turn in range(BLOBS)]
    found = [sizes[one.pop()] for one in read]
    assert found == sorted(sizes.values(), reverse=True)


def test_a_new_series_that_was_interrupted_at_once_is_not_the_old_one(
    verifying: Verifying, monkeypatch: pytest.MonkeyPatch
) -> None:
    verifying.run(None)
    later(monkeypatch, 10)
    assert verifying.run(None, most=0) == set()
    assert verifying.run(most=4) != set()
    assert len(verifying.run()) == BLOBS - 4


def later(monkeypatch: pytest.MonkeyPatch, seconds: float) -> float:
    """Sets the clock of the program; gives the time."""
    now = time.time() + seconds
    offset = now - time.monotonic()
    monkeypatch.setattr(time, "time", lambda: offset + time.monotonic())
    return now


def test_since_a_date(verifying: Verifying, monkeypatch: pytest.MonkeyPatch) -> None:
    verifying.run(None, most=3)
    between = datetime.fromtimestamp(later(monkeypatch, HOUR), UTC)
    later(monkeypatch, HOUR)
    assert len(verifying.run(most=2)) == 2
    # Without a zone, a time is that of this machine.
    for date in (between, between.astimezone().replace(tzinfo=None)):
        assert len(verifying.run(date, most=0)) == 0
    # What the first run verified is too old.
    assert len(verifying.run(between)) == BLOBS - 2
    assert verifying.last.content.since == int(between.timestamp()) + 1
    # `last` goes on with the run that had a date.
    assert verifying.run() == set()
    assert verifying.last.content.since == int(between.timestamp()) + 1
    long_ago = datetime(2000, 1, 1, tzinfo=UTC)
    assert verifying.run(long_ago) == set()


def test_a_sample_is_remembered_too(verifying: Verifying) -> None:
    half = verifying.run(None, sample=0.5, seed=3)
    assert len(half) == 5
    assert verifying.run(sample=0.5, seed=3) == set()
    assert verifying.last.content.known_blobs == 5
    assert verifying.run() == blobs(verifying).keys() - half
    assert verifying.last.content.known_blobs == 5
    assert verifying.run(None, sample=0.5, seed=3) == half


def test_what_was_damaged_unnoticed_is_found_by_a_whole_run_and_forgotten(
    verifying: Verifying,
) -> None:
    """A disk that loses a bit changes no time: the identity stays as it was."""
    verifying.run(None)
    name, path = next(iter(blobs(verifying).items()))
    damaged(path)
    verifying.forge(name)
    assert verifying.run() == set()
    assert verifying.last.is_clean
    assert verifying.run(None) == blobs(verifying).keys()
    assert not verifying.last.is_clean
    assert verifying.run() == {name}
    assert not verifying.last.is_clean


def test_what_can_not_be_read_is_not_remembered(
    verifying: Verifying, monkeypatch: pytest.MonkeyPatch
) -> None:
    verifying.run(None)
    name, path = next(iter(blobs(verifying).items()))
    inode, real = path.stat().st_ino, os.read

    def failing(descriptor: int, most: int) -> bytes:
        if os.fstat(descriptor).st_ino == inode:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return real(descriptor, most)

    with monkeypatch.context() as patch:
        patch.setattr(os, "read", failing)
        verifying.run(None)
    assert verifying.last.damaged_blobs == 1
    assert verifying.run() == {name}
    assert verifying.run() == set()


def test_what_changed_right_before_it_was_read_is_read_again(
    verifying: Verifying, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(identities, "RACY_NANOSECONDS", 2 * 10**9)
    for _ in range(2):
        assert verifying.run() == blobs(verifying).keys()
    later(monkeypatch, HOUR)
    assert verifying.run() == blobs(verifying).keys()
    assert verifying.run() == set()


def test_what_changes_while_it_is_read_is_read_again(
    verifying: Verifying, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, path = next(iter(blobs(verifying).items()))
    inode, real = path.stat().st_ino, os.read

    def late(descriptor: int, most: int) -> bytes:
        content = real(descriptor, most)
        if os.fstat(descriptor).st_ino == inode:
            wait_for_the_clock(verifying.root)
            changed(path)
        return content

    with monkeypatch.context() as patch:
        patch.setattr(os, "read", late)
        verifying.run(None)
    assert verifying.last.is_clean
    assert verifying.run() == {name}


@pytest.mark.parametrize("back", [3 * HOUR, 24 * HOUR])
def test_after_the_clock_was_set_back_all_is_read(
    back: float,
    verifying: Verifying,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    later(monkeypatch, HOUR)
    verifying.run(None)
    later(monkeypatch, -back)
    with warnings_of(caplog) as warnings:
        assert verifying.run() == blobs(verifying).keys()
    said = "it says that it was written in the future"
    assert warnings == [
        f"--content-since: every blob is read: {verifying.file} is not used: {said}"
    ]


def test_what_was_verified_later_than_now_is_read(
    verifying: Verifying, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The clock was set back in the middle of the run that wrote it."""
    verifying.run(None)
    content = verifying.file.read_bytes()
    found = verified_blobs.decoded(memoryview(content))
    verified = found.column("verified").copy()
    verified[0] += 24 * HOUR
    rows: Any = list(range(len(verified)))
    columns = found.column("digests"), found.column("identities"), verified
    verifying.file.write_bytes(b"".join(verified_blobs.encoded(found.header, rows, *columns)))
    assert len(verifying.run()) == 1


def given_away(path: Path) -> None:
    os.chown(path, 12345, -1)


def writable(path: Path) -> None:
    path.chmod(path.stat().st_mode | 0o020)


def of_another_version(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b"fastprune blob\n1", b"fastprune blob\n2"))


def a_scan(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b"fastprune blob\n1", b"fastprune scan\n1"))


def emptied(path: Path) -> None:
    os.truncate(path, 0)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        pytest.param(given_away, "it belongs to another user", marks=needs_root),
        (writable, "others may write to it"),
        (lambda path: writable(path.parent), "others may write its folder"),
        (of_another_version, "it is of another version"),
        (a_scan, "it is damaged"),
        (emptied, "it is damaged"),
    ],
)
def test_a_file_that_is_not_believed_is_said_once_and_all_is_read(
    change: Callable[[Path], None],
    reason: str,
    verifying: Verifying,
    caplog: pytest.LogCaptureFixture,
) -> None:
    verifying.run(None)
    file = verifying.file
    change(file)
    with warnings_of(caplog) as warnings:
        assert verifying.run() == blobs(verifying).keys()
    assert warnings == [f"--content-since: every blob is read: {file} is not used: {reason}"]
    change(file)
    with warnings_of(caplog) as warnings:
        # Nobody has relied on it.
        verifying.run(None)
    assert warnings == []


@pytest.mark.parametrize("field", ["made_by", "cache", "layout"])
def test_nor_one_of_another_version_cache_or_layout(
    field: str,
    verifying: Verifying,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    real = kept_file.KeptFile.__init__

    def other(self: kept_file.KeptFile, *given: Any) -> None:
        real(self, *given)
        self.origin = replace(self.origin, **{field: "other"})

    with monkeypatch.context() as patch:
        patch.setattr(kept_file.KeptFile, "__init__", other)
        verifying.run(None)
    with warnings_of(caplog) as warnings:
        assert verifying.run() == blobs(verifying).keys()
    said = "another version of fastprune wrote it" if field == "made_by" else "another cache"
    assert len(warnings) == 1
    assert said in warnings[0]
    assert verifying.run() == set()


@pytest.mark.parametrize("piece_bytes", [column_files.PIECE_BYTES, 64])
def test_a_file_that_is_damaged_anywhere_is_not_used(
    piece_bytes: int,
    verifying: Verifying,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(column_files, "PIECE_BYTES", piece_bytes)
    verifying.run(None)
    sound, every = verifying.file.read_bytes(), blobs(verifying).keys()
    # Otherwise each run would mend it.
    monkeypatch.setattr(blob_memory.BlobMemory, "_write", lambda memory: None)
    with warnings_of(caplog) as warnings:
        damages = 0
        for at in range(0, len(sound), 7):
            for content in (
                sound[:at] + bytes([sound[at] ^ 1]) + sound[at + 1 :],
                sound[:at],
                sound[:at] + bytes(len(sound) - at),
            ):
                if content != sound:
                    damages += 1
                    verifying.file.write_bytes(content)
                    assert verifying.run() == every, at
    assert len(warnings) == damages
    verifying.file.write_bytes(sound)
    assert verifying.run() == set()


def test_nothing_is_remembered_where_times_can_not_be_trusted(
    verifying: Verifying, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(file_systems, "KNOWN", {})
    with warnings_of(caplog) as warnings:
        assert verifying.run(None) == blobs(verifying).keys()
        assert warnings == []
        assert verifying.run() == blobs(verifying).keys()
    assert not verifying.folder.exists()
    assert len(warnings) == 1
    assert "whose times can't be trusted" in warnings[0]


def test_nothing_remembered_yet_is_said(
    verifying: Verifying, caplog: pytest.LogCaptureFixture
) -> None:
    with warnings_of(caplog) as warnings:
        assert verifying.run() == blobs(verifying).keys()
        assert verifying.run() == set()
    assert warnings == [
        f"--content-since: every blob is read: no run is remembered in {verifying.folder}"
    ]


def test_a_folder_that_can_not_be_written_costs_a_debug_message(
    verifying: Verifying, caplog: pytest.LogCaptureFixture
) -> None:
    verifying.folder.write_bytes(b"precious")
    with caplog.at_level(logging.DEBUG, "fastprune"):
        assert verifying.run(None) == blobs(verifying).keys()
    assert {record.levelno for record in caplog.records} == {logging.DEBUG}
    assert "can't be written" in caplog.text
    assert verifying.folder.read_bytes() == b"precious"


def test_it_is_written_in_the_middle_of_a_run(
    verifying: Verifying, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After SIGKILL nobody writes anything: what is there then is what a run has left before."""
    real = blob_memory.BlobMemory.keep

    def killed(memory: blob_memory.BlobMemory) -> None:
        monkeypatch.setattr(blob_memory.BlobMemory, "keep", real)

    for seconds, left in ((HOUR, BLOBS), (0, 4)):
        monkeypatch.setattr(blob_memory, "_KEEP_SECONDS", seconds)
        monkeypatch.setattr(blob_memory, "_SHARE_OF_WRITING", 0)
        monkeypatch.setattr(blob_memory.BlobMemory, "keep", killed)
        verifying.run(None, most=BLOBS - 4)
        monkeypatch.setattr(blob_memory.BlobMemory, "keep", killed)
        assert len(verifying.run(most=BLOBS)) == left
        verifying.file.unlink()


def test_a_file_is_kept_as_long_as_it_is_used(verifying: Verifying) -> None:
    verifying.run(None)
    file = verifying.file
    other = file.with_name("00123456789abcde-77.verified")
    other.write_bytes(b"of another cache")
    for path in (file, other):
        os.utime(path, (1, 1))
    assert verifying.run() == set()
    assert file.stat().st_mtime > time.time() - HOUR
    assert other.exists()
    verifying.run(None)
    assert verifying.file == file


def test_writing_takes_a_small_part_of_the_time(
    verifying: Verifying, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = itertools.count()
    monkeypatch.setattr(time, "monotonic", lambda: next(clock) * 3.0)
    writes: list[None] = []
    monkeypatch.setattr(kept_file, "store", lambda path, content: writes.append(None))
    verifying.run(None)
    # Each takes three of these seconds: so the next one is due a minute later.
    assert len(writes) == 2


def verify(root: Path, *, state: StateFolder | None, **options: Any) -> Findings:
    scan = ScanOptions(state=state)
    with_content = VerifyOptions(scan=scan, content=True, **options)
    # Forked, so that they know what counts as racy in this process.
    with closing(ProcessExecutor(2, fork=True)) as executor:
        return verify_cache(str(root), lambda _: executor, with_content)


def test_workers_find_the_same(verifying: Verifying) -> None:
    state = StateFolder(str(verifying.folder))
    wait_for_the_clock(verifying.root)
    whole = verify(verifying.root, state=state)
    again = verify(verifying.root, state=state, content_since=LAST)
    assert (whole.content.blobs, again.content.blobs) == (BLOBS, 0)
    assert findings_of(again) == findings_of(whole)


def test_what_makes_no_sense_is_refused(verifying: Verifying) -> None:
    root, folder = verifying.root, str(verifying.folder)
    tomorrow = datetime.now(UTC) + timedelta(days=1)
    for state, since, message in (
        (None, LAST, "name one with --state-dir"),
        (StateFolder(folder, rescan=True), LAST, "--rescan reads every blob"),
        (StateFolder(folder), tomorrow, "is in the future"),
        (StateFolder(folder), datetime(1, 1, 1), "too long ago"),
        (StateFolder(str(root / "state")), LAST, "is in the cache"),
        (StateFolder(str(root / "blobs")), None, "is in the cache"),
    ):
        with pytest.raises(UsageError, match=message):
            verify(root, state=state, content_since=since)
    assert not verifying.folder.exists()
    # To read everything again is what happens without it, too.
    found = verify(root, state=StateFolder(folder, rescan=True))
    assert (found.content.blobs, found.content.since) == (BLOBS, None)
