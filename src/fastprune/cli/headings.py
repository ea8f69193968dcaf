"""The headings under which `--help`, the man page and the reference show options.

The declaration of an option names its heading, as `rich_help_panel`.
"""

from __future__ import annotations

MEASURING = "What to measure"
CHECKS = "Checks and repair"
SELECTION = "Selection (criteria combine with AND)"
KEEP = "Keep"
HOW_MUCH = "How much"
SAFETY = "Safety"
RUNNING_SERVER = "Running server"
PACE = "Pace"
OUTPUT = "Output"
REMEMBERED = "Remembered scans"
CLUSTER = "Other machines"
GLOBAL = "Global options"

HEADINGS = (
    MEASURING,
    CHECKS,
    SELECTION,
    KEEP,
    HOW_MUCH,
    SAFETY,
    RUNNING_SERVER,
    PACE,
    OUTPUT,
    REMEMBERED,
    CLUSTER,
    GLOBAL,
)
"""In the order in which they are shown."""
