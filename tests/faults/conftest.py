"""These tests need Linux and a scene; and they say how many faults there were."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from tests.faults.counting import COUNTS
from tests.faults.scenes import Scene

collect_ignore_glob = [] if sys.platform.startswith("linux") else ["test_*.py"]


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    """A fresh cache that faults are to strike."""
    scene = Scene(tmp_path)
    scene.fresh()
    return scene


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for line in COUNTS:
        terminalreporter.write_line(line)
