"""Workers: the items that they get, the results that come back, and how they die.

A worker imports the function that it runs by name. So these functions stand at the top level.
"""

from __future__ import annotations

import errno
import os
import signal
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from pathlib import Path
from pickle import PicklingError
from typing import TypeVar

import pytest
from tests.support.work import (
    enlarged,
    fail_at_three,
    fail_with_what_can_t_be_sent,
    squares_up_to,
    yield_what_can_t_be_sent,
)

from fastprune.errors import FastpruneError, WorkerError
from fastprune.executors import processes
from fastprune.executors.executor import Executor
from fastprune.executors.inline import InlineExecutor
from fastprune.executors.processes import ProcessExecutor

T = TypeVar("T")
R = TypeVar("R")

LARGE = 2_000_000  # bytes: more than a socket takes before somebody reads
STARTS = ("forked", "spawned")


def echo(value: T) -> Iterator[T]:
    yield value


def process_id(_: object) -> Iterator[int]:
    time.sleep(0.01)
    yield os.getpid()


def yield_then_die(number: int) -> Iterator[int]:
    yield number
    os.kill(os.getpid(), signal.SIGKILL)


def die_with_status(status: int) -> Iterator[int]:
    os._exit(status)
    yield 0


def say_when(marker: str) -> Iterator[str]:
    """Yields at once, and then works on until the marker file is gone."""
    yield "first"
    while Path(marker).exists():
        time.sleep(0.005)
    yield "second"


def start(jobs: int, how: str) -> ProcessExecutor:
    with warnings.catch_warnings():
        # Python 3.12 warns of forking beside threads; here no thread holds a lock.
        warnings.simplefilter("ignore", DeprecationWarning)
        return ProcessExecutor(jobs, fork=how == "forked")


@pytest.fixture(params=("inline", *STARTS))
def executor(request: pytest.FixtureRequest) -> Iterator[Executor]:
    opened = InlineExecutor() if request.param == "inline" else start(2, request.param)
    with closing(opened):
        yield opened


@pytest.fixture(params=STARTS)
def pool(request: pytest.FixtureRequest) -> Iterator[ProcessExecutor]:
    with closing(start(2, request.param)) as opened:
        yield opened


def run(executor: Executor, function: Callable[[T], Iterable[R]], items: Iterable[T]) -> list[R]:
    return list(executor.map_unordered(function, items))


# Every executor.


def test_everything_that_is_yielded_for_all_items_comes_back(executor: Executor) -> None:
    expected = sorted(one * one for number in range(20) for one in range(number))
    assert sorted(run(executor, squares_up_to, range(20))) == expected


def test_no_items_give_no_results_and_an_executor_can_be_used_again(executor: Executor) -> None:
    assert run(executor, squares_up_to, []) == []
    assert sorted(run(executor, echo, "abc")) == ["a", "b", "c"]
    assert sorted(run(executor, echo, "def")) == ["d", "e", "f"]


def test_results_of_one_item_keep_their_order(executor: Executor) -> None:
    assert run(executor, squares_up_to, [200]) == [one * one for one in range(200)]


def test_large_results_arrive_whole(executor: Executor) -> None:
    sizes = [0, 1, LARGE, 70_000]
    results = run(executor, enlarged, sizes)
    assert sorted(map(len, results)) == sorted(sizes)


def test_an_error_of_the_function_is_raised_here(executor: Executor) -> None:
    with pytest.raises(FastpruneError, match="three is too many"):
        run(executor, fail_at_three, range(8))


def test_closing_twice_is_harmless(executor: Executor) -> None:
    executor.close()
    executor.close()


# Worker processes only.


def test_the_work_is_done_by_other_processes(pool: ProcessExecutor) -> None:
    workers = set(run(pool, process_id, range(20)))
    assert pool.jobs == len(workers) == 2
    assert os.getpid() not in workers


def test_items_are_drawn_as_workers_become_free(pool: ProcessExecutor) -> None:
    drawn: list[int] = []

    def items() -> Iterator[int]:
        for number in range(100):
            drawn.append(number)
            yield number

    results = pool.map_unordered(echo, items())
    next(results)
    assert len(drawn) < 20
    assert len(list(results)) == 99


@pytest.mark.parametrize("ahead", [0, 1, 3])
def test_a_worker_is_handed_as_many_items_ahead_as_it_is_told(
    ahead: int, pool: ProcessExecutor
) -> None:
    drawn: list[int] = []

    def items() -> Iterator[int]:
        for number in range(50):
            drawn.append(number)
            yield number

    results = pool.map_unordered(echo, items(), ahead=ahead)
    for number, _ in enumerate(results, start=1):
        # Those that are done, and for each worker the one that it works on and those ahead.
        assert len(drawn) <= number + pool.jobs * (1 + ahead)
        if ahead == 3 and number == 1:
            assert len(drawn) >= pool.jobs * (1 + ahead)
    assert len(drawn) == 50


def test_results_stream_while_an_item_is_still_being_worked_on(
    pool: ProcessExecutor, tmp_path: Path
) -> None:
    marker = tmp_path / "go on"
    marker.touch()
    results = pool.map_unordered(say_when, [str(marker)])
    assert next(results) == "first"
    marker.unlink()
    assert list(results) == ["second"]


@pytest.mark.timeout(10)
def test_large_items_with_large_results_do_not_block_each_other() -> None:
    """A worker that sends does not receive: a process that only sends to it would wait for ever."""
    with closing(start(1, "forked")) as pool:
        # More than a socket holds however large its buffers were made.
        items = [bytes(8 * LARGE)] * 3
        assert run(pool, echo, items) == items


