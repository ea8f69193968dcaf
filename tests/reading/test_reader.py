"""Reading many small files, in two passes: what the page cache holds, then the rest."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import pytest
from tests.support.cachebuilder import CacheBuilder, can_make_devices

from fastprune.reading.reader import FileReader
from fastprune.reading.shards import Fault

ROOM = 64
LIMIT = 10_000
SIZES = (1, 2, ROOM - 1, ROOM, ROOM + 1, 3 * ROOM, 5, 0, 4)

Buffers = Sequence[memoryview]


tiny = partial(FileReader, buffer_bytes=ROOM)
"""A reader with a tiny buffer."""


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[int]:
    descriptor = os.open(tmp_path, os.O_RDONLY)
    yield descriptor
    os.close(descriptor)


def fill(path: Path, sizes: Sequence[int] = SIZES) -> dict[str, bytes]:
    contents = {f"{number}": os.urandom(size) for number, size in enumerate(sizes)}
    for name, content in contents.items():
        (path / name).write_bytes(content)
    return contents


def cached(of: FileReader, folder: int, names: Sequence[str]) -> tuple[dict[str, bytes], list[int]]:
    suspects: list[int] = []
    found = {names[row]: bytes(view) for row, view in of.read_cached(folder, names, suspects)}
    return found, suspects


def careful(
    of: FileReader, folder: int, names: Sequence[str], rows: Sequence[int] | None = None
) -> tuple[dict[str, bytes], list[Fault]]:
    faults: list[Fault] = []
    rows = range(len(names)) if rows is None else rows
    found = of.read_carefully(folder, names, rows, faults)
    return {names[row]: bytes(view) for row, view in found}, faults


def both(of: FileReader, folder: int, names: Sequence[str]) -> tuple[dict[str, bytes], list[Fault]]:
    first, suspects = cached(of, folder, names)
    second, faults = careful(of, folder, names, suspects)
    assert not set(first) & set(second)
    return first | second, faults


# Contents.


def test_every_file_is_read_whole_whatever_its_size(tmp_path: Path, folder: int) -> None:
    contents = fill(tmp_path)
    assert both(tiny(LIMIT), folder, list(contents)) == (contents, [])
    assert careful(tiny(LIMIT), folder, list(contents)) == (contents, [])


def test_what_fills_the_buffer_may_go_on_and_is_left_to_the_second_pass(
    tmp_path: Path, folder: int
) -> None:
    contents = fill(tmp_path, [ROOM - 1, ROOM, ROOM + 1, 0])
    found, suspects = cached(tiny(LIMIT), folder, list(contents))
    assert set(suspects) >= {1, 2, 3}
    assert all(contents[name] == content for name, content in found.items())


def test_a_large_file_makes_room_for_small_ones_after_it(tmp_path: Path, folder: int) -> None:
    contents = fill(tmp_path, [5 * ROOM, 3, ROOM, 20 * ROOM, 1])
    of = tiny(LIMIT)
    assert careful(of, folder, list(contents)) == (contents, [])
    assert both(of, folder, list(contents)) == (contents, [])


def test_no_names_give_nothing(folder: int) -> None:
    assert both(tiny(LIMIT), folder, []) == ({}, [])


# The page cache.


def test_what_is_not_in_the_page_cache_is_asked_for_and_read_later(
    tmp_path: Path, folder: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    contents = fill(tmp_path, [3, 7, 9])
    asked: list[int] = []
    real = os.preadv

    def wait(descriptor: int, buffers: Buffers, offset: int, flags: int = 0) -> int:
        if flags:
            raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")
        return real(descriptor, buffers, offset)

    monkeypatch.setattr(os, "preadv", wait)
    monkeypatch.setattr(os, "posix_fadvise", lambda fd, at, size, advice: asked.append(advice))
    of = tiny(LIMIT, nowait=8)
    assert cached(of, folder, list(contents)) == ({}, [0, 1, 2])
    assert asked == [os.POSIX_FADV_WILLNEED] * 3
    assert careful(of, folder, list(contents)) == (contents, [])


def test_a_short_read_without_waiting_is_never_taken_for_the_end(
    tmp_path: Path, folder: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is passed on as it is, and the parser sees that it is cut off."""
    contents = fill(tmp_path, [40])
    real, plain = os.preadv, os.read

    def halves(descriptor: int, buffers: Buffers, offset: int, flags: int = 0) -> int:
        return real(descriptor, [buffers[0][:20]], offset)

    monkeypatch.setattr(os, "preadv", halves)
    monkeypatch.setattr(os, "read", lambda descriptor, count: plain(descriptor, min(count, 20)))
    of = tiny(LIMIT, nowait=8)
    assert cached(of, folder, ["0"])[0]["0"] == contents["0"][:20]
    # The second pass asks again and again until there is no more.
    assert careful(of, folder, ["0"]) == (contents, [])


