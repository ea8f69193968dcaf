"""Work on threads, if the system starts fewer than asked for, or none."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import anyio
import pytest

from fastprune.executors.threads import OneThread, Threads, check_cancelled, in_thread, made_ahead


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


def test_pieces_that_are_made_ahead_are_the_same() -> None:
    assert list(made_ahead([])) == []
    assert list(made_ahead(iter(range(100)))) == list(range(100))


def test_pieces_are_made_on_one_other_thread_that_ends() -> None:
    before = threading.active_count()
    makers = set(made_ahead(threading.get_ident() for _ in range(5)))
    assert len(makers) == 1
    assert makers != {threading.get_ident()}
    assert threading.active_count() == before


def test_what_fails_while_pieces_are_made_reaches_who_uses_them() -> None:
    def pieces() -> Iterator[int]:
        yield 1
        raise OSError("no more")

    before = threading.active_count()
    with pytest.raises(OSError, match="no more"):
        list(made_ahead(pieces()))
    assert threading.active_count() == before


def test_without_threads_pieces_are_made_here(start_at_most: Callable[[int], list[str]]) -> None:
    start_at_most(0)
    assert set(made_ahead(threading.get_ident() for _ in range(3))) == {threading.get_ident()}
