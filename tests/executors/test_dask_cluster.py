"""Work on a real Dask cluster: it is done once, in bounded memory, or refused by name."""

from __future__ import annotations

import random
import signal
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from anyio import from_thread
from anyio.from_thread import BlockingPortal, start_blocking_portal
from tests.support import dask_clusters
from tests.support.dask_clusters import SECONDS, Cluster, cluster, wait_until
from tests.support.work import (
    Counted,
    count,
    end_the_worker,
    enlarged,
    fail_at_three,
    fail_with_what_can_t_be_sent,
    process_id,
    run_out_of_memory,
    runs,
    squares_up_to,
    wait_for,
    wait_unless_short,
    yield_what_can_t_be_sent,
)

from fastprune.errors import ClusterError, FastpruneError, UsageError, WorkerError
from fastprune.executors.dask_address import parse_address
from fastprune.executors.dask_cluster import DaskExecutor, open_dask
from fastprune.version import __version__

LARGE = 2_000_000
SOON = 1.0
"""Patience in seconds where waiting is in vain."""


@pytest.fixture(scope="module")
def shared() -> Iterator[Cluster]:
    """Two workers that live as long as the tests of this module."""
    with cluster(2) as opened:
        yield opened


@pytest.fixture
def executor(shared: Cluster) -> Iterator[DaskExecutor]:
    with shared.executor() as opened:
        yield opened


def known_to_the_scheduler(executor: DaskExecutor) -> int:
    """How many pieces the scheduler remembers."""

    async def ask() -> int:
        client = executor._cluster._client
        # An expression, so that it is the scheduler's own; this module is not there.
        return int(
            await client.run_on_scheduler(eval("lambda dask_scheduler: len(dask_scheduler.tasks)"))
        )

    return executor._portal.call(ask)


def test_everything_that_is_yielded_for_all_items_comes_back_and_more_than_once(
    executor: DaskExecutor,
) -> None:
    expected = sorted(one * one for number in range(50) for one in range(number))
    assert sorted(executor.map_unordered(squares_up_to, range(50))) == expected
    assert list(executor.map_unordered(squares_up_to, [])) == []
    assert list(executor.map_unordered(squares_up_to, [200])) == [one * one for one in range(200)]


def test_the_work_is_done_by_the_workers(executor: DaskExecutor, shared: Cluster) -> None:
    assert set(executor.map_unordered(process_id, [0.02] * 40)) == set(shared.pids)
    assert executor.jobs == 2
    assert executor.remote


def test_large_results_arrive_whole(executor: DaskExecutor) -> None:
    sizes = [0, 1, LARGE, 70_000]
    assert sorted(map(len, executor.map_unordered(enlarged, sizes))) == sorted(sizes)


def test_an_error_of_the_function_is_raised_here_and_the_next_work_is_done(
    executor: DaskExecutor,
) -> None:
    with pytest.raises(FastpruneError, match="three is too many") as error:
        list(executor.map_unordered(fail_at_three, range(8)))
    assert type(error.value) is FastpruneError
    with pytest.raises(MemoryError):
        list(executor.map_unordered(run_out_of_memory, range(8)))
    assert sorted(executor.map_unordered(squares_up_to, [3])) == [0, 1, 4]


@pytest.mark.parametrize("function", [yield_what_can_t_be_sent, fail_with_what_can_t_be_sent])
def test_what_can_t_be_sent_is_an_error_and_not_left_out(
    executor: DaskExecutor, function: object
) -> None:
    with pytest.raises(WorkerError, match="can't be sent"):
        list(executor.map_unordered(function, range(3)))  # type: ignore[arg-type]


def test_items_are_drawn_as_answers_come_and_all_is_forgotten(
    executor: DaskExecutor,
) -> None:
    drawn = 0

    def items() -> Iterator[int]:
        nonlocal drawn
        for _ in range(100):
            drawn += 1
            yield 2

    taken = 0
    for _ in executor.map_unordered(squares_up_to, items()):
        taken += 1
        # Each item gives two results.
        assert drawn - taken / 2 <= 16
    assert taken == 200
    wait_until(lambda: known_to_the_scheduler(executor) == 0)


def test_how_much_is_in_flight_depends_on_the_threads_and_has_a_limit(
    executor: DaskExecutor,
) -> None:
    for threads, most in ((1, 16), (2, 16), (10, 22), (400, 802), (10_000, 1024)):
        executor._cluster.__dict__["threads"] = {"a": threads - 1, "b": 1}
        assert executor._most_in_flight(1) == most
        # Of what takes long, one waits for each thread.
        assert executor._most_in_flight(0) == 2 * threads


