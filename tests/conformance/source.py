"""The source of fastprune as syntax trees, and questions about them."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import fastprune

ROOT = Path(fastprune.__file__).parent


@cache
def modules() -> dict[str, ast.Module]:
    """Every module by its path below the package."""
    return {
        path.relative_to(ROOT).as_posix(): ast.parse(path.read_text("utf-8"), str(path))
        for path in sorted(ROOT.rglob("*.py"))
    }


def dotted(node: ast.AST) -> str:
    """`os.path.join` for such an expression; empty if it is no chain of names."""
    match node:
        case ast.Name(name):
            return name
        case ast.Attribute(value, attribute):
            before = dotted(value)
            return f"{before}.{attribute}" if before else ""
        case _:
            return ""


def imported(tree: ast.Module, *, package: str = "fastprune") -> set[str]:
    """The modules that a module imports, wherever it does so, but for type checkers."""
    found: set[str] = set()
    for node in _run_time_nodes(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            found.add(node.module or package)
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def _run_time_nodes(tree: ast.AST) -> Iterator[ast.AST]:
    for child in ast.iter_child_nodes(tree):
        if isinstance(child, ast.If) and dotted(child.test).endswith("TYPE_CHECKING"):
            for other in child.orelse:
                yield other
                yield from _run_time_nodes(other)
            continue
        yield child
        yield from _run_time_nodes(child)
