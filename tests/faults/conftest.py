"""These tests need Linux; and they say how many faults there were."""

from __future__ import annotations

import sys

import pytest
from tests.faults.counting import COUNTS

collect_ignore_glob = [] if sys.platform.startswith("linux") else ["test_*.py"]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for line in COUNTS:
        terminalreporter.write_line(line)
