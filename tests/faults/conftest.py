"""Fixtures of these tests, which need Linux; and the number of faults, printed at the end."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.faults.counting import COUNTS
from tests.faults.scenes import Scene

collect_ignore_glob = [] if sys.platform.startswith("linux") else ["test_*.py"]

_COUNTED = "counted"


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    """A fresh cache for a run with faults."""
    scene = Scene(tmp_path)
    scene.fresh()
    return scene


@pytest.fixture(autouse=True)
def _counts_are_reported(request: pytest.FixtureRequest) -> Iterator[None]:
    """Puts the counts of a test into its report, which reaches the process that adds them up."""
    before = len(COUNTS)
    yield
    request.node.user_properties.extend((_COUNTED, line) for line in COUNTS[before:])


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    reports = [report for each in terminalreporter.stats.values() for report in each]
    counted = [pair for one in reports for pair in getattr(one, "user_properties", ())]
    for line in dict.fromkeys(line for name, line in counted if name == _COUNTED):
        terminalreporter.write_line(line)
