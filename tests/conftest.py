"""What tests of all kinds share."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.cachebuilder import CacheBuilder

from fastprune import scanner


@pytest.fixture
def builder(tmp_path: Path) -> CacheBuilder:
    """Writes a cache, which is empty so far."""
    return CacheBuilder(tmp_path / "cache")


@pytest.fixture
def read_again_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """What can't be read is read again as often as ever, but at once: no server writes it."""
    monkeypatch.setattr(scanner, "_RETRY_DELAYS", (0.0,) * len(scanner._RETRY_DELAYS))


@pytest.fixture
def signals_arrive() -> Iterator[None]:
    """A caller such as nohup ignores SIGHUP, and a child inherits that."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)
