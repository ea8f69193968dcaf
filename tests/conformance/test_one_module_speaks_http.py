"""Only one module asks a server: whatever else needs one is given a `Server`."""

from __future__ import annotations

import pytest
from tests.conformance.source import imported, modules

SPEAKS_HTTP = "server/client.py"
LIBRARIES = {"httpx", "httpcore", "h11", "http.client", "urllib.request", "aiohttp", "requests"}


@pytest.mark.parametrize("name", modules())
def test_one_module_speaks_http(name: str) -> None:
    found = {one for one in LIBRARIES for full in imported(modules()[name]) if full == one}
    assert found == ({"httpx"} if name == SPEAKS_HTTP else set())
