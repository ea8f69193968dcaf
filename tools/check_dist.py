"""Checks what `python -m build` made: `make dist` runs it.

    python -m tools.check_dist dist [--tests tests/cli/test_help.py ...]

Input: a folder with one wheel and one sdist. Each is installed in a fresh virtual environment,
as a user would do it. The wheel must give the program, its man page and a right answer on a
real cache. The sdist must pass its own tests (some of them, by default).
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tarfile
import tempfile
import venv
from pathlib import Path

_ROOT = Path(__file__).resolve().parents[1]
_CACHE = _ROOT / "tests" / "data" / "pulled.tar.gz"
_TESTS = ["tests/conformance", "tests/cli/test_help.py", "tests/cli/test_prune.py"]


def main() -> int:
    """Checks both; raises an exception at the first error."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--tests", nargs="+", default=_TESTS)
    options = parser.parse_args()
    (wheel,) = options.folder.glob("*.whl")
    (source,) = options.folder.glob("*.tar.gz")
    with tempfile.TemporaryDirectory(prefix="fastprune-dist-") as folder:
        check_wheel(wheel.resolve(), Path(folder))
        check_source(source.resolve(), Path(folder), options.tests)
    print(f"{wheel.name} and {source.name}: as they should be")
    return 0


def check_wheel(wheel: Path, folder: Path) -> None:
    """Installs the wheel and runs it on a copy of a real cache."""
    program = _install(folder / "wheel", str(wheel)) / "fastprune"
    version = _run(folder, str(program), "--version").strip()
    assert wheel.name.startswith(version.replace(" ", "-") + "-"), version
    manual = folder / "wheel" / "share" / "man" / "man1" / "fastprune.1"
    assert manual.read_text(encoding="utf-8").startswith('.\\"')
    cache = folder / "cache"
    _unpack(_CACHE, cache)
    prune = ("prune", "--pattern", "calico/typha:v3.27.0", "--dry-run", "--format", "json")
    totals = json.loads(_run(folder, str(program), "--image-path", str(cache), *prune))["totals"]
    assert (totals["lists"], totals["images"], totals["blobs"]) == (1, 1, 2), totals


def check_source(source: Path, folder: Path, tests: list[str]) -> None:
    """Unpacks the sdist, installs it with what its tests need, and runs some of them."""
    _unpack(source, folder / "source")
    (root,) = (folder / "source").iterdir()
    development = ("--editable", str(root), "--group", f"{root}/pyproject.toml:dev")
    programs = _install(folder / "tested", *development)
    print(_run(root, str(programs / "python"), "-m", "pytest", "-q", *tests))


def _install(environment: Path, *what: str) -> Path:
    """Makes a virtual environment; gives the folder of its programs."""
    venv.create(environment, with_pip=True)
    programs = environment / "bin"
    pip = (str(programs / "python"), "-m", "pip", "--quiet", "--disable-pip-version-check")
    # Dependency groups need pip 25.1.
    _run(environment, *pip, "install", "--upgrade", "pip>=25.1")
    _run(environment, *pip, "install", *what)
    return programs


def _unpack(archive: Path, folder: Path) -> None:
    with tarfile.open(archive) as opened:
        opened.extractall(folder, filter="data")


def _run(folder: Path, *command: str) -> str:
    done = subprocess.run(command, cwd=folder, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}: exit code {done.returncode}\n{done.stdout}")
    return done.stdout


if __name__ == "__main__":
    sys.exit(main())
