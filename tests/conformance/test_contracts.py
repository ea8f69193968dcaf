"""The import contracts hold for modules that they do not name."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
from tests.conformance.source import ROOT

CONFIG = ROOT.parents[1] / "pyproject.toml"

ONE_WAY = "Data flows one way"
PURE = "Pure packages do no I/O"
LIBRARY = "The library knows nothing of the command line"


def broken_by(modules: Mapping[str, str], folder: Path) -> list[str]:
    """The contracts that a copy of the source breaks.

    Args:
        modules: The text of modules by their paths; they are added, or replace what is there.
        folder: Where the copy goes.
    """
    shutil.copytree(ROOT, folder / "fastprune", ignore=shutil.ignore_patterns("__pycache__"))
    for name, text in modules.items():
        path = folder / "fastprune" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text + "\n", "utf-8")
    program = "from importlinter.cli import lint_imports_command; lint_imports_command()"
    done = subprocess.run(
        [sys.executable, "-c", program, "--no-cache", "--config", str(CONFIG)],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    verdicts = re.findall(r"^(.+) (KEPT|BROKEN)(?: \(.*\))?$", done.stdout, re.MULTILINE)
    assert len(verdicts) == 3, done.stdout + done.stderr
    broken = [name for name, verdict in verdicts if verdict == "BROKEN"]
    assert (done.returncode == 0) == (broken == [])
    return broken


def test_a_new_module_needs_no_entry(tmp_path: Path) -> None:
    modules = {
        "selection/new.py": "from fastprune.index import cache_index",
        "reading/new.py": "import os",
        "cli/new.py": "import typer\nfrom fastprune import api",
    }
    assert broken_by(modules, tmp_path) == []


@pytest.mark.parametrize(
    ("contract", "modules"),
    [
        (ONE_WAY, {"index/new.py": "from fastprune.plan import prune_plan"}),
        (ONE_WAY, {"new.py": ""}),
        (ONE_WAY, {"new/__init__.py": ""}),
        (PURE, {"plan/new.py": "def now():\n    import time"}),
        (PURE, {"reading/shards.py": "import os"}),
        (LIBRARY, {"report/new.py": "import rich"}),
    ],
    ids=[
        "an import that runs back up",
        "a module without a layer",
        "a package without a layer",
        "a clock in a pure package",
        "I/O in what pure packages import",
        "the terminal in the library",
    ],
)
def test_a_new_module_keeps_to_the_contracts(
    contract: str, modules: Mapping[str, str], tmp_path: Path
) -> None:
    broken = broken_by(modules, tmp_path)
    assert [name for name in broken if name.startswith(contract)] == broken != []
