"""A small part of the marathon of random kills; `python -m tests.faults.marathon` runs it all."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.faults.counting import COUNTS
from tests.faults.marathon import Marathon
from tests.faults.scenes import MODES, Mode

KILLS = 6


@pytest.mark.parametrize("mode", MODES)
def test_random_kills_lose_nothing(mode: Mode, tmp_path: Path) -> None:
    marathon = Marathon(tmp_path, mode, images=150, seed=1)
    marathon.run(KILLS)
    assert marathon.wrong == []
    assert marathon.counts["kills"] == KILLS
    COUNTS.append(f"killed at {KILLS} random moments ({mode}): nothing lost")
