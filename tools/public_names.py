"""The public names of the library as type checkers read them, from the one list of them.

Input: the table in `src/fastprune/__init__.py`. Output: the text of `__init__.pyi`, which
`make reference` writes.
"""

from __future__ import annotations

import importlib


def stub() -> str:
    """The text of `src/fastprune/__init__.pyi`."""
    homes: dict[str, str] = vars(importlib.import_module("fastprune"))["_HOMES"]
    lines = [
        "# Made from __init__.py by 'make reference': change that file, not this one.",
        "# ruff: noqa",
        "# fmt: off",
    ]
    for module, names in {**homes, "version": "__version__"}.items():
        public = ", ".join(f"{name} as {name}" for name in names.split())
        lines.append(f"from fastprune.{module} import {public}")
    return "\n".join([*lines, "__all__: tuple[str, ...]", ""])
