"""What the property tests need around every test."""

from __future__ import annotations

import os
import tempfile

import pytest

from fastprune import scanner

_IN_MEMORY = "/dev/shm"


@pytest.fixture(autouse=True)
def _examples_are_cheap(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hundreds of caches are built: in memory where possible, and read again at once."""
    if os.access(_IN_MEMORY, os.W_OK):
        monkeypatch.setattr(tempfile, "tempdir", _IN_MEMORY)
    # As often as ever, but without the wait for a server that isn't there.
    monkeypatch.setattr(scanner, "_RETRY_DELAYS", (0.0,) * len(scanner._RETRY_DELAYS))