@pytest.mark.parametrize("number", [errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS])
def test_where_reading_without_waiting_is_not_known_it_is_tried_once(
    number: int, tmp_path: Path, folder: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    contents = fill(tmp_path, [3, 7, 9])
    tries: list[int] = []
    real = os.preadv

    def unknown(descriptor: int, buffers: Buffers, offset: int, flags: int = 0) -> int:
        if flags:
            tries.append(flags)
            raise OSError(number, os.strerror(number))
        return real(descriptor, buffers, offset)

    monkeypatch.setattr(os, "preadv", unknown)
    of = tiny(LIMIT, nowait=8)
    for _ in range(2):
        assert both(of, folder, list(contents)) == (contents, [])
    assert len(tries) == 1


def test_a_system_without_these_calls_reads_all_the_same(
    tmp_path: Path, folder: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    contents = fill(tmp_path)
    monkeypatch.delattr(os, "posix_fadvise")
    monkeypatch.delattr(os, "O_NOATIME")
    assert both(tiny(LIMIT, nowait=0), folder, list(contents)) == (contents, [])


def test_where_reading_without_waiting_is_not_known_each_file_is_opened_once(
    tmp_path: Path, folder: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a network, to open a file takes a round trip. What is read later is asked for before."""
    contents = fill(tmp_path, [3] * 100)
    calls: list[str] = []
    opened, plain = os.open, os.read

    def unknown(*_: object) -> int:
        raise OSError(errno.EOPNOTSUPP, "Operation not supported")

    def noted_open(name: str, flags: int, *, dir_fd: int) -> int:
        calls.append("open")
        return opened(name, flags, dir_fd=dir_fd)

    def noted_read(descriptor: int, count: int) -> bytes:
        calls.append("read")
        return plain(descriptor, count)

    of = tiny(LIMIT, nowait=8)
    monkeypatch.setattr(os, "preadv", unknown)
    monkeypatch.setattr(os, "posix_fadvise", lambda *_: calls.append("ask"))
    assert cached(of, folder, ["0"]) == ({}, [0])
    calls.clear()
    monkeypatch.setattr(os, "open", noted_open)
    monkeypatch.setattr(os, "read", noted_read)
    assert both(of, folder, list(contents)) == (contents, [])
    assert (calls.count("open"), calls.count("ask")) == (100, 100)
    assert calls[:64] == ["open", "ask"] * 32


def test_files_that_were_opened_ahead_are_closed(tmp_path: Path, folder: int) -> None:
    contents = fill(tmp_path, [3] * 100)
    before = len(os.listdir("/proc/self/fd"))
    abandoned = tiny(LIMIT, nowait=0).read_carefully(folder, list(contents), range(100), [])
    next(abandoned)
    assert len(os.listdir("/proc/self/fd")) > before
    del abandoned
    assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize("room", [1, 2, 7])
def test_with_few_descriptors_fewer_files_are_opened_ahead(
    room: int, tmp_path: Path, folder: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    contents = fill(tmp_path, [3] * 20)
    opened, closed = os.open, os.close
    ours: set[int] = set()

    def short(name: str, flags: int, *, dir_fd: int) -> int:
        if len(ours) == room:
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        ours.add(descriptor := opened(name, flags, dir_fd=dir_fd))
        return descriptor

    def noted_close(descriptor: int) -> None:
        ours.discard(descriptor)
        closed(descriptor)

    monkeypatch.setattr(os, "open", short)
    monkeypatch.setattr(os, "close", noted_close)
    assert careful(tiny(LIMIT, nowait=0), folder, list(contents)) == (contents, [])
    assert not ours


# Files that change.


def test_a_file_that_grows_while_it_is_read_is_read_as_far_as_there_is_room(
    tmp_path: Path, folder: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "0").write_bytes(b"a" * 10)
    real = os.fstat

    def grow(descriptor: int) -> os.stat_result:
        status = real(descriptor)
        with (tmp_path / "0").open("ab") as file:
            file.write(b"b" * 1000)
        return status

    monkeypatch.setattr(os, "fstat", grow)
    found, faults = careful(tiny(LIMIT), folder, ["0"])
    assert faults == []
    assert found["0"] == (b"a" * 10 + b"b" * 1000)[: len(found["0"])]
    # More than its size was. A part of it is no valid document, so it is read again.
    assert len(found["0"]) > 10


@pytest.mark.parametrize("left", [0, 3])
def test_a_file_that_shrinks_while_it_is_read_is_shorter(
    left: int, tmp_path: Path, folder: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    contents = fill(tmp_path, [1000, 5])
    real = os.fstat

    def shrink(descriptor: int) -> os.stat_result:
        status = real(descriptor)
        if status.st_size == 1000:
            os.truncate(tmp_path / "0", left)
        return status

    monkeypatch.setattr(os, "fstat", shrink)
    found, faults = careful(tiny(LIMIT), folder, ["0", "1"])
    # Nothing of another file, or of an earlier one, is in the rest of the buffer.
    assert found == {"0": contents["0"][:left], "1": contents["1"]}
    assert faults == []


# What is refused.


def test_nothing_but_regular_files_is_read_and_nothing_hangs(tmp_path: Path, folder: int) -> None:
    builder = CacheBuilder(tmp_path / "cache")
    hazards = [builder.fifo("img"), builder.socket("img"), builder.directory("img")]
    (tmp_path / "target").write_bytes(b"secret")
    hazards.append(builder.symlink("img", tmp_path / "target"))
    if can_make_devices(tmp_path):
        hazards.append(builder.device("img"))
    names = [f"cache/{path}" for path in hazards]
    found, faults = both(tiny(LIMIT), folder, names)
    assert found == {}
    assert sorted(fault.row for fault in faults) == list(range(len(names)))
    assert {fault.reason for fault in faults} == {"not a regular file"}
    assert not any(fault.retry or fault.vanished for fault in faults)


def test_a_file_larger_than_the_limit_is_refused_with_its_size(tmp_path: Path, folder: int) -> None:
    contents = fill(tmp_path, [LIMIT, LIMIT + 1])
    found, faults = both(tiny(LIMIT), folder, ["0", "1"])
    assert found == {"0": contents["0"]}
    reason = f"larger than the limit: {LIMIT + 1} > {LIMIT} bytes (--max-manifest-size)"
    assert faults == [Fault(1, reason, unknown=True)]


def test_a_limit_below_the_size_of_the_buffer_holds_too(tmp_path: Path, folder: int) -> None:
    fill(tmp_path, [10, 11])
    found, faults = both(tiny(10), folder, ["0", "1"])
    assert set(found) == {"0"}
    assert [fault.row for fault in faults] == [1]


def test_a_file_that_is_gone_is_marked_as_vanished(tmp_path: Path, folder: int) -> None:
    fill(tmp_path, [1])
    found, faults = both(tiny(LIMIT), folder, ["0", "gone"])
    assert set(found) == {"0"}
    assert [(fault.row, fault.vanished, fault.retry) for fault in faults] == [(1, True, False)]


def test_a_file_that_is_said_to_be_gone_while_it_is_there_has_not_vanished(
    tmp_path: Path, folder: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A manifest that counts as gone needs no blobs. So it is asked for once more."""
    fill(tmp_path, [1])

    def open_nothing(*args: object, **options: object) -> int:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))

    with monkeypatch.context() as patch:
        patch.setattr(os, "open", open_nothing)
        faults = careful(tiny(LIMIT), folder, ["0"])[1]
    assert [(fault.vanished, fault.reason) for fault in faults] == [
        (False, f"ESTALE: {os.strerror(errno.ESTALE)}")
    ]


def test_an_error_of_the_disk_is_a_fault_with_its_name(
    tmp_path: Path, folder: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    contents = fill(tmp_path, [1, 2])
    broken_for(monkeypatch, errno.EIO, size=2)
    found, faults = both(tiny(LIMIT), folder, ["0", "1"])
    assert found == {"0": contents["0"]}
    # Another try may find it sound: a disk can be repaired.
    assert faults == [Fault(1, "EIO: Input/output error", unknown=True)]


def broken_for(monkeypatch: pytest.MonkeyPatch, number: int, size: int) -> None:
    """Files of this size can be opened, but not read."""
    waiting, plain = os.preadv, os.read

    def refuse(descriptor: int) -> None:
        if os.fstat(descriptor).st_size == size:
            raise OSError(number, os.strerror(number))

    def preadv(descriptor: int, buffers: Buffers, offset: int, flags: int = 0) -> int:
        refuse(descriptor)
        return waiting(descriptor, buffers, offset, flags)

    def read(descriptor: int, count: int) -> bytes:
        refuse(descriptor)
        return plain(descriptor, count)

    monkeypatch.setattr(os, "preadv", preadv)
    monkeypatch.setattr(os, "read", read)


# Side effects.


def test_a_file_of_another_owner_is_read_without_the_flag_for_owners(
    tmp_path: Path, folder: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    contents = fill(tmp_path)
    refused: list[str] = []
    real = os.open

    def refuse(path: str, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        if flags & os.O_NOATIME:
            refused.append(path)
            raise PermissionError(errno.EPERM, "Operation not permitted")
        return real(path, flags, mode, dir_fd=dir_fd)

    monkeypatch.setattr(os, "open", refuse)
    of = tiny(LIMIT)
    assert both(of, folder, list(contents)) == (contents, [])
    # It has learned.
    before = len(refused)
    assert both(of, folder, list(contents)) == (contents, [])
    assert len(refused) == before


def test_a_file_that_nobody_may_read_is_a_fault(
    tmp_path: Path, folder: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> int:
        raise PermissionError(errno.EACCES, "Permission denied")

    fill(tmp_path, [1])
    with monkeypatch.context() as patch:
        patch.setattr(os, "open", refuse)
        found, faults = both(tiny(LIMIT), folder, ["0"])
    assert (found, faults) == ({}, [Fault(0, "EACCES: Permission denied", unknown=True)])


def test_access_times_are_left_alone(tmp_path: Path, folder: int) -> None:
    contents = fill(tmp_path)
    for name in contents:
        os.utime(tmp_path / name, ns=(1, 2))
    both(tiny(LIMIT), folder, list(contents))
    assert {(tmp_path / name).stat().st_atime_ns for name in contents} == {1}


def test_one_file_is_open_at_a_time_and_none_in_the_end(
    tmp_path: Path, folder: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    contents = fill(tmp_path, [1, 2, ROOM, 2 * ROOM] * 10)
    open_files: set[int] = set()
    real, plain = os.preadv, os.read

    def count(descriptor: int, buffers: Buffers, offset: int, flags: int = 0) -> int:
        open_files.add(len(os.listdir("/proc/self/fd")))
        return real(descriptor, buffers, offset, flags)

    def count_plain(descriptor: int, most: int) -> bytes:
        open_files.add(len(os.listdir("/proc/self/fd")))
        return plain(descriptor, most)

    before = len(os.listdir("/proc/self/fd"))
    monkeypatch.setattr(os, "preadv", count)
    monkeypatch.setattr(os, "read", count_plain)
    of = tiny(LIMIT)
    assert both(of, folder, list(contents)) == (contents, [])
    assert open_files == {before + 1}
    abandoned = of.read_cached(folder, list(contents), [])
    next(abandoned)
    del abandoned
    assert len(os.listdir("/proc/self/fd")) == before
