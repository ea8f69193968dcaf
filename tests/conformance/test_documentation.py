"""Everything public is documented, and the examples run."""

from __future__ import annotations

import doctest
import importlib
import inspect
import pkgutil
import re
from collections.abc import Iterator
from pathlib import Path

import anyio
import pytest
from tests.support.realcaches import unpack
from tools.error_tree import ErrorClass, read_errors

import fastprune
import fastprune.api

ROOT = Path(__file__).resolve().parents[2]


def public_objects() -> Iterator[tuple[str, object]]:
    """Every public name, and the methods and properties of the public classes."""
    for name in fastprune.__all__:
        thing = getattr(fastprune, name)
        if name == "__version__":
            continue
        yield name, thing
        if inspect.isclass(thing):
            for attribute, value in vars(thing).items():
                kind = isinstance(value, (property, classmethod, staticmethod))
                if not attribute.startswith("_") and (kind or inspect.isfunction(value)):
                    yield f"{name}.{attribute}", value


# Importing the program itself runs it.
MODULES = [
    module.name
    for module in pkgutil.walk_packages(fastprune.__path__, "fastprune.")
    if not module.name.endswith("__main__")
]
PUBLIC = dict(public_objects())


@pytest.mark.parametrize("name", PUBLIC)
def test_what_is_public_has_a_docstring(name: str) -> None:
    thing = PUBLIC[name]
    text = inspect.getdoc(thing) or ""
    assert text.strip(), name
    # A dataclass without a docstring gets its signature as one.
    assert not text.startswith(f"{name}(")
    assert text.splitlines()[0].rstrip().endswith((".", "?", ":"))


@pytest.mark.parametrize("name", [name for name in fastprune.__all__ if name.islower()])
def test_every_argument_of_a_verb_is_described(name: str) -> None:
    function = getattr(fastprune, name)
    if not callable(function):
        return
    text = inspect.getdoc(function) or ""
    for parameter in inspect.signature(function).parameters:
        assert f"{parameter}: " in text, parameter


def test_every_public_name_is_on_the_page_of_the_library() -> None:
    page = (ROOT / "docs" / "library.md").read_text(encoding="utf-8")
    for name, thing in PUBLIC.items():
        home = getattr(thing, "__module__", "")
        if "." not in name and home != "fastprune.errors":
            assert f"::: {home}.{name}\n" in page
    assert "::: fastprune.errors\n" in page


@pytest.mark.parametrize("error", read_errors(), ids=lambda error: error.name)
def test_every_error_is_explained(error: ErrorClass) -> None:
    page = (ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
    (entry,) = re.findall(rf"^`{error.name}`, exit code (\d+)", page, re.MULTILINE)
    assert int(entry) == error.exit_code


def test_the_public_names_are_sorted_and_there() -> None:
    assert isinstance(fastprune.__all__, tuple)
    assert list(fastprune.__all__) == sorted(fastprune.__all__)
    assert all(hasattr(fastprune, name) for name in fastprune.__all__)
    assert not hasattr(fastprune, "no_such_name")


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_in_docstrings_run(name: str) -> None:
    failed, _ = doctest.testmod(importlib.import_module(name), raise_on_error=True)
    assert failed == 0


def test_there_are_examples_of_the_library() -> None:
    assert sum(len(test.examples) for test in doctest.DocTestFinder().find(fastprune.api)) > 0


def test_the_example_of_the_library_gives_an_answer_on_a_real_cache(tmp_path: Path) -> None:
    names: dict[str, object] = {}
    (test,) = [one for one in doctest.DocTestFinder().find(fastprune.api) if one.examples]
    exec("\n".join(example.source for example in test.examples), names)
    example = names["unused_layers"]
    freed: object = anyio.run(example, unpack("pulled", tmp_path))  # type: ignore[arg-type]
    assert isinstance(freed, int)
    assert freed > 0
