"""Fixtures of the property tests."""

from __future__ import annotations

import os
import tempfile

import pytest

_IN_MEMORY = "/dev/shm"


@pytest.fixture(autouse=True)
def _examples_are_cheap(monkeypatch: pytest.MonkeyPatch, read_again_at_once: None) -> None:
    """Hundreds of caches are built: in memory if possible, and read again without waiting."""
    if os.access(_IN_MEMORY, os.W_OK):
        monkeypatch.setattr(tempfile, "tempdir", _IN_MEMORY)
