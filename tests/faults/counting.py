"""Lines that say how many faults there were, at the end of a run of the tests."""

from __future__ import annotations

COUNTS: list[str] = []
