"""Pictures of the HTML report in a browser: real pages of a generated cache.

    python -m tools.page_screenshots    # make page-screenshots

Output: docs/images/report/NAME.png. The cache and the date on the pages are always the same: the
pictures change only when the page changes.
"""

from __future__ import annotations

import dataclasses
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from fastprune.cli.html_page import write_page
from fastprune.executors.inline import InlineExecutor
from fastprune.plan.prune_plan import PrunePlan, make_plan
from fastprune.policy.policy import Policy
from fastprune.scanning.scanner import ScanOptions
from fastprune.usage.surveying import Survey, survey_cache
from tools.chromium import chromium, look, show

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "docs" / "images" / "report"
MANIFESTS = 10_000
DAY = datetime(2026, 7, 2, 9, tzinfo=UTC)
A_YEAR_BEFORE = "2025-07-02T09:00:00"

_GENERATOR = ROOT / "benchmarks" / "generate.py"
# The path of the cache in the pictures.
_SHOWN = "/var/lib/ociregistry"


class Shot(NamedTuple):
    """A picture.

    Attributes:
        page: du or prune.
        theme: light or dark.
        width: Of the window, in pixels.
        height: The same.
        steps: A script that runs before the picture is taken.
    """

    page: str
    theme: str
    width: int
    height: int
    steps: str = ""


_OPEN_ONE = "document.querySelector('.cell.frame').click();"
_SCROLL = "document.getElementById('ages').closest('.pair').scrollIntoView();"

SHOTS = {
    "prune-light": Shot("prune", "light", 1280, 900),
    "registry-light": Shot("du", "light", 1280, 900, _OPEN_ONE),
    "savings-dark": Shot("prune", "dark", 1280, 900, _SCROLL),
    "phone-light": Shot("prune", "light", 390, 844),
    "phone-dark": Shot("du", "dark", 390, 844, _SCROLL),
}


def write_pages(folder: Path) -> dict[str, Path]:
    """Generates the cache and writes a page of each kind; gives their paths."""
    cache = folder / "cache"
    command = (sys.executable, str(_GENERATOR), str(cache), "--manifests", str(MANIFESTS))
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    survey = survey_cache(str(cache), Policy(), lambda _: InlineExecutor(), ScanOptions())
    plan = make_plan(survey.index, Policy(pulled_before=A_YEAR_BEFORE))
    plan = plan.measured(survey.blob_bytes[plan.blobs])
    pages = {"du": folder / "du.html", "prune": folder / "prune.html"}
    _write(pages["du"], survey, None, "du")
    _write(pages["prune"], survey, plan, "prune")
    return pages


def _write(page: Path, survey: Survey, plan: PrunePlan | None, command: str) -> None:
    index = dataclasses.replace(survey.index, root=_SHOWN, scanned_at=DAY.timestamp())
    write_page(str(page), dataclasses.replace(survey, index=index), plan, command, "UTC")


def main() -> None:
    """Makes all pictures."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, chromium() as browser:
        pages = write_pages(Path(folder))
        for name, shot in SHOTS.items():
            look(browser, width=shot.width, height=shot.height, theme=shot.theme)
            show(browser, pages[shot.page])
            browser.execute_script(shot.steps)
            (FOLDER / f"{name}.png").write_bytes(browser.get_screenshot_as_png())
            print(FOLDER / f"{name}.png")


if __name__ == "__main__":
    main()
