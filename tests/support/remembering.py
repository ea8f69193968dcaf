"""Whether the tests run with remembered scans, and for how long a change counts as racy there."""

from __future__ import annotations

import os

STATE_VARIABLE = "FASTPRUNE_STATE_DIR"
"""The variable that the program reads."""

SWITCH = "FASTPRUNE_TEST_STATE"
"""With the value off, no command of the tests remembers a scan."""

RACY_NANOSECONDS = 20_000_000
"""Instead of two seconds: more than a tick of the clock of any Linux kernel.

Tests scan caches that were just made. With two seconds, nothing of them would be remembered.
"""


def is_on() -> bool:
    """Whether the tests run with remembered scans."""
    return os.environ.get(SWITCH, "on") != "off"
