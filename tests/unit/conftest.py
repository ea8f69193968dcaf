"""What the unit tests share: both event loops, and a watch on calls that block them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from blockbuster import BlockBuster

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
