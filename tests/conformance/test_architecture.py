"""ARCHITECTURE.md, the glossaries of the packages and the tree of files say the same."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest
from tests.conformance.source import ROOT, modules

PROJECT = ROOT.parents[1]
ARCHITECTURE = (PROJECT / "ARCHITECTURE.md").read_text("utf-8")
PAGES = sorted([*PROJECT.glob("*.md"), *(PROJECT / "docs").glob("*.md")])
PACKAGES = sorted(path.parent for path in ROOT.rglob("__init__.py") if path.parent != ROOT)
MOST_LINES = 125

_PLACE = re.compile(r"`((?:[\w.<>-]+/)+|(?:[\w.<>-]+/)*[\w<>-]+\.(?:py|md|toml|js|html))`")
_MODULE = re.compile(r"`(fastprune(?:\.\w+)+)`")


def exists(place: str) -> bool:
    """Whether the project, the package or its tests have such a file or folder."""
    place = place.replace("<command>", "list")
    return any((base / place).exists() for base in (PROJECT, ROOT, PROJECT / "tests"))


def section(heading: str) -> str:
    return ARCHITECTURE.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]


def test_it_stays_short() -> None:
    assert len(ARCHITECTURE.splitlines()) <= MOST_LINES


def test_the_tree_names_each_package_and_each_module_beside_them() -> None:
    said = re.findall(r"^    ([a-z_]+(?:/|\.py)) ", section("Folders"), re.MULTILINE)
    there = [f"{path.name}/" for path in PACKAGES if path.parent == ROOT]
    there += [path.name for path in ROOT.glob("*.py") if not path.name.startswith("__")]
    assert sorted(said) == sorted(there)


def test_each_row_of_the_table_names_what_to_open_and_where_to_try_it() -> None:
    rows = section("I want to change X").strip().splitlines()[2:]
    assert len(rows) >= 20
    for row in rows:
        _, _, opened, tried, _ = row.split("|")
        assert _PLACE.search(opened), row
        assert all(place.startswith("tests/") for place in _PLACE.findall(tried)), row
        assert _PLACE.search(tried), row


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_files_that_a_page_names_are_there(page: Path) -> None:
    if page.name != "ARCHITECTURE.md" and page.name != "CONTRIBUTING.md":
        # Pages for users also name files of theirs.
        places = [place for place in _PLACE.findall(page.read_text("utf-8")) if ".py" in place]
    else:
        places = _PLACE.findall(page.read_text("utf-8"))
    assert [place for place in places if not exists(place)] == []


@pytest.mark.parametrize("package", PACKAGES, ids=lambda path: path.name)
def test_a_glossary_names_each_file_of_its_package(package: Path) -> None:
    text = (package / "__init__.py").read_text("utf-8")
    files = [path.stem for path in package.glob("*.py") if path.name != "__init__.py"]
    assert [name for name in files if f"`{name}`" not in text] == []


def test_modules_that_the_source_names_are_there() -> None:
    def there(name: str) -> bool:
        parts = name.split(".")
        for length in range(len(parts), 0, -1):
            try:
                thing: object = importlib.import_module(".".join(parts[:length]))
            except ImportError:
                continue
            for part in parts[length:]:
                thing = getattr(thing, part, None)
            return thing is not None
        return False

    texts = [(ROOT / name).read_text("utf-8") for name in modules()]
    said = {name for text in texts for name in _MODULE.findall(text)}
    assert said
    assert [name for name in sorted(said) if not there(name)] == []
