"""The wheel and the sdist hold what they should; `make dist` installs and runs them."""

from __future__ import annotations

import tarfile
import zipfile
from pathlib import Path

import pytest
from hatchling.builders.sdist import SdistBuilder
from hatchling.builders.wheel import WheelBuilder

from fastprune import __version__

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    folder = tmp_path_factory.mktemp("wheel")
    (path,) = WheelBuilder(str(ROOT)).build(directory=str(folder))
    with zipfile.ZipFile(path) as archive:
        return set(archive.namelist())


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    folder = tmp_path_factory.mktemp("source")
    (path,) = SdistBuilder(str(ROOT)).build(directory=str(folder))
    with tarfile.open(path) as archive:
        return {name.partition("/")[2] for name in archive.getnames()}


IGNORED = {line.strip("/") for line in (ROOT / ".gitignore").read_text().splitlines()}


def files(folder: str) -> set[str]:
    """The files of a folder that somebody wrote, by path below the root."""
    return {
        str(path.relative_to(ROOT))
        for path in (ROOT / folder).rglob("*")
        if path.is_file() and IGNORED.isdisjoint(path.relative_to(ROOT).parts)
    }


def test_the_wheel_has_every_module_and_says_that_it_has_types(wheel: set[str]) -> None:
    modules = {path.removeprefix("src/") for path in files("src")}
    assert "fastprune/py.typed" in modules
    assert modules == {name for name in wheel if name.startswith("fastprune/")}


def test_the_wheel_brings_the_program_its_man_page_and_the_licence(wheel: set[str]) -> None:
    about = f"fastprune-{__version__}"
    assert f"{about}.data/data/share/man/man1/fastprune.1" in wheel
    assert f"{about}.dist-info/entry_points.txt" in wheel
    assert f"{about}.dist-info/licenses/LICENSE" in wheel


@pytest.mark.parametrize("folder", ["src", "tests", "benchmarks", "docs", "packaging", "tools"])
def test_the_sdist_has_all_that_its_tests_need(source: set[str], folder: str) -> None:
    assert files(folder) <= source


def test_the_sdist_can_be_worked_on(source: set[str]) -> None:
    assert {"Makefile", "mkdocs.yml", "pyproject.toml", "README.md", "LICENSE"} <= source
