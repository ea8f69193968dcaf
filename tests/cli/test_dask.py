"""--dask: the commands with workers of a cluster say and do what they do without."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from tests.cli.program import Result, finish, run, started, wait_until
from tests.support.cachebuilder import CacheBuilder, snapshot
from tests.support.dask_clusters import Cluster, cluster

LOCAL = ("--dask", "local:2")
READING = (
    ("list", "--format", "jsonl"),
    ("du", "--format", "json"),
    ("prune", "--dry-run", "--pattern", "r/a", "--format", "json"),
    ("explain", "r/a:1", "--format", "json"),
    ("verify", "--content", "--format", "json"),
)
VARYING = ("seconds", "started", "estimate", "duration", "content", "estimated_seconds")


@pytest.fixture
def cache(builder: CacheBuilder) -> Path:
    """A cache of some images, a list, an orphan and a blob that is damaged."""
    images = [builder.image(f"r/a:{one}", layers=[builder.blob(one + 1)]) for one in range(6)]
    builder.image("r/b:1", layers=[builder.blob(b"shared"), builder.blob(3)])
    builder.index("r/list:1", children=images[:2])
    builder.blob(b"orphan")
    builder.blob(b"altered", name="ab" * 32)
    return builder.root


@pytest.fixture(scope="module")
def shared() -> Iterator[Cluster]:
    """Two workers that live as long as the tests of this module."""
    with cluster(2) as opened:
        yield opened


def said(result: Result) -> object:
    """What a command printed, but for times."""

    def steady(value: object) -> object:
        if isinstance(value, dict):
            return {key: steady(one) for key, one in value.items() if key not in VARYING}
        return [steady(one) for one in value] if isinstance(value, list) else value

    return result.code, [steady(json.loads(text)) for text in documents(result.out)]


def documents(text: str) -> list[str]:
    """The JSON documents in an output: one, or one a line."""
    try:
        json.loads(text)
    except ValueError:
        return text.splitlines()
    return [text]


@pytest.mark.parametrize("words", READING, ids=lambda words: words[0])
def test_it_says_what_it_says_without(words: tuple[str, ...], cache: Path, shared: Cluster) -> None:
    before = snapshot(cache)
    here = run(*words, cache=cache)
    there = run(*words, "--dask", shared.address, cache=cache)
    assert there.err == here.err
    assert said(there) == said(here)
    assert snapshot(cache) == before


@pytest.mark.parametrize("words", [READING[0], READING[2], READING[4]], ids=lambda words: words[0])
def test_local_workers_say_the_same_and_end(words: tuple[str, ...], cache: Path) -> None:
    here = run(*words, cache=cache)
    with started(*words, *LOCAL, cache=cache) as process:
        there = finish(process)
    assert there.err == here.err
    assert said(there) == said(here)
    assert workers_on(cache) == []


def test_a_prune_removes_exactly_what_it_removes_without(cache: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    words = ("prune", "--pattern", "r/a:[135]", "--yes", "--format", "json")
    assert run("list", cache=cache).code == 0
    copy.mkdir()
    os.system(f"cp -a {cache}/. {copy}")
    here, there = run(*words, cache=copy), run(*words, *LOCAL, cache=cache)
    assert (here.code, there.code, there.err) == (0, 0, here.err)
    assert list(snapshot(cache)) == list(snapshot(copy))
    assert json.loads(there.out)["totals"] == json.loads(here.out)["totals"]


def test_a_saved_plan_is_made_and_applied_with_a_cluster(
    cache: Path, shared: Cluster, tmp_path: Path
) -> None:
    plan = tmp_path / "plan.json"
    dask = ("--dask", shared.address)
    assert run("plan", "--pattern", "r/b", "-o", plan, *dask, cache=cache).code == 0
    assert run("apply", plan, "--yes", *dask, cache=cache).code == 0
    assert "r/b:1" not in run("list", cache=cache).out


def test_the_environment_names_a_cluster_and_jobs_comes_before_it(
    cache: Path, shared: Cluster, tmp_path: Path
) -> None:
    gone = {"FASTPRUNE_DASK": "tcp://127.0.0.1"}
    assert "$FASTPRUNE_DASK: 'tcp://127.0.0.1'" in run("list", cache=cache, env=gone).err
    assert run("list", "--jobs", "1", cache=cache, env=gone).code == 0
    # These are for this machine alone.
    assert run("trash", "list", cache=cache, env=gone).code == 0
    file = tmp_path / "scheduler.json"
    file.write_text(json.dumps({"address": shared.address}))
    result = run("list", cache=cache, env={"FASTPRUNE_DASK": str(file)})
    assert (result.code, result.err) == (0, "")
    assert result.out == run("list", cache=cache).out


def test_a_relative_path_of_the_cache_is_made_absolute(cache: Path, shared: Cluster) -> None:
    result = run(*("list", "--dask", shared.address, "--image-path", cache.name), cwd=cache.parent)
    assert (result.code, result.out) == (0, run("list", cache=cache).out)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("list", "--dask", "local:2", "--jobs", "2"), "can't be combined with --dask"),
        (("list", "--dask", "local:0"), "--dask: 'local:0' is no cluster"),
        (("list", "--dask", "http://a:1"), "http:// is not supported"),
        (("list", "--dask", ""), "the value of --dask is empty"),
        (("trash", "list", "--dask", "local:2"), "no such option: --dask"),
        (("tune", "--dask", "local:2"), "no such option: --dask"),
    ],
)
def test_what_can_t_be_used_is_a_usage_error(
    words: tuple[str, ...], said: str, cache: Path
) -> None:
    result = run(*words, cache=cache)
    assert (result.code, result.out) == (2, "")
    assert said in result.err


def test_without_dask_it_is_said_how_to_install_it(cache: Path, tmp_path: Path) -> None:
    (tmp_path / "distributed.py").write_text("raise ModuleNotFoundError(name='distributed')")
    sources = os.environ.get("PYTHONPATH", ""), str(Path(__file__).parents[2] / "src")
    path = os.pathsep.join((str(tmp_path), *filter(None, sources)))
    result = run("list", *LOCAL, cache=cache, env={"PYTHONPATH": path})
    assert result.code == 2
    assert "distributed is not installed: run pip install 'fastprune[dask]'" in result.err


def test_a_cache_that_is_not_there_is_said_before_a_cluster_starts(tmp_path: Path) -> None:
    result = run("list", "--dask", "tcp://127.0.0.1:1", cache=tmp_path / "none")
    assert result.code == 10


def test_a_lost_scheduler_is_an_error_with_its_exit_code_and_no_more(cache: Path) -> None:
    with cluster() as opened:
        with started("prune", "--pattern", ".", "--dask", opened.address, cache=cache) as process:
            # There is no worker: it waits for one.
            wait_until(lambda: is_connected(process.pid, opened))
            opened.kill_scheduler()
            result = finish(process)
    assert (result.code, result.out) == (1, "")
    lines = result.err.splitlines()
    assert lines[0].startswith("fastprune: error: the Dask scheduler tcp://127.0.0.1:")
    assert lines[1].startswith("fastprune: hint: nothing was deleted")
    assert len(lines) == 2


def is_connected(pid: int, to: Cluster) -> bool:
    """Whether a process has a connection to a scheduler."""
    port = int(to.address.rpartition(":")[2])
    found = psutil.Process(pid).net_connections("tcp")
    return any(
        one.raddr and one.raddr.port == port and one.status == "ESTABLISHED" for one in found
    )


every_signal = pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["SIGINT", "SIGTERM"]
)


@pytest.mark.parametrize(
    ("number", "code", "words"),
    [(signal.SIGINT, 130, READING[0]), (signal.SIGTERM, 143, READING[2])],
    ids=["SIGINT", "SIGTERM"],
)
def test_a_signal_ends_the_wait_for_workers(
    number: signal.Signals, code: int, words: tuple[str, ...], cache: Path
) -> None:
    with cluster() as opened:
        with started(*words, "--dask", opened.address, cache=cache) as process:
            wait_until(lambda: is_connected(process.pid, opened))
            process.send_signal(number)
            result = finish(process)
    check_ended(result, code)


@every_signal
def test_a_signal_ends_the_work_of_local_workers_and_none_is_left(
    number: signal.Signals, code: int, builder: CacheBuilder
) -> None:
    """As Ctrl-C does, it reaches all processes of the group."""
    builder.image("r/a:1", layers=[builder.blob(1)])
    # Blobs that take longer to read than anybody waits.
    for one in range(4):
        with open(builder.root / "blobs" / f"{one:064x}", "wb") as blob:
            blob.truncate(1 << 40)
    words = ("verify", "--content", *LOCAL)
    with started(*words, cache=builder.root, process_group=0) as process:
        wait_until(lambda: any(reads_a_blob(pid) for pid in workers_on(builder.root)))
        os.killpg(process.pid, number)
        result = finish(process)
    check_ended(result, code)
    wait_until(lambda: workers_on(builder.root) == [])


MOMENTS: dict[str, Callable[[psutil.Process], object]] = {
    "Dask is imported": lambda process: any(
        "msgpack" in file.path for file in process.memory_maps()
    ),
    "workers are there": lambda process: process.children(),
    "a thread is there": lambda process: process.num_threads() > 1,
    "a scheduler listens": lambda process: "LISTEN" in connections(process),
    "workers have come": lambda process: connections(process).count("ESTABLISHED") > 3,
}


def is_at(moment: str, process: psutil.Process) -> bool:
    """Whether a process is at that moment; it may also be over by now."""
    try:
        return bool(MOMENTS[moment](process))
    except psutil.Error:
        return False


def connections(process: psutil.Process) -> list[str]:
    """The states of the connections of a process."""
    return [one.status for one in process.net_connections("tcp")]


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_signal_while_a_cluster_starts_ends_it_in_order(moment: str, cache: Path) -> None:
    with started("list", *LOCAL, cache=cache, process_group=0) as process:
        seen = psutil.Process(process.pid)
        wait_until(lambda: process.poll() is not None or is_at(moment, seen))
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGINT)
        result = finish(process)
    assert result.code in (0, 130)
    if result.code:
        check_ended(result, 130)
    wait_until(lambda: workers_on(cache) == [])


def check_ended(result: Result, code: int) -> None:
    """Checks that a run ended by a signal, and said no more than that."""
    assert result.code == code
    assert result.err in ("", "fastprune: interrupted; nothing was deleted\n")
    assert result.out == ""


def workers_on(cache: Path) -> list[int]:
    """The processes that were started for a cache."""
    found = []
    for process in psutil.process_iter():
        try:
            if str(cache) in process.cmdline():
                found.append(process.pid)
        except psutil.Error:
            pass
    return found


def reads_a_blob(pid: int) -> bool:
    """Whether a process has a blob open."""
    try:
        return any("/blobs/" in file.path for file in psutil.Process(pid).open_files())
    except psutil.Error:
        return False
