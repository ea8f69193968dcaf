"""The classes of errors of fastprune, as plain values.

Input: `fastprune` with all its modules. Output: a row per class, the general ones first.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Iterator
from dataclasses import dataclass

import fastprune
from fastprune.errors import FastpruneError


@dataclass(frozen=True, slots=True)
class ErrorClass:
    """A class of errors: its name, exit code, the first line of its docstring, its hint."""

    name: str
    exit_code: int
    meaning: str
    hint: str


def read_errors() -> list[ErrorClass]:
    """All subclasses of `FastpruneError`, by exit code and then as they were written."""
    for module in pkgutil.walk_packages(fastprune.__path__, "fastprune."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    rows = [
        ErrorClass(
            one.__name__, one.exit_code, (inspect.getdoc(one) or "").split("\n")[0], one.hint
        )
        for one in _subclasses(FastpruneError)
    ]
    return sorted(rows, key=lambda row: row.exit_code)


def _subclasses(kind: type[FastpruneError]) -> Iterator[type[FastpruneError]]:
    yield kind
    # In the order of the source, whichever module was imported first.
    for child in sorted(kind.__subclasses__(), key=_place):
        yield from _subclasses(child)


def _place(kind: type[FastpruneError]) -> tuple[str, int]:
    return kind.__module__, inspect.getsourcelines(kind)[1]
