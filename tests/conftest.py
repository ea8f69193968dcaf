"""Fixtures that tests of all kinds share."""

from __future__ import annotations

import fcntl
import signal
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import pytest
from blockbuster import BlockBuster
from tests.support.cachebuilder import CacheBuilder
from tests.support.remembering import RACY_NANOSECONDS, STATE_VARIABLE, is_on

from fastprune.executors.ending_signals import ENDING
from fastprune.reading import identities
from fastprune.scanning import scanner


@pytest.hookimpl(wrapper=True)
def pytest_report_to_serializable() -> Generator[None, Any, Any]:
    """Lets a test print names that are not UTF-8 when tests run side by side.

    Its report goes to another process as UTF-8, which can't hold surrogates.
    """
    return _as_text((yield))


def _as_text(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, dict):
        return {_as_text(key): _as_text(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(map(_as_text, value))
    return value


@pytest.fixture(autouse=True)
def _in_turn(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[None]:
    """Runs a test with the mark `alone` while no other test runs.

    Such a test starts a process that looks like a server whose cache can't be told. Then every
    prune on the machine is refused, also that of another test.
    """
    alone = request.node.get_closest_marker("alone") is not None
    folder = tmp_path_factory.getbasetemp().parent
    with open(folder / "gate", "wb") as gate, open(folder / "turn", "wb") as turn:
        # A test that waits for its turn holds the gate, so that no other test starts first.
        fcntl.flock(gate, fcntl.LOCK_EX)
        fcntl.flock(turn, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
        fcntl.flock(gate, fcntl.LOCK_UN)
        yield


@pytest.fixture
def builder(tmp_path: Path) -> CacheBuilder:
    """Writes a cache, which is empty so far."""
    return CacheBuilder(tmp_path / "cache")


@pytest.fixture
def read_again_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files that can't be read are read again as often as usual, but without waiting in between."""
    monkeypatch.setattr(scanner, "_RETRY_DELAYS", (0.0,) * len(scanner._RETRY_DELAYS))


@pytest.fixture(autouse=True, scope="session")
def _signals_arrive() -> Iterator[None]:
    """Resets signals: nohup and the like ignore some, and child processes inherit that."""
    ignored = [one for one in ENDING if signal.getsignal(one) is signal.SIG_IGN]
    for number in ignored:
        default = signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL
        signal.signal(number, default)
    yield
    for number in ignored:
        signal.signal(number, signal.SIG_IGN)


@pytest.fixture(autouse=True, scope="session")
def _scans_are_remembered(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Gives the commands of all tests a folder for state: see `tests.support.remembering`."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(STATE_VARIABLE, str(tmp_path_factory.mktemp("state")) if is_on() else "")
        patch.setattr(identities, "RACY_NANOSECONDS", RACY_NANOSECONDS)
        yield


Backend = tuple[str, dict[str, Any]]


@pytest.fixture(
    params=[
        pytest.param(("asyncio", {"use_uvloop": False}), id="asyncio"),
        pytest.param(("asyncio", {"use_uvloop": True}), id="uvloop"),
    ]
)
def anyio_backend(request: pytest.FixtureRequest) -> Backend:
    """Every asynchronous test runs on asyncio and on uvloop."""
    backend: Backend = request.param
    return backend


@pytest.fixture
def no_blocking() -> Iterator[None]:
    """A call of the library that blocks the event loop raises."""
    watch = BlockBuster("fastprune")
    watch.activate()
    yield
    watch.deactivate()
