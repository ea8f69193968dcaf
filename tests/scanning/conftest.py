"""Fixtures of the tests of remembered scans."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.support.cachebuilder import CacheBuilder
from tests.support.clock import nothing_is_racy
from tests.support.remembered import Remembering


@pytest.fixture
def believing() -> Iterator[None]:
    """Scans believe files that were written just now."""
    with nothing_is_racy():
        yield


@pytest.fixture
def cache(builder: CacheBuilder, believing: None) -> Remembering:
    """A cache of seven manifests in both folders: images, lists, a list in a list, odd times."""
    base = builder.blob(10)
    child = builder.image("a@sha256:" + "12" * 32, layers=[base, builder.blob(20)])
    inner = builder.index("a@sha256:" + "34" * 32, children=[child, "cd" * 32])
    builder.index("a:1", children=[child, inner])
    builder.index("a:latest", children=[child, "ab" * 32])
    builder.image("b:1", layers=[base, "ef" * 32], created="yesterday", pulled="x" * 19)
    builder.image("b:latest", layers=[base])
    builder.image("b/c:1", layers=[])
    builder.blob(30)
    return Remembering(builder.root)