@pytest.mark.timeout(10)
def test_two_pools_at_once_can_be_closed_in_any_order() -> None:
    """The later one's workers inherit descriptors of the earlier one."""
    first, second = start(1, "forked"), start(1, "forked")
    assert run(first, echo, [1]) == run(second, echo, [1]) == [1]
    try:
        first.close()
    finally:
        second.close()


def test_a_worker_that_is_killed_ends_the_work_with_an_error(pool: ProcessExecutor) -> None:
    with pytest.raises(WorkerError, match="was killed by SIGKILL") as death:
        run(pool, yield_then_die, range(10))
    assert "out of memory" in str(death.value)


@pytest.mark.parametrize("status", [0, 7])
def test_a_worker_that_ends_early_is_an_error_whatever_its_status(
    pool: ProcessExecutor, status: int
) -> None:
    with pytest.raises(WorkerError, match=f"ended with exit status {status} before its work"):
        run(pool, die_with_status, [status])


def test_a_worker_that_was_killed_while_idle_is_an_error(pool: ProcessExecutor) -> None:
    victim = run(pool, process_id, [1])[0]
    os.kill(victim, signal.SIGKILL)
    with pytest.raises(WorkerError):
        run(pool, squares_up_to, range(50))


@pytest.mark.parametrize("function", [yield_what_can_t_be_sent, fail_with_what_can_t_be_sent])
def test_what_can_t_be_sent_is_an_error_and_not_left_out(
    function: Callable[[int], Iterable[object]],
) -> None:
    refused = (WorkerError, PicklingError, AttributeError, TypeError)
    with closing(start(1, "forked")) as pool, pytest.raises(refused):
        run(pool, function, range(3))


def test_after_an_error_or_an_abandoned_run_the_pool_takes_no_more_work() -> None:
    with closing(start(2, "forked")) as failed:
        with pytest.raises(FastpruneError):
            run(failed, fail_at_three, range(8))
        with pytest.raises(WorkerError, match="abandoned"):
            run(failed, echo, [1])
    with closing(start(2, "forked")) as abandoned:
        next(abandoned.map_unordered(squares_up_to, [10_000] * 8))
        with pytest.raises(WorkerError, match="abandoned"):
            run(abandoned, echo, [1])


@pytest.mark.timeout(10)
def test_closing_in_the_middle_of_the_work_ends_it_at_once(tmp_path: Path) -> None:
    marker = tmp_path / "never removed"
    marker.touch()
    pool = start(1, "forked")
    results = pool.map_unordered(say_when, [str(marker)])
    assert next(results) == "first"
    began = time.monotonic()
    pool.close()
    assert time.monotonic() - began < 10


def test_no_process_and_no_descriptor_is_left_behind(pool: ProcessExecutor) -> None:
    workers = set(run(pool, process_id, range(20)))
    before = len(os.listdir("/proc/self/fd"))
    pool.close()
    assert len(os.listdir("/proc/self/fd")) == before - len(workers)
    for worker in workers:
        assert not Path(f"/proc/{worker}").exists()


def most_forks(number: int, error: Exception, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Lets so many workers be forked; returns their process ids."""
    started: list[int] = []
    fork = os.fork

    def fork_some() -> int:
        if len(started) == number:
            raise error
        started.append(pid := fork())
        return pid

    monkeypatch.setattr(os, "fork", fork_some)
    return started


def test_where_the_system_starts_fewer_workers_those_do_the_work(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    started = most_forks(1, BlockingIOError(errno.EAGAIN, "too many processes"), monkeypatch)
    with closing(start(3, "forked")) as pool:
        assert pool.jobs == 1
        assert sorted(run(pool, echo, range(50))) == list(range(50))
        assert set(run(pool, process_id, range(5))) == set(started)
    assert not Path(f"/proc/{started[0]}").exists()


# Too many processes; a filter of system calls; no memory for one.
NO_PROCESS = [
    BlockingIOError(errno.EAGAIN, "too many processes"),
    PermissionError(errno.EPERM, "not permitted"),
    OSError(errno.ENOSYS, "not implemented"),
    MemoryError(),
]


@pytest.mark.parametrize("error", NO_PROCESS, ids=repr)
def test_where_the_system_starts_none_all_is_done_in_this_process(
    error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    most_forks(0, error, monkeypatch)
    with pytest.raises(WorkerError, match="can't be started: "):
        start(3, "forked")
    monkeypatch.setattr(processes, "_can_fork", lambda: True)
    with closing(processes.start_workers(3)) as executor:
        assert isinstance(executor, InlineExecutor)
        assert run(executor, process_id, [1]) == [os.getpid()]


@pytest.mark.parametrize("error", [PermissionError(), OSError(errno.ENOSYS, ""), AttributeError()])
def test_who_may_not_ask_for_its_processors_has_all_of_them(
    error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(pid: int) -> set[int]:
        raise error

    monkeypatch.setattr(os, "sched_getaffinity", refuse, raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 5)
    assert processes.available_jobs(quota=100) == 5
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert processes.available_jobs(quota=100) == 1


@pytest.mark.parametrize("how", STARTS)
def test_a_terminal_that_goes_away_does_not_end_a_worker_before_us(how: str) -> None:
    """SIGHUP reaches the whole process group, as Ctrl-C does."""
    with closing(start(1, how)) as pool:
        (worker,) = set(run(pool, process_id, [1]))
        os.kill(worker, signal.SIGHUP)
        assert run(pool, echo, [1, 2, 3]) == [1, 2, 3]


def test_only_a_process_without_other_threads_forks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "listdir", lambda path: ["1", "2"])
    assert not processes._can_fork()
    monkeypatch.setattr(os, "listdir", lambda path: ["1"])
    assert processes._can_fork()
    monkeypatch.setattr("sys.platform", "darwin")
    assert not processes._can_fork()
