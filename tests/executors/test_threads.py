"""Work on threads, if the system starts fewer than asked for, or none."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path

import anyio
import pytest

from fastprune import whole_files
from fastprune.executors.threads import OneThread, Threads, check_cancelled, in_thread
from fastprune.whole_files import NotDurableError, sync, sync_if_offered


@pytest.fixture
def start_at_most(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], list[str]]:
    """Lets the system start so many threads; returns the names of those that it starts."""

    def limit(number: int) -> list[str]:
        started: list[str] = []
        start = threading.Thread.start

        def start_some(thread: threading.Thread) -> None:
            if len(started) >= number:
                raise RuntimeError("can't start new thread")
            started.append(thread.name)
            start(thread)

        monkeypatch.setattr(threading.Thread, "start", start_some)
        return started

    return limit


def test_without_a_thread_the_work_is_done_here(
    start_at_most: Callable[[int], list[str]],
) -> None:
    start_at_most(0)
    assert anyio.run(in_thread, threading.get_ident) == threading.get_ident()
    anyio.run(in_thread, check_cancelled)
    with OneThread() as executor:
        assert executor.submit(threading.get_ident).result() == threading.get_ident()
        with pytest.raises(ZeroDivisionError):
            executor.submit(lambda: 1 // 0).result()


def test_with_threads_it_is_done_there(start_at_most: Callable[[int], list[str]]) -> None:
    assert anyio.run(in_thread, threading.get_ident) != threading.get_ident()
    start_at_most(1)
    with OneThread() as executor:
        first = executor.submit(threading.get_ident).result()
        assert executor.submit(threading.get_ident).result() == first != threading.get_ident()


@pytest.mark.parametrize("started", [0, 1, 2, 3])
def test_calls_share_the_threads_that_there_are(
    started: int, start_at_most: Callable[[int], list[str]]
) -> None:
    names = start_at_most(started)
    done: list[int] = []

    async def work() -> None:
        threads = Threads(8)
        async with anyio.create_task_group() as tasks:
            for number in range(50):
                tasks.start_soon(threads.run, done.append, number)

    anyio.run(work)
    assert sorted(done) == list(range(50))
    assert len(names) == started


@pytest.mark.parametrize("error", [RuntimeError("of its own"), MemoryError()], ids=repr)
def test_an_error_of_the_work_is_raised_and_it_is_not_done_twice(error: Exception) -> None:
    calls: list[int] = []

    def fail() -> None:
        calls.append(1)
        raise error

    with pytest.raises(type(error)):
        anyio.run(in_thread, fail)
    assert calls == [1]


# What makes durable.


def refusing(numbers: dict[int, int], synced: list[int], descriptor: int) -> None:
    if number := numbers.get(descriptor):
        raise OSError(number, os.strerror(number))
    synced.append(descriptor)


@pytest.mark.parametrize("number", [errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS])
def test_what_is_not_offered_for_one_is_done_for_the_others(
    number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[int] = []
    monkeypatch.setattr(os, "fsync", partial(refusing, {7: number}, synced))
    with pytest.raises(NotDurableError):
        sync(7, 8)
    sync_if_offered(7, 9)
    assert synced == [8, 9]


@pytest.mark.parametrize("number", [errno.EIO, errno.EROFS, errno.ENOSPC])
def test_an_error_is_raised_whatever_else_is_not_offered(
    number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[int] = []
    numbers = {7: errno.EINVAL, 8: number}
    monkeypatch.setattr(os, "fsync", partial(refusing, numbers, synced))
    for make in (sync, sync_if_offered):
        with pytest.raises(OSError, match=os.strerror(number)) as raised:
            make(7, 8, 9)
        assert not isinstance(raised.value, NotDurableError)
        assert raised.value.errno == number
    assert synced == []


@pytest.mark.parametrize("number", [errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS])
def test_a_file_is_written_where_there_are_no_permissions_and_no_fsync(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(error: int, *_: int) -> None:
        raise OSError(error, os.strerror(error))

    monkeypatch.setattr(os, "fchmod", partial(refuse, number))
    monkeypatch.setattr(os, "fsync", partial(refuse, errno.EINVAL))
    path = tmp_path / "file"
    whole_files.write_whole(str(path), b"content", mode=0o644)
    assert path.read_bytes() == b"content"


def test_a_file_whose_permissions_can_t_be_set_for_another_reason_is_not_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: int) -> None:
        raise OSError(errno.EIO, "no mode")

    monkeypatch.setattr(os, "fchmod", refuse)
    with pytest.raises(OSError, match="no mode"):
        whole_files.write_whole(str(tmp_path / "file"), b"content")
    assert list(tmp_path.iterdir()) == []
