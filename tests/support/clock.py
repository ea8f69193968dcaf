"""The clock of the kernel, which gives files their ctime."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from fastprune.reading import identities


@contextmanager
def nothing_is_racy() -> Iterator[None]:
    """Scans believe files that were written just now; `wait_for_the_clock` makes up for it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(identities, "RACY_NANOSECONDS", -(10**12))
        yield


def wait_for_the_clock(root: Path) -> None:
    """Waits until the kernel gives a later ctime than it gave before: some milliseconds.

    Args:
        root: A cache; a file is made beside it.
    """
    probe = root.parent / "probe"
    probe.touch()
    before = probe.stat().st_ctime_ns
    while probe.stat().st_ctime_ns == before:
        probe.touch()