def test_what_waits_behind_a_long_piece_is_moved_to_a_worker_that_is_free(
    executor: DaskExecutor, tmp_path: Path
) -> None:
    marker = tmp_path / "all others are done"
    results = executor.map_unordered(wait_unless_short, [str(marker), *[""] * 12], ahead=0)
    assert [next(results) for _ in range(12)] == [""] * 12
    marker.touch()
    assert list(results) == [str(marker)]


def test_work_that_is_abandoned_is_not_done(executor: DaskExecutor, tmp_path: Path) -> None:
    marker = tmp_path / "go on"
    counted = tmp_path / "counted"
    counted.mkdir()
    # Both workers are busy, so what is handed out after this waits.
    busy = executor.map_unordered(wait_for, [str(marker)] * 8)
    filler = threading.Thread(target=lambda: list(busy))
    filler.start()
    wait_until(lambda: known_to_the_scheduler(executor) == 8)
    queued = executor.map_unordered(count, (Counted(one, str(counted)) for one in range(100)))
    other = threading.Thread(target=lambda: next(queued, None))
    other.start()
    wait_until(lambda: known_to_the_scheduler(executor) == 24)
    marker.touch()
    filler.join()
    other.join()
    queued.close()  # type: ignore[attr-defined]
    wait_until(lambda: known_to_the_scheduler(executor) == 0)
    # What was queued then is given up; no other was drawn.
    assert len(runs(counted)) <= 16


def test_a_closed_executor_takes_no_more_work_and_can_be_closed_again(shared: Cluster) -> None:
    with shared.executor() as executor:
        executor.close()
        with pytest.raises(ClusterError, match="was lost"):
            list(executor.map_unordered(squares_up_to, [1]))
        executor.close()


# Workers that are lost.


def test_workers_that_are_killed_at_random_moments_change_nothing(tmp_path: Path) -> None:
    chance = random.Random(7)
    kills, pieces = 12, 240
    with cluster(3, allowed_failures=1_000) as opened, opened.executor() as executor:
        results: list[int] = []
        items = (Counted(one, str(tmp_path), 0.01) for one in range(pieces))
        moments = sorted(chance.sample(range(pieces), kills))
        for result in executor.map_unordered(count, items):
            results.append(result)
            while moments and len(results) >= moments[0]:
                moments.pop(0)
                opened.kill_worker(chance.randrange(len(opened.workers)))
                opened.add_worker(wait=False)
        assert not moments
    assert sorted(results) == list(range(pieces))
    # The workers were lost in the middle of their work, which was done again.
    assert set(Counter(runs(tmp_path))) == set(range(pieces))


def test_a_piece_that_ends_each_worker_is_given_up_and_the_last_worker_is_named() -> None:
    with cluster(3, allowed_failures=1) as opened, opened.executor() as executor:
        with pytest.raises(
            ClusterError, match=r"lost with 2 workers.* the last was tcp://127"
        ) as lost:
            list(executor.map_unordered(end_the_worker, [1]))
        assert lost.value.hint.startswith("nothing was deleted")


def test_where_no_worker_is_left_the_work_ends_after_a_while(tmp_path: Path) -> None:
    with cluster(1) as opened, opened.executor(patience=5) as executor:
        results = executor.map_unordered(wait_for, [str(tmp_path / "never")])
        thread = threading.Timer(0.1, opened.kill_worker, [0])
        thread.start()
        with pytest.raises(ClusterError, match=f"{opened.address} has no worker any more"):
            list(results)
        thread.join()


def test_a_scheduler_that_is_lost_in_the_middle_is_an_error_that_names_it(tmp_path: Path) -> None:
    with cluster(2) as opened, opened.executor() as executor:
        results = executor.map_unordered(
            count, (Counted(one, str(tmp_path), 0.01) for one in range(100_000))
        )
        next(iter(results))
        opened.kill_scheduler()
        with pytest.raises(ClusterError, match=f"scheduler {opened.address} was lost"):
            list(results)


def test_without_a_scheduler_or_without_workers_it_ends_after_a_while() -> None:
    with cluster() as opened:
        with pytest.raises(ClusterError, match="has had no worker for 1 seconds"):
            open_dask(parse_address(opened.address), patience=SOON)
        opened.kill_scheduler()
        with pytest.raises(ClusterError, match=f"scheduler {opened.address} can't be reached"):
            open_dask(parse_address(opened.address), patience=SOON)


