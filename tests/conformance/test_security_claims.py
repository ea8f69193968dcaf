"""The tests that SECURITY.md and docs/safety.md name exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parents[1]
SAFETY = (TESTS.parent / "docs" / "safety.md").read_text()
PAGE = (TESTS.parent / "SECURITY.md").read_text() + SAFETY.partition("## What shows it")[2]
SOURCES = "\n".join(path.read_text() for path in sorted(TESTS.rglob("test_*.py")))


@pytest.mark.parametrize("name", sorted(set(re.findall(r"\b(test_\w+)`", PAGE))))
def test_a_test_that_is_named_exists(name: str) -> None:
    assert f"def {name}(" in SOURCES


@pytest.mark.parametrize("path", sorted(set(re.findall(r"`(\w+/(?:test_\w+\.py)?)[`:]", PAGE))))
def test_a_file_of_tests_that_is_named_exists(path: str) -> None:
    assert (TESTS / path).exists()
