"""Lines about how many faults there were, for the end of a run of the tests."""

from __future__ import annotations

COUNTS: list[str] = []
