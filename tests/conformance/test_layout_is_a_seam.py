"""Nobody knows ociregistry's layout by name but the module that picks it."""

from __future__ import annotations

import ast

from tests.conformance.source import imported, modules

LAYOUT = "fastprune.layouts.ociregistry"
PICKED = "fastprune.layouts.default"
# Who may take what was picked: the faces of the library, and the command line. All else is given
# a layout, or an index that carries one.
FACES = {
    *(
        "api.py",
        "audit/audit_file.py",
        "deletion/locked_cache.py",
        "plan/files.py",
        "scanning/scanner.py",
    )
}


def importers(name: str) -> set[str]:
    return {
        path
        for path, tree in modules().items()
        if any(one == name or one.startswith(f"{name}.") for one in imported(tree))
    }


def test_one_module_imports_the_layout_by_name() -> None:
    assert importers(LAYOUT) == {"layouts/default.py"}


def test_only_the_faces_of_the_library_take_the_default() -> None:
    assert {path for path in importers(PICKED) if not path.startswith("cli/")} == FACES


def test_no_module_names_a_folder_of_the_cache() -> None:
    """But for the layout itself; `blobs` is a word of documents as well, and is not looked for."""
    named = {
        path
        for path, tree in modules().items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and node.value in ("img", "lts", "img/", "lts/")
    }
    assert named == {"layouts/ociregistry.py"}