# Workers that come later.


def test_a_worker_that_comes_later_takes_part(tmp_path: Path) -> None:
    marker = tmp_path / "go on"
    with cluster(1) as opened, opened.executor() as executor:
        results = iter(executor.map_unordered(process_id, [0.05] * 100))
        seen = {next(results)}
        opened.add_worker()
        wait_until(lambda: executor.jobs == 2)
        seen |= set(results)
        assert seen == set(opened.pids)
    assert not marker.exists()


CHANGES = [
    (dask_clusters.as_another_version, f"it has fastprune 0.0.1, and this is {__version__}"),
    (dask_clusters.as_another_python, "it has Python 3.9, and this is 3."),
    (dask_clusters.without_the_package, "it has no fastprune package"),
]


@pytest.mark.parametrize(("change", "said"), CHANGES, ids=["version", "Python", "no package"])
def test_a_worker_that_is_not_like_this_process_is_refused_by_name_before_any_work(
    change: dask_clusters.Change, said: str
) -> None:
    with cluster(1) as opened:
        worker = opened.add_worker(change=change)
        with pytest.raises(ClusterError, match=f"worker {worker}: {said}"):
            open_dask(parse_address(opened.address), patience=SECONDS)


@pytest.mark.parametrize(("change", "said"), CHANGES[:2], ids=["version", "Python"])
def test_such_a_worker_that_comes_later_is_refused_before_its_results_count(
    change: dask_clusters.Change, said: str
) -> None:
    with cluster(1) as opened, opened.executor() as executor:
        results = iter(executor.map_unordered(process_id, (0.01 for _ in range(100_000))))
        found = [next(results)]
        worker = opened.add_worker(change=change)
        with pytest.raises(ClusterError, match=f"worker {worker}: {said}"):
            found.extend(results)
        assert set(found) == {opened.pids[0]}


def test_a_later_worker_without_the_package_is_refused_or_leaves_by_itself() -> None:
    """Dask closes a worker that can't unpack what it gets, and runs its pieces elsewhere."""
    with cluster(1) as opened, opened.executor() as executor:
        results = iter(executor.map_unordered(process_id, [0.02] * 100))
        found = [next(results)]
        worker = opened.add_worker(change=dask_clusters.without_the_package)
        try:
            found.extend(results)
        except ClusterError as error:
            assert f"worker {worker}: it has no fastprune package" in str(error)  # noqa: PT017
        else:
            assert len(found) == 100
        assert set(found) == {opened.pids[0]}


# Workers of our own.


def test_local_workers_are_processes_that_end_with_the_executor() -> None:
    with closing(open_dask(parse_address("local:2"), patience=SECONDS)) as executor:
        found = set(executor.map_unordered(process_id, [0.02] * 40))
        assert executor.jobs == len(found) == 2
    assert not [pid for pid in found if Path(f"/proc/{pid}").exists()]


def test_a_local_worker_that_is_lost_is_not_replaced_and_the_other_does_its_work() -> None:
    with closing(open_dask(parse_address("local:2"), patience=SECONDS)) as executor:
        assert sorted(executor.map_unordered(squares_up_to, [3, 3])) == [0, 0, 1, 1, 4, 4]
        with pytest.raises(ClusterError, match="has no worker any more|lost with"):
            list(executor.map_unordered(end_the_worker, [1]))


def test_without_dask_it_is_said_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(UsageError, match=r"needs Dask, .*: run pip install 'fastprune\[dask\]'"):
        open_dask(parse_address("local:2"))


def test_a_signal_while_the_event_loop_starts_waits_until_it_can_be_stopped(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """anyio would wait for the thread of a loop that nobody stops, for ever."""
    started = []

    @contextmanager
    def interrupted(backend: str) -> Iterator[BlockingPortal]:
        with start_blocking_portal(backend) as portal:
            signal.raise_signal(signal.SIGINT)
            started.append(portal)
            yield portal

    monkeypatch.setattr(from_thread, "start_blocking_portal", interrupted)
    before = set(threading.enumerate())
    with pytest.raises(KeyboardInterrupt):
        open_dask(parse_address("local:1"), patience=SECONDS)
    assert started
    assert not set(threading.enumerate()) - before
