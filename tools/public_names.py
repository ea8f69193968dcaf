"""The public names of the library as type checkers read them, from the one list of them.

Input: the table in `src/fastprune/__init__.py`. Output: the text of `__init__.pyi`, which
`make reference` writes.
"""

from __future__ import annotations

import importlib


def stub() -> str:
    """The text of `src/fastprune/__init__.pyi`."""
    homes: dict[str, str] = vars(importlib.import_module("fastprune"))["_HOMES"]
    lines = ["# Made from __init__.py by 'make reference': change that file, not this one.", ""]
    for module, names in {**homes, "version": "__version__"}.items():
        home, public = f"from fastprune.{module} import", names.split()
        # A comma at the end keeps a name on each line, whatever the formatter thinks.
        several = [f"{home} (", *(f"    {name}," for name in public), ")"]
        lines += several if len(public) > 1 else [f"{home} {names}"]
    public = sorted(name for names in homes.values() for name in names.split())
    all_names = [f'    "{name}",' for name in sorted([*public, "__version__"])]
    return "\n".join([*lines, "", "__all__ = (", *all_names, ")", ""])
