"""What benchmarks/README.md claims is what the committed results say."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


def test_the_table_of_targets_is_that_of_the_results(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [str(BENCHMARKS), *sys.path])
    import targets

    page = (BENCHMARKS / "README.md").read_text()
    assert targets.embedded(page, targets.markdown(BENCHMARKS / "results")) == page
